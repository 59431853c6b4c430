"""Files of pictures, drawn on the spot."""

import io

import numpy as np
from PIL import Image


def picture_bytes(width: int = 96, height: int = 64, seed: int = 0, kind: str = "JPEG", **options) -> bytes:
    """The file of a picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()
