"""Whole network: an encoder and a decoder."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from captioner.config import CaptionerConfig
from captioner.model.decoder import Decoder, DecoderOutput
from captioner.model.encoders import Encoder, check_class_count, check_classifier, encoder_spec


class CaptionModel(nn.Module):
    """Network that predicts each next word from pixels and the words before it."""

    def __init__(
        self,
        config: CaptionerConfig,
        vocabulary_size: int,
        network: nn.Module | None = None,
        label_words: Sequence[Mapping[int, float]] = (),
    ):
        """network: the encoder's published network with its weights; None: random weights.

        label_words: with `config.labels`, for each class of the encoder's classifier, ids of the words that name it ->
        weights. Raises ConfigError if the encoder has no classifier, or one with another number of classes.
        """
        super().__init__()
        spec = encoder_spec(config.encoder)
        self.config = config
        self.encoder = Encoder(spec, network, config.scales)
        self.decoder = Decoder(config, self.encoder.channels, vocabulary_size, label_words, spec.channels)
        if config.labels:
            check_classifier(spec)
            if network is not None:
                self._copy_classifier(getattr(network, spec.classifier))

    def _copy_classifier(self, classifier: nn.Linear) -> None:
        """Copy the weights of the encoder's classifier, which is not trained."""
        labels = self.decoder.labels
        check_class_count(self.encoder.spec, classifier.out_features, len(labels.class_weight))
        labels.class_weight.copy_(classifier.weight.detach())
        labels.class_bias.copy_(classifier.bias.detach())

    def forward(self, pixels: Tensor, tokens: Tensor) -> DecoderOutput:
        """Predict the next words: 8-bit RGB pixels [B, S, S, 3], K captions of each image [B, K, T]."""
        return self.decoder(self.encoder(pixels).flatten(1, 2), tokens)
