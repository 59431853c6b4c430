"""The whole network: an encoder and a decoder, nothing more."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from captioner.config import CaptionerConfig
from captioner.errors import ConfigError
from captioner.model.decoder import Decoder, DecoderOutput
from captioner.model.encoders import Encoder, check_classifier, encoder_spec


class CaptionModel(nn.Module):
    """Pixels and words in, a prediction of each next word out."""

    def __init__(
        self,
        config: CaptionerConfig,
        vocabulary_size: int,
        network: nn.Module | None = None,
        label_words: Sequence[Mapping[int, float]] = (),
    ):
        """`network`: the encoder's published network with its weights; without one they are random.

        label_words: with `config.labels`, of each class of the encoder's classifier the ids of the words that name it
        -> weights. Raises ConfigError where the encoder has no classifier, or one of other classes.
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
        """Take the weights of the encoder's classifier, which stay as they are."""
        labels = self.decoder.labels
        if classifier.weight.shape != labels.class_weight.shape:
            raise ConfigError(
                f"the classifier of {self.encoder.spec.name} tells {classifier.out_features} classes apart, and"
                f" {len(labels.class_weight)} have names: give a file with a name for each class, in their order"
            )
        labels.class_weight.copy_(classifier.weight.detach())
        labels.class_bias.copy_(classifier.bias.detach())

    def forward(self, pixels: Tensor, tokens: Tensor) -> DecoderOutput:
        """8-bit RGB pixels [B, S, S, 3], K captions an image [B, K, T] -> predictions of the words that follow."""
        return self.decoder(self.encoder(pixels).flatten(1, 2), tokens)
