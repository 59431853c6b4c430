"""What several tests start from: decoders and captioners so small that they are made in milliseconds.

Imports stand inside the fixtures, so that tests which need no network do not wait for torch and timm.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from captioner.bundle import Bundle
    from captioner.config import CaptionerConfig
    from captioner.decoder import Decoder
    from captioner.vocabulary import Vocabulary

TEN_WORDS = ("a", "dog", "runs", "on", "the", "grass", "red", "ball", "with", "child")


@pytest.fixture
def tiny_vocabulary() -> "Vocabulary":
    from captioner.vocabulary import SPECIAL_WORDS, Vocabulary

    return Vocabulary(SPECIAL_WORDS + TEN_WORDS)


@pytest.fixture
def tiny_config() -> "CaptionerConfig":
    """With one of timm's networks for tests: 82,000 weights, 64 channels, one location per 32 pixels."""
    from captioner.config import CaptionerConfig

    return CaptionerConfig("timm:test_efficientnet.r160_in1k", 64, embedding_dim=12, hidden_dim=16, attention_dim=8)


@pytest.fixture
def make_decoder() -> "Callable[..., Decoder]":
    """Decoders of 7-dimensional annotations, in evaluation mode, with random weights large enough to have opinions."""
    import torch

    from captioner.config import CaptionerConfig
    from captioner.decoder import Decoder

    def make(words: int, seed: int = 0, **options) -> Decoder:
        """A decoder that knows so many words besides the four special ones."""
        config = CaptionerConfig(embedding_dim=6, hidden_dim=5, attention_dim=4, **options)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            decoder = Decoder(config, annotation_dim=7, vocabulary_size=4 + words).eval()
            for parameter in decoder.parameters():
                torch.nn.init.normal_(parameter, std=0.8)
        return decoder

    return make


@pytest.fixture
def make_bundle(tiny_vocabulary, tiny_config) -> "Callable[..., Bundle]":
    """Bundles with random weights: the same seed gives the same captioner."""
    import torch

    from captioner.bundle import Bundle
    from captioner.config import DecodingOptions
    from captioner.encoder_weights import LoadedWeights, tensors_sha256
    from captioner.model import CaptionModel

    def make(seed: int = 0) -> Bundle:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = CaptionModel(tiny_config, len(tiny_vocabulary)).eval()
            torch.nn.init.normal_(model.decoder.embedding.weight)  # so that a word depends on the word before
            torch.nn.init.normal_(model.decoder.output.weight)
        weights = LoadedWeights("file:random.safetensors", tensors_sha256(model.encoder.stages))
        options = DecodingOptions(beam_width=3, max_words=8)
        return Bundle(model, tiny_vocabulary, weights, options, {"Bleu_4": 0.5}, "# A card, naïve\n")

    return make


@pytest.fixture
def tiny_bundle(make_bundle) -> "Bundle":
    return make_bundle()
