"""Types of maps in answers: arrays that are serialized as lists of rounded numbers."""

from typing import Annotated, Any

import numpy as np
from pydantic import InstanceOf, PlainSerializer, WithJsonSchema

from captioner.caption_json import plain_numbers


def _array_schema(items: dict[str, Any], **extra: str) -> dict[str, Any]:
    return {"items": items, "type": "array"} | extra


_SCHEMA = _array_schema(
    _array_schema({"type": "number"}), description="Rows of the grid; the values of a map sum to 1."
)

Map = Annotated[
    InstanceOf[np.ndarray],
    PlainSerializer(plain_numbers, return_type=list[list[float]]),
    WithJsonSchema(_SCHEMA),
]
"""One map, [H, W]."""
Maps = Annotated[
    InstanceOf[np.ndarray],
    PlainSerializer(plain_numbers, return_type=list[list[list[float]]]),
    WithJsonSchema(_array_schema(_SCHEMA)),
]
"""Maps of the words of a caption, [T, H, W]."""
ScoreMap = Annotated[
    InstanceOf[np.ndarray],
    PlainSerializer(plain_numbers, return_type=list[list[float]]),
    WithJsonSchema({"type": "array", "items": {"type": "array", "items": {"type": "number"}}}),
]
"""Scores of one word, [H, W]: any numbers."""
