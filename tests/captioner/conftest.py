"""Fixtures of the library's tests."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photo() -> Image.Image:
    """Noise to draw on, 140 x 90 pixels."""
    return Image.fromarray(np.random.default_rng(2).integers(60, 180, (90, 140, 3), dtype=np.uint8))
