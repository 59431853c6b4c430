"""A tiny translator with random weights."""

import pytest

from captioner.translation.bundle import TranslatorBundle
from tests.support import translators


@pytest.fixture
def make_translator():
    return translators.tiny_translator


@pytest.fixture
def tiny_translator(make_translator) -> TranslatorBundle:
    return make_translator()
