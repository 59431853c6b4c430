"""Nouns agree with their number."""

import pytest

from captioner.text.counting import counted


@pytest.mark.parametrize(
    ("number", "more", "text"),
    [
        (0, ["photo"], "0 photos"),
        (1, ["photo"], "1 photo"),
        (2, ["photo"], "2 photos"),
        (1200, ["photo"], "1,200 photos"),
        (1, ["process", "processes"], "1 process"),
        (3, ["process", "processes"], "3 processes"),
    ],
)
def test_a_number_and_its_noun_agree(number, more, text):
    assert counted(number, *more) == text
