"""Fit a photo to the square that is the model's input, and say which part of the photo it shows."""

import functools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from captioner.config import FITS
from captioner.errors import ConfigError, ImageError
from captioner.images.scaled import full_size
from captioner.images.warnings import PhotoWarning, find_warnings

PAD_COLOUR = (124, 116, 104)
"""RGB around a photo fitted with "pad": ImageNet's mean, which is about zero after the encoder's normalisation."""

_LONGEST_SIDE = 65_536
"""Maximum side in pixels to resample at once. Pillow's filter takes 32 bytes for each, whatever the output size."""

_MAX_FAST_PIXELS = 4_000_000
"""Maximum pixels of a photo that torch resamples: a larger one would be long in coming from another process."""

_ROWS_PER_PIXEL = 128
"""Rows of the padded canvas for each pixel of the result; at most about twice as many."""


@dataclass(frozen=True)
class ImageFrame:
    """Geometry of the model's square input within the photo."""

    width: int
    """Size of the upright original photo, pixels."""
    height: int
    seen_box: tuple[float, float, float, float]
    """Left, top, right, bottom of the model's input, in pixels of the upright photo, exact.

    With fit "pad" it extends beyond the photo's edges."""
    warnings: tuple[PhotoWarning, ...] = ()
    """Reasons to doubt captions of the photo; see `prepare_image`."""


def prepare_image(image: Image.Image, size: int, fit: str) -> tuple[np.ndarray, ImageFrame]:
    """Fit a photo to the model's square input, as `fit_image` does, and find reasons to doubt a caption."""
    warnings = _threads().submit(find_warnings, image)  # while this thread fits the photo, or waits for the other
    square, frame = fit_image(image, size, fit)
    return square, replace(frame, warnings=warnings.result())


def fit_image(image: Image.Image, size: int, fit: str) -> tuple[np.ndarray, ImageFrame]:
    """Fit a photo to the model's square input: bicubic, antialiased.

    fit "squash": the whole photo, without its aspect ratio. "crop": its largest centred square. "pad": the whole photo
    in the middle of a square of its longer side, on `PAD_COLOUR`.

    image: RGB, from `open_image`. size: side of the square in pixels. -> (uint8 [size, size, 3], ImageFrame)
    Raises ConfigError for an unknown fit or a size below 1, ImageError for an image that is not RGB.
    """
    if fit not in FITS:
        raise ConfigError(f"fit must be one of {', '.join(FITS)}, not {fit!r}")
    if size < 1:
        raise ConfigError(f"size must be at least 1 pixel, not {size}")
    if image.mode != "RGB":
        raise ImageError(f"a photo in mode {image.mode} cannot be fitted: read it with open_image, which makes it RGB")
    width, height = full_size(image)
    if fit == "pad":
        square = _fit_padded(image, size)
    else:
        factor = width // image.width
        box = tuple(edge / factor for edge in _seen_box(width, height, fit))
        if is_fast(image, fit):
            square = _resample_fast(image, size)
        else:
            square = np.array(_resample(image, (size, size), box))
    return square, frame_of(width, height, fit)


def is_fast(image: Image.Image, fit: str) -> bool:
    """Return whether `fit_image` takes little time, but imports torch."""
    return fit == "squash" and image.width * image.height <= _MAX_FAST_PIXELS


def frame_of(width: int, height: int, fit: str) -> ImageFrame:
    """Return the frame that `fit_image` returns for a photo of this size; width and height of the upright photo."""
    return ImageFrame(width, height, _seen_box(width, height, fit))


def _seen_box(width: int, height: int, fit: str) -> tuple[float, float, float, float]:
    if fit == "squash":
        return 0.0, 0.0, float(width), float(height)
    side = min(width, height) if fit == "crop" else max(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _resample(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    """Resample a box of the photo, bicubic. A side longer than `_LONGEST_SIDE` pixels is averaged down first."""
    left, top, right, bottom = box
    across, down = (max(1, math.ceil(side / _LONGEST_SIDE)) for side in (right - left, bottom - top))
    if across > 1 or down > 1:
        image, box = image.reduce((across, down)), (left / across, top / down, right / across, bottom / down)
    return image.resize(size, Image.Resampling.BICUBIC, box=box)


def _resample_fast(image: Image.Image, size: int) -> np.ndarray:
    """Compute `_resample` for a whole photo with torch, in a third of Pillow's time -> uint8 [size, size, 3].

    Both round their filters differently: some in a thousand values differ by a level.
    """
    import torch  # here, as processes that read photos can do without
    from torch.nn.functional import interpolate

    def resample() -> np.ndarray:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
        square = interpolate(pixels, (size, size), mode="bicubic", antialias=True)
        return np.ascontiguousarray(square[0].permute(1, 2, 0).numpy())

    return _threads().submit(resample).result()


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads that prepare photos, the only ones that resample: torch keeps memory for each that calls it.

    For all threads of a service together, that was 100 MB.
    """
    return ThreadPoolExecutor(os.cpu_count() or 1, "preparing")


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_threads.cache_clear)  # a forked process has none of the threads


def _fit_padded(image: Image.Image, size: int) -> np.ndarray:
    """Draw the whole photo in the middle of a grey square -> uint8 [size, size, 3].

    The padded square of a very long photo would be huge at full scale. So the longer side, which fills the square, is
    resampled first; then the other side, on a canvas with only the grey that the filter reaches, and only for the
    pixels of the result that the photo touches. A pixel that contains an edge of the photo mixes photo and grey
    exactly.
    """
    width, height = image.size
    if height > width:
        transposed = _fit_padded(image.transpose(Image.Transpose.TRANSPOSE), size)
        return np.ascontiguousarray(transposed.transpose(1, 0, 2))
    if height == width:
        return np.array(image.resize((size, size), Image.Resampling.BICUBIC))
    strip = _resample(image, (size, height), (0.0, 0.0, float(width), float(height)))
    scale = width / size  # photo pixels per pixel of the result
    reach = int(np.ceil(2.5 * max(scale, 1.0))) + 1  # a pixel partly outside, and bicubic's two around it
    above = (width - height) / 2
    first = int(np.floor(above / scale))
    rows = min(size, int(np.ceil((above + height) / scale))) - first
    # Each pixel of the result spans hundreds of rows of a very long photo, so average these in bands first.
    band = max(1, int(scale / _ROWS_PER_PIXEL))
    canvas = _grey_canvas(strip, reach, band)
    start = (reach - above + first * scale) / band
    end = min(start + rows * scale / band, canvas.height)  # rounding must not move the box beyond the canvas
    square = np.full((size, size, 3), PAD_COLOUR, dtype=np.uint8)
    square[first : first + rows] = canvas.resize((size, rows), Image.Resampling.BICUBIC, box=(0, start, size, end))
    return square


def _grey_canvas(strip: Image.Image, reach: int, band: int) -> Image.Image:
    """Put a strip between `reach` rows of grey above and below, averaged over bands of rows."""
    canvas = Image.new("RGB", (strip.width, math.ceil((strip.height + 2 * reach) / band)), PAD_COLOUR)
    if band == 1:
        canvas.paste(strip, (0, reach))
        return canvas
    first, last = reach // band, (reach + strip.height - 1) // band
    touched = Image.new("RGB", (strip.width, (last - first + 1) * band), PAD_COLOUR)
    touched.paste(strip, (0, reach - first * band))
    canvas.paste(touched.reduce((1, band)), (0, first))
    return canvas
