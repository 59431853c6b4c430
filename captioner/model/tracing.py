"""Parts of a decoder with tensors as inputs and outputs, so that they can be traced: for OpenVINO and for ONNX."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from captioner.model.decoder import Decoder, ImageFeatures
from captioner.model.decoder_step import Beams, DecoderState
from captioner.model.encoders import Encoder, TwoScales
from captioner.model.label_attention import LabelEntries


class Preparation(nn.Module):
    """annotations -> keys, h_0, c_0 and any projected annotations. Only tensors can be traced."""

    def __init__(self, decoder: Decoder, divide: Callable[[Tensor], TwoScales] | None = None):
        """divide: divides annotations [B, L, D] into the maps of an encoder with two scales, which takes less time."""
        super().__init__()
        self.decoder, self.divide = decoder, divide

    def forward(self, annotations: Tensor) -> tuple[Tensor, ...]:
        features = self.decoder.prepare(annotations if self.divide is None else self.divide(annotations))
        state = self.decoder.initial_state(features, 1)
        keys = features.mean if features.keys is None else features.keys.contiguous()
        outputs = keys, state.hidden, state.cell
        return outputs if self.decoder.project is None else (*outputs, features.annotations)


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
        keys, hidden, cell, *projected = self.preparation(annotations)
        outputs = *(projected or [annotations]), keys, hidden, cell
        if self.decoder.labels is None:
            return outputs
        labels = self.decoder.labels.labels_of(annotations.mean(dim=1))
        return *outputs, *vars(self.decoder.label_entries(labels)).values()
