"""Parts of a decoder with tensors as inputs and outputs, so that they can be traced: for OpenVINO and for ONNX."""

from torch import Tensor, nn

from captioner.model.decoder import Decoder, DecoderState, ImageFeatures
from captioner.model.encoders import Encoder
from captioner.model.label_attention import LabelEntries


class Preparation(nn.Module):
    """annotations -> keys, h_0, c_0 and any projected annotations. Only tensors can be traced."""

    def __init__(self, decoder: Decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, annotations: Tensor) -> tuple[Tensor, ...]:
        features = self.decoder.prepare(annotations.float())
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
        annotations, entries = annotations.float(), None
        if labels:
            entries = LabelEntries(labels[0], labels[0].transpose(1, 2), labels[1])
        # Only the initial state reads the mean.
        features = ImageFeatures(annotations, annotations[:, :1], keys.float(), entries)
        step = self.decoder.step(features, DecoderState(hidden, cell), tokens, self.location)
        outputs = step.logits, step.state.hidden, step.state.cell, step.alpha, step.gate
        return outputs if step.label_alpha is None else (*outputs, step.label_alpha)


class PhotoNetwork(nn.Module):
    """8-bit RGB pixels [B, S, S, 3] -> everything that `TracedStep` reads, in its order.

    annotations [B, L, D] or projected [B, L, P], keys, h_0 [B, 1, N], c_0 [B, 1, N], and for a decoder with labels
    their entries [B, J + 1, M] and bias [B, 1, J + 1].
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
        entries = self.decoder.labels.prepare(labels, self.decoder.embedding)
        return *outputs, entries.entries, entries.bias
