"""Captioners with few random weights: one built in milliseconds, and one with labels and confidence."""

from pathlib import Path
from typing import Any

import torch

from captioner.bundle.bundle import Bundle, save_bundle
from captioner.confidence.model import ConfidenceModel, Logistic, PhotoLikeness
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.labels.names import IMAGENET, read_label_names
from captioner.model.encoders import encoder_spec, pretrained_network
from captioner.model.network import CaptionModel
from captioner.model.weights import LoadedWeights, tensors_sha256
from captioner.text.vocabulary import SPECIAL_WORDS, Vocabulary

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


def labelled_bundle(seed: int = 0) -> Bundle:
    """Return a captioner that attends to two labels and knows its confidence; the same seed gives the same one.

    Its encoder and the classifier have their published weights, which an installed package holds.
    """
    config = CaptionerConfig(
        "efficientnet_lite0", 64, embedding_dim=12, hidden_dim=16, attention_dim=8, labels=2, tied_output=True
    )
    names = read_label_names(IMAGENET)
    network, weights = pretrained_network(encoder_spec(config.encoder), classes=len(names))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CaptionModel(config, len(VOCABULARY), network, names.words_of(VOCABULARY)).eval()
        torch.nn.init.normal_(model.decoder.embedding.weight)
    words = Logistic(("noun", "label_support"), (0.2, 0.1), (0.4, 0.3), (-1.0, 2.0), 0.5)
    captions = Logistic(("length",), (8.0,), (2.0,), (-0.3,), 0.1)
    likeness = PhotoLikeness((0.01,) * model.decoder.annotation_dim, 1.0)
    confidence = ConfidenceModel(likeness, captions, words, learned={"photos": 0})
    options = DecodingOptions(beam_width=3, max_words=8)
    return Bundle(model, VOCABULARY, weights, options, label_names=names, confidence=confidence)


def save_tiny_bundle(folder: Path, seed: int = 0) -> None:
    save_bundle(tiny_bundle(seed), folder)
