"""Convert boxes from pixels to shares of the photo, and tally unusable ones."""

from collections import Counter
from typing import Any

from captioner.text.json_values import is_number
from training.data.boxes.box_set import Box

CLIPPED = "boxes clipped to the photo"
OUTSIDE = "boxes outside the photo"
EMPTY = "empty or reversed boxes"
NOT_NUMBERS = "boxes that are not four numbers"

_ROUNDING = 0.01
"""Pixels that a valid box may extend outside its photo: data sets round to two decimals."""


class Tally:
    """Counts of what was found and left out, with the first occurrence of each reason."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    def add(self, kind: str, number: int = 1) -> None:
        """Count usable things."""
        self.counts[kind] += number

    def add_problem(self, kind: str, position: str) -> None:
        """Count something that was left out or changed, and keep its first position as the example."""
        self.counts[kind] += 1
        self.examples.setdefault(kind, position)


def is_size(width: Any, height: Any) -> bool:
    """Return whether the values are a valid width and height in pixels."""
    return is_number(width) and is_number(height) and width > 0 and height > 0


def box_share(corners: Any, width: float, height: float, tally: Tally, position: str) -> Box | None:
    """Convert left, top, right, bottom in pixels to shares of the photo's width and height, clipped to the photo.

    Returns None for a box without area inside the photo; the tally counts these, and clipped ones.
    """
    if not isinstance(corners, list | tuple) or len(corners) != 4 or not all(map(is_number, corners)):
        return tally.add_problem(NOT_NUMBERS, f"{position}: {str(corners)[:80]}")
    left, top, right, bottom = corners
    position = f"{position}: {list(corners)} of {width} x {height} pixels"
    if left >= right or top >= bottom:
        return tally.add_problem(EMPTY, position)
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        return tally.add_problem(OUTSIDE, position)
    box = (max(left, 0) / width, max(top, 0) / height, min(right, width) / width, min(bottom, height) / height)
    if box[0] >= box[2] or box[1] >= box[3]:  # thinner than float precision
        return tally.add_problem(EMPTY, position)
    if max(-left, -top, right - width, bottom - height) > _ROUNDING:
        tally.add_problem(CLIPPED, position)
    return box
