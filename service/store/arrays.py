"""Arrays of a stored caption as bytes in a row: whole numbers of 10^-7, deflated.

Answers give maps to seven decimal places, so more would be noise, which does not compress. safetensors holds names,
types and shapes. A row becomes a third smaller than with deflated 32-bit floats.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from sqlalchemy import Dialect, LargeBinary
from sqlalchemy.types import TypeDecorator

from captioner.caption_json import DIGITS

_SCALE = 10**DIGITS
_LARGEST = 200
"""Absolute value below which numbers surely fit into 32 bits at this scale; others are stored as floats."""


class Arrays(TypeDecorator):
    """A column of named arrays; NULL if there are none."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, np.ndarray] | None, dialect: Dialect) -> bytes | None:
        """Return the bytes that the database stores."""
        return pack(value) if value else None

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> dict[str, np.ndarray]:
        """Return the arrays that the bytes of a row hold."""
        return unpack(value) if value else {}

    def compare_values(self, x: Any, y: Any) -> bool:
        """Return whether a row keeps its arrays. New ones are always written: arrays have no single truth value."""
        return x is y


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return named float32 arrays as bytes that `unpack` reads on any machine.

    float32 values that are rounded to seven decimal places come back exactly, others with an error of 5e-8 or less.
    """
    return zlib.compress(safetensors.numpy.save({name: _encode(array) for name, array in arrays.items()}))


def unpack(data: bytes) -> dict[str, np.ndarray]:
    """Return the float32 arrays that `pack` was given."""
    return {name: _decode(array) for name, array in safetensors.numpy.load(zlib.decompress(data)).items()}


def _encode(array: np.ndarray) -> np.ndarray:
    """Return float32 [...] as uint8 [4, ...]: first the lowest bytes of all numbers, last the highest, mostly zeros."""
    if not (np.abs(array) < _LARGEST).all():
        return np.ascontiguousarray(array)
    counts = np.rint(array.astype(float) * _SCALE).astype("<i4")
    return np.ascontiguousarray(np.moveaxis(counts[..., None].view(np.uint8), -1, 0))


def _decode(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8:
        return array
    counts = np.ascontiguousarray(np.moveaxis(array, 0, -1)).view("<i4")[..., 0]
    return (counts / _SCALE).astype(np.float32)
