"""Recognise pages of text: screenshots of text, scanned documents, receipts, slides, code.

A page has one background with thin strokes of one polarity, in rows that continue from one strip of the page to the
next. Every threshold is far from the values of ordinary photos: a photo must not be taken for a page, while a missed
page does little harm.
"""

import numpy as np
from PIL import Image

_AREA = 600_000  # pixels; a larger picture is scaled down
_BLOCK = 16  # pixels
_STRIP = 48  # pixels; a line of a page that is rotated by 2 degrees rises by less than 2 within one
_NEAR, _FAR = 16, 48  # levels from the background: up to _NEAR is background, beyond _FAR is ink

_MIN_BACKGROUND = 0.72  # share of the pixels with about the most common brightness; the share of blocks is higher
_MIN_BACKGROUND_BLOCKS = 0.85
_MAX_OTHER = 0.2  # share of the blocks that are neither plain nor strokes on a plain background
_MIN_STROKES = 0.08  # share of the blocks with strokes
_MAX_STROKE = 8.0  # mean width of a stroke, pixels
_MIN_LINES = 20  # line segments in all strips together
_MIN_TIDY = 0.75  # share of the inked rows in lines of about the same height
_MIN_AGREEMENT = 0.75  # share of a strip's inked rows that are inked in the next strip
_MAX_LINE = 0.1  # height of a line as a share of the picture's height


def is_text_page(photo: Image.Image) -> bool:
    """Return whether an upright RGB picture looks like a page of text."""
    grey = _grey(photo)
    rows, columns = grey.height // _BLOCK, grey.width // _BLOCK
    if min(rows, columns) < 3:
        return False
    if np.convolve(grey.histogram(), np.ones(2 * _NEAR + 1)).max() < _MIN_BACKGROUND * grey.width * grey.height:
        return False  # nearly every photo stops here
    levels = np.asarray(grey)[: rows * _BLOCK, : columns * _BLOCK]
    blocks = levels.reshape(rows, _BLOCK, columns, _BLOCK).swapaxes(1, 2).reshape(rows * columns, -1)
    medians = np.median(blocks, axis=1).astype(np.int16)
    background = _most_common_level(medians)
    if (np.abs(medians - background) <= _NEAR).mean() < _MIN_BACKGROUND_BLOCKS:
        return False
    differences = blocks.astype(np.int16) - medians[:, None]
    near = (np.abs(differences) <= _NEAR).mean(axis=1)
    dark, light = (differences < -_FAR).mean(axis=1), (differences > _FAR).mean(axis=1)
    ink, other_ink = np.maximum(dark, light), np.minimum(dark, light)
    plain = near >= 0.98
    strokes = ~plain & (near >= 0.4) & (ink >= 0.02) & (other_ink <= 0.1 * ink + 0.01)
    if strokes.mean() < _MIN_STROKES or (~plain & ~strokes).mean() > _MAX_OTHER:
        return False
    ink_is_dark = dark[strokes].sum() >= light[strokes].sum()
    inked = (levels.astype(np.int16) - background) * (-1 if ink_is_dark else 1) > _FAR
    # A page may be rotated by a quarter turn.
    return any(_mean_stroke_width(page) <= _MAX_STROKE and _has_lines(page) for page in (inked, inked.T))


def _grey(photo: Image.Image) -> Image.Image:
    """Return the brightness, 0 to 255, of the picture scaled to at most `_AREA` pixels."""
    scale = (_AREA / (photo.width * photo.height)) ** 0.5
    grey = photo.convert("L")
    if scale < 1:
        size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
        grey = grey.resize(size, Image.Resampling.HAMMING, reducing_gap=2.0)
    return grey


def _most_common_level(levels: np.ndarray) -> int:
    """Return the centre of the range of 2 * _NEAR + 1 levels that occurs most often."""
    return int(np.convolve(np.bincount(levels, minlength=256), np.ones(2 * _NEAR + 1), "same").argmax())


def _mean_stroke_width(inked: np.ndarray) -> float:
    """Return the mean length, in pixels, of the runs of ink along the rows of [H, W]."""
    runs = inked[:, 0].sum() + (inked[:, 1:] & ~inked[:, :-1]).sum()
    return float(inked.sum() / max(1, runs))


def _has_lines(inked: np.ndarray) -> bool:
    """Return whether ink [H, W] lies in lines of similar height that continue across the strips of the page."""
    count = inked.shape[1] // _STRIP
    strips = inked[:, : count * _STRIP].reshape(len(inked), count, _STRIP).any(axis=2).T  # [strips, H]
    padded = np.pad(strips, ((0, 0), (1, 1))).astype(np.int8)
    changes = np.diff(padded, axis=1)
    heights = np.nonzero(changes == -1)[1] - np.nonzero(changes == 1)[1]  # heights of the lines in all strips
    if len(heights) < _MIN_LINES:
        return False
    typical_height = max(3.0, float(np.median(np.repeat(heights, heights))))
    tidy_share = heights[(heights <= 2 * typical_height) & (heights <= _MAX_LINE * len(inked))].sum() / heights.sum()
    shared_rows = (strips[1:] & strips[:-1]).sum()
    agreement = shared_rows / max(1, np.minimum(strips[1:].sum(axis=1), strips[:-1].sum(axis=1)).sum())
    return bool(tidy_share >= _MIN_TIDY and agreement >= _MIN_AGREEMENT)
