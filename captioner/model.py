"""The whole network: an encoder and a decoder, nothing more."""

from torch import Tensor, nn

from captioner.config import CaptionerConfig
from captioner.decoder import Decoder, DecoderOutput
from captioner.encoders import Encoder, encoder_spec


class CaptionModel(nn.Module):
    """Pixels and words in, a prediction of each next word out."""

    def __init__(self, config: CaptionerConfig, vocabulary_size: int, network: nn.Module | None = None):
        """`network`: the encoder's published network with its weights; without one they are random."""
        super().__init__()
        spec = encoder_spec(config.encoder)
        self.config = config
        self.encoder = Encoder(spec, network, config.scales)
        self.decoder = Decoder(config, self.encoder.channels, vocabulary_size)

    def forward(self, pixels: Tensor, tokens: Tensor) -> DecoderOutput:
        """8-bit RGB pixels [B, S, S, 3], K captions an image [B, K, T] -> predictions of the words that follow."""
        return self.decoder(self.encoder(pixels).flatten(1, 2), tokens)
