"""Checks of values that are read from JSON, which may come from anyone."""

import json
import math
from typing import Any


def parse_json(content: bytes) -> Any:
    """Parse JSON without halves of characters, so that it can be written again. Raises ValueError, RecursionError."""
    value = json.loads(content)
    json.dumps(value, ensure_ascii=False).encode()
    return value


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number that a float can hold; booleans are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False
