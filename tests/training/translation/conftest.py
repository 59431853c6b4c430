"""A tiny parallel text, and options that train on it in seconds."""

import pytest

from captioner.translation.config import TranslatorConfig
from training.options import TranslatorOptions
from training.translation.parallel_text import read_parallel

PAIRS = [
    ("A dog runs.", "Ein Hund läuft."),
    ("A cat sleeps.", "Eine Katze schläft."),
    ("Two dogs run.", "Zwei Hunde laufen."),
    ("A red dog sleeps.", "Ein roter Hund schläft."),
    ("Two red cats run.", "Zwei rote Katzen laufen."),
    ("A blue cat runs.", "Eine blaue Katze läuft."),
    ("Two blue dogs sleep.", "Zwei blaue Hunde schlafen."),
    ("A dog and a cat.", "Ein Hund und eine Katze."),
]
SIZES = {
    "embedding_dim": 16, "hidden_dim": 16, "attention_dim": 16, "source_embedding_dim": 16, "source_hidden_dim": 16,
    "dropout": 0.1,
}  # fmt: skip
OPTIONS = {
    "epochs": 2, "batch_size": 3, "source_pieces": 60, "target_pieces": 70, "warmup_steps": 2, "learning_rate": 0.02,
    "average_decay": 0.5, "patience": 99,
}  # fmt: skip


def write_pairs(folder, split, pairs):
    for side, language in enumerate(("en", "de")):
        (folder / f"{split}.{language}").write_text("".join(f"{pair[side]}\n" for pair in pairs))


@pytest.fixture
def parallel_folder(tmp_path):
    folder = tmp_path / "parallel"
    folder.mkdir()
    write_pairs(folder, "train", PAIRS)
    write_pairs(folder, "val", PAIRS[:4])
    write_pairs(folder, "test_tiny", PAIRS[2:5])
    return folder


@pytest.fixture
def parallel_text(parallel_folder):
    return read_parallel(parallel_folder, "en", "de")


@pytest.fixture
def translator_config():
    return TranslatorConfig(**SIZES)


@pytest.fixture
def translator_options():
    return TranslatorOptions(**OPTIONS)
