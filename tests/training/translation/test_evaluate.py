"""An evaluation of a translator refuses what it cannot do before it translates."""

import pytest

from captioner.errors import DataError
from captioner.translation.config import TRANSLATION
from training.translation.evaluate import evaluate_translator


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_translated(parallel_text, tmp_path):
    (tmp_path / "test").write_text("a file")
    no_translator = None
    with pytest.raises(DataError, match="cannot be created"):
        evaluate_translator(no_translator, parallel_text, "test_tiny", TRANSLATION, tmp_path / "test")
    assert (tmp_path / "test").read_text() == "a file"
