"""Fixtures of a tiny parallel text."""

import pytest

from captioner.translation.config import TranslatorConfig
from tests.support.parallel_texts import OPTIONS, PAIRS, SIZES, write_pairs
from training.options import TranslatorOptions
from training.translation.parallel_text import read_parallel


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
