"""A captioner built in milliseconds: 82,000 random weights."""

from pathlib import Path
from typing import Any

import torch

from captioner.bundle import Bundle, save_bundle
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.model.network import CaptionModel
from captioner.model.weights import LoadedWeights, tensors_sha256
from captioner.vocabulary import SPECIAL_WORDS, Vocabulary

TEN_WORDS = ("a", "dog", "runs", "on", "the", "grass", "red", "ball", "with", "child")
VOCABULARY = Vocabulary(SPECIAL_WORDS + TEN_WORDS)
CONFIG = CaptionerConfig("timm:test_efficientnet.r160_in1k", 64, embedding_dim=12, hidden_dim=16, attention_dim=8)
"""With one of timm's test networks: 64 channels, one location per 32 pixels."""


def tiny_bundle(
    seed: int = 0, config: CaptionerConfig = CONFIG, metrics: dict[str, Any] | None = None, card: str = "# Tiny\n"
) -> Bundle:
    """Return a captioner; the same seed gives the same one."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CaptionModel(config, len(VOCABULARY)).eval()
        torch.nn.init.normal_(model.decoder.embedding.weight)  # so that a word depends on the word before
        torch.nn.init.normal_(model.decoder.output.weight)
    weights = LoadedWeights("file:random.safetensors", tensors_sha256(model.encoder.stages))
    options = DecodingOptions(beam_width=3, max_words=8)
    return Bundle(model, VOCABULARY, weights, options, metrics or {}, card)


def save_tiny_bundle(folder: Path, seed: int = 0) -> None:
    save_bundle(tiny_bundle(seed), folder)
