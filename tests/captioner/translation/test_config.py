"""Options of a translator are checked when they are made."""

import pytest

from captioner.errors import ConfigError
from captioner.translation.config import TRANSLATOR_ATTENTIONS, TranslatorConfig


def test_hard_attention_is_refused_because_it_would_not_learn():
    with pytest.raises(ConfigError, match="'hard' is for captioners.*choose soft or none"):
        TranslatorConfig(attention="hard")
    assert [TranslatorConfig(attention=attention).attention for attention in TRANSLATOR_ATTENTIONS] == ["soft", "none"]


def test_an_unknown_attention_is_refused():
    with pytest.raises(ConfigError, match="attention must be one of soft, none"):
        TranslatorConfig(attention="firm")
