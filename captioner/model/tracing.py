"""Parts of a decoder with tensors as inputs and outputs, so that they can be traced: for OpenVINO and for ONNX."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from captioner.model.decoder import Decoder, ImageFeatures
from captioner.model.decoder_step import Beams, DecoderState
from captioner.model.encoders import Encoder, TwoScales
from captioner.model.label_attention import LabelEntries, Labels


class Preparation(nn.Module):
    """annotations, and any labels -> any projected annotations, keys, h_0, c_0, and the values of `LabelEntries`."""

    def __init__(self, decoder: Decoder, divide: Callable[[Tensor], TwoScales] | None = None):
        """divide: divides annotations [B, L, D] into the maps of an encoder with two scales, which takes less time."""
        super().__init__()
        self.decoder, self.divide = decoder, divide

    def forward(self, annotations: Tensor, *labels: Tensor) -> tuple[Tensor, ...]:
        """labels: the values of `Labels`, for a decoder that attends to them."""
        divided = annotations if self.divide is None else self.divide(annotations)
        features = self.decoder.prepare(divided, Labels(*labels) if labels else None)
        state = self.decoder.initial_state(features, 1)
        keys = features.mean if features.keys is None else features.keys.contiguous()
        projected = [] if self.decoder.project is None else [features.annotations]
        entries = vars(features.labels).values() if labels else []
        return *projected, keys, state.hidden, state.cell, *entries


def read_by_steps(decoder: Decoder, annotations: Tensor, prepared: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return all that every step reads, in order. prepared: results of `Preparation` for the annotations [B, L, D]."""
    return prepared if decoder.project is not None else (annotations, *prepared)


def label_operands(decoder: Decoder, annotations: Tensor, labels: Labels | None = None) -> list[Tensor]:
    """Return the values of the labels of photos, annotations [B, L, D]; none if the decoder does not attend to labels.

    labels: by default the likeliest classes of the encoder's classifier.
    """
    if decoder.labels is None:
        return []
    return list(vars(labels or decoder.labels.labels_of(annotations.mean(dim=1))).values())


class TracedStep(nn.Module):
    """`Decoder.step` with tensors only."""

    def __init__(self, decoder: Decoder, location: str):
        super().__init__()
        self.decoder, self.location = decoder, location

    def forward(
        self, annotations: Tensor, keys: Tensor, hidden: Tensor, cell: Tensor, tokens: Tensor, *labels: Tensor
    ) -> tuple:
        features = _features(annotations, keys, labels)
        step = self.decoder.step(features, DecoderState(hidden, cell), tokens, self.location)
        outputs = step.logits, step.state.hidden, step.state.cell, step.alpha, step.gate
        return outputs if step.label_alpha is None else (*outputs, step.label_alpha)


class TracedBeamStep(nn.Module):
    """`Decoder.beam_step` with tensors only. After the state come the values of `Beams`, then those of the labels."""

    def __init__(self, decoder: Decoder, location: str):
        super().__init__()
        self.decoder, self.location = decoder, location

    def forward(self, annotations: Tensor, keys: Tensor, hidden: Tensor, cell: Tensor, *others: Tensor) -> tuple:
        size = len(Beams._fields)
        beams, features = Beams(*others[:size]), _features(annotations, keys, others[size:])
        step = self.decoder.beam_step(features, DecoderState(hidden, cell), beams, self.location)
        outputs = step.totals, step.indices, step.state.hidden, step.state.cell, step.alpha, step.gate
        return outputs if step.label_alpha is None else (*outputs, step.label_alpha)


def _features(annotations: Tensor, keys: Tensor, labels: Sequence[Tensor]) -> ImageFeatures:
    """Return what a step reads. labels: the values of `LabelEntries`, or none."""
    annotations, entries = annotations.float(), LabelEntries(*labels) if labels else None
    # Only the initial state reads the mean.
    return ImageFeatures(annotations, annotations[:, :1], keys.float(), entries)


class PhotoNetwork(nn.Module):
    """8-bit RGB pixels [B, S, S, 3] -> everything that `TracedStep` reads, in its order.

    annotations [B, L, D] or projected [B, L, P], keys, h_0 [B, 1, N], c_0 [B, 1, N], and for a decoder with labels
    the values of `LabelEntries`.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder):
        super().__init__()
        self.encoder, self.decoder, self.preparation = encoder, decoder, Preparation(decoder)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        annotations = self.encoder(pixels).flatten(1, 2)
        prepared = self.preparation(annotations, *label_operands(self.decoder, annotations))
        return tuple(read_by_steps(self.decoder, annotations, prepared))
