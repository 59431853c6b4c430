"""Checks of numbers that were read from JSON."""

import math
from typing import Any


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number that a float can hold; booleans are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False
