"""Handmade maps and captions for tests of drawing."""

import numpy as np
from PIL import Image

from captioner.captioner import Caption
from captioner.images.fitting import ImageFrame, fit_image

FITS = ["squash", "crop", "pad"]


def caption_of(text: str, frame: ImageFrame, grid: tuple[int, int] = (5, 5)) -> Caption:
    words = tuple(text.split(" ")) if text else ()
    alphas = np.random.default_rng(0).dirichlet(np.ones(grid[0] * grid[1]), len(words)).reshape(-1, *grid)
    log_probs = np.linspace(-0.1, -2.0, len(words))
    return Caption(text, words, tuple(range(len(words))), alphas, np.ones(len(words)), log_probs, -3.0, -1.0, frame)


def peaked(row: int, column: int, grid: tuple[int, int] = (7, 7)) -> np.ndarray:
    alpha = np.full(grid, 0.2 / (grid[0] * grid[1]))
    alpha[row, column] += 0.8
    return alpha


def frame_of(width: int, height: int, fit: str = "squash") -> ImageFrame:
    return fit_image(Image.new("RGB", (width, height)), 8, fit)[1]


def argmax(heat: np.ndarray) -> tuple[float, float]:
    """Return (x, y) of the hottest pixel, or of the middle of a plateau."""
    y, x = np.nonzero(heat == heat.max())
    return float(x.mean() + 0.5), float(y.mean() + 0.5)
