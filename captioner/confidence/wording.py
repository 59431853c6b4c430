"""Words for a confidence: sure, likely or guess."""

SURE, LIKELY = 0.8, 0.5
"""Minimum confidence of a caption or a word called sure, and of one called likely; a lower one is a guess."""


def wording(confidence: float | None) -> str | None:
    """Return the word for a confidence: sure, likely or guess; None if there is no confidence."""
    if confidence is None:
        return None
    return "sure" if confidence >= SURE else "likely" if confidence >= LIKELY else "guess"
