"""A confidence has a word."""

import pytest

from captioner.confidence.wording import LIKELY, SURE, wording


@pytest.mark.parametrize(
    ("confidence", "called"),
    [(None, None), (0.0, "guess"), (LIKELY - 1e-9, "guess"), (LIKELY, "likely"), (SURE, "sure"), (1.0, "sure")],
)
def test_confidence_levels_are_named_by_probability(confidence, called):
    assert wording(confidence) == called
