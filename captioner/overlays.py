"""Overlays: maps of a caption's words as heat on the original photo.

The maps are attention maps, unless occlusion maps are given instead.

The photo's ImageFrame positions them: cell (row, column) of an alpha map covers its share of `frame.seen_box`.
"""

import functools
import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image

from captioner.errors import ConfigError, ImageError
from captioner.images.fitting import ImageFrame
from captioner.text.counting import counted

if TYPE_CHECKING:
    from captioner.captioner import Caption  # imports torch, which drawing does not need

T = TypeVar("T")

MAX_HEAT_SIDE = 1024
"""Longest side, in pixels, of a heat map in `overlay`; for a larger photo the colours are scaled up."""

MAX_SAVED_SIDE = 2048
"""Longest side, in pixels, of the files that `save_overlays` writes."""

MAX_NAME_BYTES = 60
"""Maximum length of a word in a file name."""

_FAINTEST = 1e-30
"""Peak of a map below which 255 times its inverse overflows a float32."""

_MAX_CACHED_PIXELS = 4096
"""Maximum length of a cached axis, in pixels; longer ones are computed each time."""
_CACHED_AXES = 64
"""Number of cached axes: together at most about 2 MB."""


def heat_map(
    alpha: np.ndarray, frame: ImageFrame, size: tuple[int, int] | None = None, smooth: bool = True
) -> np.ndarray:
    """Draw one attention map over the whole photo -> float32 [height, width], 0 to 1.

    1 is the map's peak; parts outside the model's input are 0. The peak stays in the peak's cell and nothing is below
    0: smooth maps blend the centres of neighbouring cells without overshoot.

    alpha: [H, W], at least 0. size: (width, height) of the result in pixels, by default the photo's.
    smooth: False draws each cell in one value.
    Raises ConfigError for a map that is not [H, W] of finite numbers from 0 up, or a size below 1.
    """
    heat = _heat(alpha, frame, size or (frame.width, frame.height), smooth, hottest=1.0)
    return np.clip(heat, 0.0, 1.0, out=heat)


def overlay(
    photo: Image.Image,
    alpha: np.ndarray,
    frame: ImageFrame,
    smooth: bool = True,
    opacity: float = 0.6,
    colour_map: str = "inferno",
    size: tuple[int, int] | None = None,
) -> Image.Image:
    """Draw one attention map in colour over the original photo -> RGB image.

    The opacity follows the heat, so that the photo shows through where the map is low.

    photo: upright RGB, from `open_image`, of any size in the frame's proportions. alpha: [H, W].
    opacity: opacity at the peak, 0 to 1. colour_map: name of a matplotlib colour map. size: (width, height) of the
    result in pixels, by default the photo's.
    Raises ConfigError for an unknown colour map or an opacity out of range, ImageError for a photo that is not the
    frame's.
    """
    if not 0.0 <= opacity <= 1.0:
        raise ConfigError(f"opacity must be from 0 to 1, not {opacity}")
    check_photo(photo, frame)
    size = size or photo.size
    colours = _colour_table(colour_map)
    heat = _heat(alpha, frame, _limit_size(size, MAX_HEAT_SIDE), smooth, hottest=255.0)
    heat += 0.5
    shades = Image.fromarray(heat.astype(np.uint8))
    mask = shades.point(_opacities(opacity))
    shades.putpalette(colours)  # maps each shade to its colour
    filter_ = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    tint, mask = (
        layer if layer.size == size else layer.resize(size, filter_) for layer in (shades.convert("RGB"), mask)
    )
    return Image.composite(tint, scale_photo(photo, size), mask)


def draw_overlays(
    photo: Image.Image, alphas: Sequence[np.ndarray], frame: ImageFrame, smooth: bool = True
) -> list[Image.Image]:
    """Draw each of several attention maps over the same photo, as `overlay` does, on several cores.

    alphas: maps [H, W]. Raises ConfigError and ImageError as `overlay` does.
    """
    return _on_all_cores(lambda alpha: overlay(photo, alpha, frame, smooth), alphas)


def _on_all_cores(function: Callable[..., T], *arguments: Iterable) -> list[T]:
    """Map a function that numpy and Pillow compute, outside of Python's lock, over arguments of one length."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(function, *arguments))


def save_overlays(
    photo: Image.Image,
    caption: "Caption",
    folder: str | os.PathLike,
    smooth: bool = True,
    maps: np.ndarray | None = None,
) -> list[Path]:
    """Write an overlay for each word -> the files in the order of the words: `01-word.png`, `02-word.png`, ...

    The folder is created if needed. Names keep letters and digits of any script; other characters become _.
    Photos with a side above `MAX_SAVED_SIDE` pixels are scaled down.
    maps: [T, H, W] to draw instead of the attention, such as occlusion maps.
    Raises ConfigError if the folder cannot be written, or maps are not one per word.
    """
    check_photo(photo, caption.frame)
    maps = maps_to_draw(caption, maps)
    folder = Path(folder)
    size = _limit_size(photo.size, MAX_SAVED_SIDE)
    picture = scale_photo(photo, size)
    paths = [folder / f"{number:02d}-{_file_name(word)}.png" for number, word in enumerate(caption.words, start=1)]

    def save(path: Path, alpha: np.ndarray) -> None:
        overlay(picture, alpha, caption.frame, smooth).save(path)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        _on_all_cores(save, paths, maps)
    except OSError as error:
        raise ConfigError(f"overlays cannot be written to {folder}: {error.strerror or error}") from error
    return paths


def scaled_to(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Scale a width and height in proportion: the longer one to `side` pixels, the other to at least one."""
    scale = side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def maps_to_draw(caption: "Caption", maps: np.ndarray | None) -> np.ndarray:
    if maps is None:
        return caption.maps
    if len(maps) != len(caption.words):
        raise ConfigError(
            f"{counted(len(maps), 'map')} cannot be drawn for {counted(len(caption.words), 'word')}:"
            " give one for each word"
        )
    return maps


def _check_alpha(alpha: np.ndarray) -> np.ndarray:
    alpha = np.asarray(alpha, dtype=np.float32)
    if alpha.ndim != 2 or alpha.size == 0:
        raise ConfigError(f"an attention map must have the shape [rows, columns], not {list(alpha.shape)}")
    if not np.isfinite(alpha).all() or alpha.min() < 0:
        raise ConfigError("an attention map must hold finite numbers from 0 up")
    return alpha


def _heat(alpha: np.ndarray, frame: ImageFrame, size: tuple[int, int], smooth: bool, hottest: float) -> np.ndarray:
    """Compute `heat_map` with values from 0 to `hottest`, up to rounding."""
    alpha = _check_alpha(alpha)
    width, height = size
    if width < 1 or height < 1:
        raise ConfigError(f"a heat map must be at least 1 x 1 pixels, not {width} x {height}")
    left, top, right, bottom = frame.seen_box
    rows = _axis(height, frame.height, top, bottom, alpha.shape[0], smooth)
    columns = _axis(width, frame.width, left, right, alpha.shape[1], smooth)
    peak = float(alpha.max())
    if 0 < peak < _FAINTEST:
        alpha, peak = alpha / np.float32(peak), 1.0
    cells = alpha * (hottest / peak if peak else 0.0)
    samples = rows.interpolate(np.ascontiguousarray(columns.interpolate(cells.T).T))
    # The maximum of each pixel's samples, not their mean: a cell thinner than a pixel keeps its peak.
    heat = rows.pool_maximum(columns.pool_maximum(samples.T).T)
    if (maximum := heat.max()) > 0 and _peak_in_photo(alpha, frame):
        heat /= maximum / hottest  # no pixel need lie at the exact centre of the peak's cell
    return heat


@dataclass(frozen=True)
class _Axis:
    """Interpolation along one axis: the two cells that each sample lies between. Samples outside cells do not exist."""

    pixels: int
    """Length of the result."""
    first_pixel: int
    """Pixel of the first sample. All pixels from it to the last sample's have samples."""
    starts: np.ndarray
    """First sample of each pixel that has samples, int64."""
    spans: tuple[tuple[int, int, int], ...]
    """First of the two cells, and the range of samples between them."""
    blend: np.ndarray
    """[samples, 1] weight of the second cell, 0 to 1, float32; the first one gets the rest."""

    def interpolate(self, values: np.ndarray) -> np.ndarray:
        """Blend [cells, N] -> [samples, N].

        Not a matrix product: numpy's starts threads that spin for some time and slow the model's.
        """
        samples = np.empty((len(self.blend), values.shape[1]), np.float32)
        for first, start, end in self.spans:
            second = min(first + 1, len(values) - 1)
            segment = np.multiply(self.blend[start:end], values[second] - values[first], out=samples[start:end])
            segment += values[first]
        return samples

    def pool_maximum(self, samples: np.ndarray) -> np.ndarray:
        """Take the maximum of each pixel's samples: [samples, N] -> [pixels, N]; pixels without samples are 0."""
        if len(self.starts) == len(samples) == self.pixels:
            return samples
        pixels = np.zeros((self.pixels, samples.shape[1]), np.float32)
        if len(self.starts):
            covered = pixels[self.first_pixel : self.first_pixel + len(self.starts)]
            np.maximum.reduceat(samples, self.starts, axis=0, out=covered)
        return pixels


def _axis(pixels: int, length: int, start: float, end: float, cells: int, smooth: bool) -> _Axis:
    """Return the interpolation of `cells` along one axis of a picture.

    pixels: length of the result, which covers `length` pixels of the photo; the cells cover start to end of these.
    """
    make = _cached_axis if pixels <= _MAX_CACHED_PIXELS else _new_axis
    return make(pixels, length, start, end, cells, smooth)


def _new_axis(pixels: int, length: int, start: float, end: float, cells: int, smooth: bool) -> _Axis:
    """Compute an axis with at most `pixels` + about 6 samples per cell, whatever the photo's proportions."""
    cells_per_pixel = length / pixels * cells / (end - start)
    samples_per_pixel = max(1, int(np.ceil(4 * cells_per_pixel))) if cells_per_pixel > 0.5 else 1
    samples = pixels * samples_per_pixel
    # Make only the samples in cells: of a strip a thousand times as long as wide, "crop" covers only a few.
    low = max(0, int(start / length * samples) - 2)
    high = min(samples, int(np.ceil(end / length * samples)) + 2)
    sample = np.arange(low, max(low, high))
    position = ((sample + 0.5) * (length / samples) - start) * (cells / (end - start))
    inside = (position >= 0) & (position < cells)
    sample, position = sample[inside], position[inside]
    if smooth:
        centre = np.clip(position - 0.5, 0, cells - 1)
        first = np.minimum(centre.astype(int), max(cells - 2, 0))
        blend = centre - first
        blend = blend * blend * (3 - 2 * blend)  # smoothstep: flat at the centres of cells, without creases
    else:
        first, blend = np.clip(position.astype(int), 0, cells - 1), np.zeros(len(position))
    changes = np.flatnonzero(np.diff(first, prepend=-1))
    ends = [*changes[1:], len(first)]
    spans = tuple((int(first[start]), int(start), int(end)) for start, end in zip(changes, ends, strict=False))
    pixel = sample // samples_per_pixel
    starts = np.flatnonzero(np.diff(pixel, prepend=-1))
    first_pixel = int(pixel[0]) if len(pixel) else 0
    return _Axis(pixels, first_pixel, starts, spans, blend.astype(np.float32)[:, None])


_cached_axis = functools.lru_cache(_CACHED_AXES)(_new_axis)


def _peak_in_photo(alpha: np.ndarray, frame: ImageFrame) -> bool:
    """Return whether the centre of the peak's cell lies in the photo: with fit "pad" it may lie outside."""
    row, column = np.unravel_index(alpha.argmax(), alpha.shape)
    left, top, right, bottom = frame.seen_box
    x = left + (column + 0.5) / alpha.shape[1] * (right - left)
    y = top + (row + 0.5) / alpha.shape[0] * (bottom - top)
    return 0 <= x < frame.width and 0 <= y < frame.height


@functools.lru_cache
def _opacities(max_opacity: float) -> list[int]:
    """Return the opacity of each of 256 shades, 0 to 255; the hottest has `max_opacity`, 0 to 1."""
    return [round(255 * max_opacity * (shade / 255) ** 0.75) for shade in range(256)]


@functools.lru_cache
def _colour_table(name: str) -> bytes:
    """Return a colour map as a palette of 256 shades, three bytes each."""
    import matplotlib  # here, and without pyplot, as most users never draw

    try:
        colour_map = matplotlib.colormaps[name]
    except KeyError as error:
        raise ConfigError(
            f"unknown colour map {name!r}: use inferno, magma, viridis, turbo, jet or another of matplotlib's"
        ) from error
    return np.rint(colour_map(np.linspace(0.0, 1.0, 256))[:, :3] * 255).astype(np.uint8).tobytes()


def check_photo(photo: Image.Image, frame: ImageFrame) -> None:
    if photo.mode != "RGB":
        raise ImageError(f"a photo in mode {photo.mode} cannot be drawn on: read it with open_image, as RGB")
    # Accept scaled copies, within a pixel of rounding, but not a photo that was not turned upright.
    across, down = photo.width * frame.height, photo.height * frame.width
    if abs(across - down) > max(frame.width, frame.height):
        raise ImageError(
            f"the photo is {photo.width} x {photo.height} and the captioned one was {frame.width} x {frame.height}: "
            "give the same photo, read with open_image"
        )


def _limit_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    return size if max(size) <= side else scaled_to(size, side)


def scale_photo(photo: Image.Image, size: tuple[int, int]) -> Image.Image:
    return photo if photo.size == size else photo.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _file_name(text: str) -> str:
    """Return a text as part of a file name for any system: letters, marks and digits of any script, _ for the rest."""
    text = unicodedata.normalize("NFC", text)
    safe = "".join(char if unicodedata.category(char)[0] in "LMN" or char in "-_" else "_" for char in text)
    return safe.encode()[:MAX_NAME_BYTES].decode(errors="ignore") or "word"
