"""Pictures of maps on photos of any shape: drawn with memory in proportion to the picture, or refused."""

import io
from random import Random

import numpy as np
from PIL import Image

from captioner.captioner import Caption
from captioner.config import FITS
from captioner.errors import ConfigError, ImageError
from captioner.figures import figure_strip, occlusion_heading
from captioner.images.fitting import ImageFrame, fit_image
from captioner.overlays import heat_map, overlay, scaled_to
from stress.fuzz.kinds import WrongResult

MAX_PIXELS = 4_000_000
"""Of a photo, in any aspect ratio."""
MAX_SIDE = 1024
"""Longest side of a requested size, in pixels."""
BASE_BYTES = 48 << 20
PIXEL_BYTES = 64
"""Memory that drawing may take: a fixed amount, and an amount per pixel of the photo and of the picture."""

_COLOUR_MAPS = ("inferno", "jet", "gray", "viridis", "", "no such map", "\0", "inferno " * 50)
_OPACITIES = (0.0, 1.0, 0.6, 1e-9, -0.1, 1.1, float("nan"), float("inf"))
_WORDS = ("a", "dog", "собака", "犬" * 40, "w" * 300, "\n", "\u202e", "👍🏽", "%s", "", "<b>", "\0", "a\u0301" * 30)


class Drawings:
    """Heat maps, overlays and figures with odd photos, maps, sizes, texts and boxes."""

    expected: tuple[type[Exception], ...] = (ConfigError, ImageError)

    def __init__(self) -> None:
        self._draw_functions = (_draw_heat, _draw_overlay, _draw_figure)
        for number in range(20):  # load everything that is loaded once: fonts, colours
            rng = Random(number)
            try:
                _draw_figure(rng, *_make_inputs(rng))
            except self.expected:
                continue

    def case(self, rng: Random) -> str:
        photo, frame, alpha = _make_inputs(rng)
        draw = rng.choice(self._draw_functions)
        baseline_bytes = _reset_peak()
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            pixels = draw(rng, photo, frame, alpha) + photo.width * photo.height
        used_bytes, allowed_bytes = _peak() - baseline_bytes, BASE_BYTES + PIXEL_BYTES * pixels
        if used_bytes > allowed_bytes:
            raise WrongResult(
                f"{draw.__name__} of {photo.size} took {used_bytes:,} bytes, more than the {allowed_bytes:,} allowed"
            )
        return draw.__name__.removeprefix("_draw_")


def _make_inputs(rng: Random) -> tuple[Image.Image, ImageFrame, np.ndarray]:
    """Return a photo, its frame, and a map."""
    photo = Image.new("RGB", _random_sides(rng, MAX_PIXELS), rng.choice(("red", "white", "black")))
    frame = fit_image(photo, 16, rng.choice(FITS))[1]
    if rng.random() < 0.1:  # of another photo
        frame = ImageFrame(*_random_sides(rng, MAX_PIXELS), frame.seen_box)
    if rng.random() < 0.5:  # as the service stores photos
        photo = photo.resize(scaled_to(photo.size, rng.randint(1, 2048)), reducing_gap=1.0)
    return photo, frame, _make_map(rng)


def _random_sides(rng: Random, pixels: int) -> tuple[int, int]:
    """Return sides from 1 pixel to the maximum."""
    long = int(pixels ** rng.random())
    short = max(1, min(int(2 ** (rng.random() * 11)), pixels // long))
    return (long, short) if rng.random() < 0.5 else (short, long)


def _make_map(rng: Random) -> np.ndarray:
    shape = rng.choice(((1, 1), (2, 2), (7, 7), (14, 14), (37, 37), (1, 30), (3, 5)))
    alpha = np.random.default_rng(rng.randrange(2**32)).gamma(rng.choice((0.05, 1.0)), size=shape)
    match rng.randrange(12):
        case 0:
            return np.zeros(shape)
        case 1:
            alpha.flat[rng.randrange(alpha.size)] = rng.choice((-1.0, np.nan, np.inf, 1e38, 5e-324))
        case 2:
            return alpha.reshape(-1) if rng.random() < 0.5 else alpha[:0]
    return alpha


def _picture_size(rng: Random, photo: Image.Image) -> tuple[int, int] | None:
    """Return the size of a picture."""
    match rng.randrange(4):
        case 0:
            return None
        case 1:
            return _random_sides(rng, 200_000)
        case 2:
            return scaled_to(photo.size, rng.randint(1, MAX_SIDE))
        case _:
            return rng.choice(((1, 1), (1, MAX_SIDE), (MAX_SIDE, 1), (0, 5), (-3, 3)))


def _draw_heat(rng: Random, photo: Image.Image, frame: ImageFrame, alpha: np.ndarray) -> int:
    size = _picture_size(rng, photo) or photo.size
    heat = heat_map(alpha, frame, size, rng.random() < 0.5)
    if heat.shape != size[::-1] or not 0 <= heat.min() <= heat.max() <= 1:
        raise WrongResult(f"a heat map of {size} is {heat.shape}, {heat.min()} to {heat.max()}")
    return heat.size


def _draw_overlay(rng: Random, photo: Image.Image, frame: ImageFrame, alpha: np.ndarray) -> int:
    size = _picture_size(rng, photo)
    colour_map = rng.choice(_COLOUR_MAPS[:4] if rng.random() < 0.8 else _COLOUR_MAPS)
    opacity = rng.choice(_OPACITIES[:4] if rng.random() < 0.8 else _OPACITIES)
    picture = overlay(photo, alpha, frame, rng.random() < 0.5, opacity, colour_map, size)
    if picture.mode != "RGB" or picture.size != (size or photo.size):
        raise WrongResult(f"an overlay of {size or photo.size} is {picture.mode}, {picture.size}")
    return picture.width * picture.height


def _draw_figure(rng: Random, photo: Image.Image, frame: ImageFrame, alpha: np.ndarray) -> int:
    words = tuple(rng.choice(_WORDS) for _ in range(rng.choice((0, 1, 5, 20, 50))))
    count, text = len(words), rng.choice((" ".join(words), "x" * 2000, ""))
    alphas = np.stack([alpha] * count) if count else np.zeros((0, 2, 2))
    log_probs = np.full(count, rng.choice((-0.1, -1e9, 0.0)))
    caption = Caption(text, words, tuple(range(count)), alphas, np.ones(count), log_probs, -3.0, -1.0, frame)
    boxes = {number: [_box(rng)] for number in range(count) if rng.random() < 0.3}
    options = {"columns": rng.choice((None, None, 0, 1, 3, 100)), "panel_width": rng.choice((224, 224, 32, 31, 300))}
    heading = rng.choice((None, occlusion_heading(text)))
    figure = figure_strip(photo, caption, **options, smooth=rng.random() < 0.5, outlines=boxes, heading=heading)
    if figure.mode != "RGB" or max(figure.size) > 65_535:
        raise WrongResult(f"a figure is {figure.mode}, {figure.size}")
    figure.save(io.BytesIO(), "JPEG")
    return figure.width * figure.height


def _box(rng: Random) -> tuple[float, float, float, float]:
    return tuple(rng.choice((0.0, 1.0, -5.0, 1e6, rng.random() * 100)) for _ in range(4))


def _status(name: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))


def _reset_peak() -> int:
    """Reset the peak memory and return the current memory in bytes."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")
