"""Picture files drawn for tests."""

import io

import numpy as np
from PIL import Image


def picture_bytes(width: int = 96, height: int = 64, seed: int = 0, kind: str = "JPEG", **options) -> bytes:
    """Return the file of a noise picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()
