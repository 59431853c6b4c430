"""A tiny translator with random weights."""

from dataclasses import replace
from pathlib import Path

import torch

from captioner.translation.bundle import TranslatorBundle, save_translator
from captioner.translation.config import TRANSLATION, TranslatorConfig
from captioner.translation.model import TranslationModel
from captioner.translation.subwords import Subwords

ENGLISH = ["A dog runs over the grass.", "Two men ride a red bicycle.", "A woman reads a book, and smiles."] * 2
GERMAN = ["Ein Hund läuft über das Gras.", "Zwei Männer fahren ein rotes Rad.", "Eine Frau liest ein Buch."] * 2
SIZES = {
    "embedding_dim": 12, "hidden_dim": 10, "attention_dim": 8, "source_embedding_dim": 6, "source_hidden_dim": 5
}  # fmt: skip
LONG = replace(TRANSLATION, max_words=100)
"""Default options: random weights seldom end a sentence."""
SHORT = replace(TRANSLATION, max_words=14, block_repeats=1)
"""Options of decoding under which random weights write several different words."""
SCORES = {"validation": {"BLEU": 31.5}, "training": {"epochs": 2}}


def tiny_translator(language: str = "de", decoding=LONG, metrics=None, **options) -> TranslatorBundle:
    """Return a translator from English; the same language and options give the same one.

    options: of TranslatorConfig.
    """
    source, target = Subwords.learn(ENGLISH, 80), Subwords.learn(GERMAN, 70)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TranslationModel(TranslatorConfig(**{**SIZES, **options}), len(source), len(target)).eval()
    card = "# A tiny translator\n"
    return TranslatorBundle(model, source, target, "en", language, decoding, metrics or {}, card)


def save_tiny_translator(folder: Path, language: str = "de") -> Path:
    """Save a tiny translator with SCORES -> its folder, which has the name of the language.

    Its weights are large enough for words to differ in their attention, and its seed gives several words.
    """
    bundle = tiny_translator(language, SHORT, SCORES)
    with torch.random.fork_rng():
        torch.manual_seed(12)
        for parameter in bundle.model.parameters():
            torch.nn.init.normal_(parameter, std=0.8)
    save_translator(bundle, folder / language)
    return folder / language
