"""Reasons to doubt a caption that the photo itself gives: it is truncated, blank, or a page of text."""

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops

from captioner.images.cut import CUT_SHORT
from captioner.images.text_pages import is_text_page

BLANK_CONTRAST = 8.0
"""Minimum `contrast`, in levels of 255, of a picture that shows something. Compression and noise stay below this."""

_CHECKED_PIXELS = 600_000  # pixels; a photo of at least twice these sides is reduced by a whole number
_CELL = 256  # minimum pixels of a cell, whose mean averages out a camera's noise
_CELLS = (8, 32)  # minimum and maximum number of cells along a side
_SPECK, _SPECKS = 60, 2e-4  # levels; a picture with a larger share of pixels that deviate by more shows something
_SPECK_PIXELS = 256_000  # searched for specks


@dataclass(frozen=True)
class PhotoWarning:
    """Reason to doubt a caption."""

    kind: str
    """Stable identifier for programs: cut_short, blank, text, or (for copies of photos) sidecar."""
    message: str
    """One sentence for users."""

    def to_json(self) -> dict[str, str]:
        return {"kind": self.kind, "message": self.message}


def find_warnings(photo: Image.Image) -> tuple[PhotoWarning, ...]:
    """Find reasons to doubt captions of a photo from `open_image`, upright RGB."""
    warnings = []
    if cut := photo.info.get(CUT_SHORT):
        warnings.append(PhotoWarning("cut_short", cut.sentence))
    factor = int((photo.width * photo.height / _CHECKED_PIXELS) ** 0.5)
    if factor > 1:
        photo = photo.reduce(factor)
    if is_blank(photo):
        warnings.append(
            PhotoWarning(
                "blank",
                "The picture shows nothing but one colour or a smooth shade, so there is nothing to describe: "
                "do not use the caption.",
            )
        )
    elif is_text_page(photo):
        warnings.append(
            PhotoWarning(
                "text",
                "The picture looks like a page of text, which the captioner cannot read: do not use the caption.",
            )
        )
    return tuple(warnings)


def is_blank(photo: Image.Image) -> bool:
    """Return whether an RGB picture is one colour or a smooth gradient, apart from noise."""
    cells, surface = _cells(photo)
    return float(np.abs(cells - surface).max()) < BLANK_CONTRAST and not _has_specks(photo, surface)


def contrast(photo: Image.Image) -> float:
    """Return the largest deviation of a cell of an RGB picture from one colour or a smooth gradient, 0 to 255."""
    cells, surface = _cells(photo)
    return float(np.abs(cells - surface).max())


def _cells(photo: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of a grid of cells [R, C, 3], and the smooth surface [R, C, 3] that fits them best."""
    min_cells, max_cells = _CELLS
    side = int(np.clip((photo.width * photo.height / _CELL) ** 0.5, min_cells, max_cells))
    size = min(side, photo.width), min(side, photo.height)
    cells = np.asarray(photo.resize(size, Image.Resampling.BOX, reducing_gap=2.0), dtype=np.float64)
    basis, inverse = _surface(*cells.shape[:2])
    return cells, (basis @ (inverse @ cells.reshape(-1, 3))).reshape(cells.shape)


@functools.lru_cache(maxsize=64)
def _surface(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the terms of a surface over a grid [R * C, N], and the matrix [N, R * C] that finds their best weights."""
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    terms = [np.ones_like(x)]
    if rows * columns >= _CELLS[0] ** 2:  # a curved surface fits fewer points nearly always
        terms += [x, y, x * x, x * y, y * y]
    basis = np.stack(terms, axis=-1).reshape(rows * columns, -1)
    return basis, np.linalg.pinv(basis)


def _has_specks(photo: Image.Image, surface: np.ndarray) -> bool:
    """Return whether a picture has small content that the means of cells hide: stars, a few letters."""
    scale = max(1, int((photo.width * photo.height / _SPECK_PIXELS) ** 0.5))
    pixels = photo.reduce(scale)
    # With Pillow in 8 bits: ten times as fast as NumPy, which took longer than decoding the photo.
    smooth_image = Image.fromarray(np.rint(surface.clip(0, 255)).astype(np.uint8)).resize(
        pixels.size, Image.Resampling.NEAREST
    )
    red, green, blue = ImageChops.difference(pixels, smooth_image).split()
    counts = ImageChops.lighter(ImageChops.lighter(red, green), blue).histogram()  # of the largest channel
    return sum(counts[_SPECK + 1 :]) > _SPECKS * sum(counts)
