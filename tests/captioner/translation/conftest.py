"""A tiny translator with random weights."""

from dataclasses import replace

import pytest
import torch

from captioner.translation.bundle import TranslatorBundle
from captioner.translation.config import TRANSLATION, TranslatorConfig
from captioner.translation.model import TranslationModel
from captioner.translation.subwords import Subwords

ENGLISH = ["A dog runs over the grass.", "Two men ride a red bicycle.", "A woman reads a book, and smiles."] * 2
GERMAN = ["Ein Hund läuft über das Gras.", "Zwei Männer fahren ein rotes Rad.", "Eine Frau liest ein Buch."] * 2
SIZES = {
    "embedding_dim": 12, "hidden_dim": 10, "attention_dim": 8, "source_embedding_dim": 6, "source_hidden_dim": 5
}  # fmt: skip


@pytest.fixture
def make_translator():
    def make(**options) -> TranslatorBundle:
        torch.manual_seed(0)
        source, target = Subwords.learn(ENGLISH, 80), Subwords.learn(GERMAN, 70)
        config = TranslatorConfig(**{**SIZES, **options})
        model = TranslationModel(config, len(source), len(target)).eval()
        decoding = replace(TRANSLATION, max_words=100)  # random weights seldom end a sentence
        return TranslatorBundle(model, source, target, "en", "de", decoding, card="# A tiny translator\n")

    return make


@pytest.fixture
def tiny_translator(make_translator) -> TranslatorBundle:
    return make_translator()
