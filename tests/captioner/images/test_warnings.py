"""Blank and truncated photos are recognised before captioning."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from captioner.images.fitting import fit_image, prepare_image
from captioner.images.photo import open_image
from captioner.images.warnings import find_warnings, is_blank

HEIGHT, WIDTH = 360, 480
ACROSS = np.linspace(0, 1, WIDTH)[None, :, None]
DOWN = np.linspace(0, 1, HEIGHT)[:, None, None]
FLAT = np.zeros((HEIGHT, WIDTH, 3))


def as_jpeg(pixels: np.ndarray, quality: int = 30) -> Image.Image:
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=quality)
    return open_image(stream.getvalue())


def noise(sigma: float) -> np.ndarray:
    return np.random.default_rng(3).normal(0, sigma, FLAT.shape)


BLANK = {
    "black": FLAT,
    "white": FLAT + 255,
    "orange": FLAT + (240, 130, 20),
    "lens cap": FLAT + 4 + noise(8),
    "underexposed noise": FLAT + 20 + noise(12),
    "gradient": FLAT + 255 * ACROSS,
    "slanted gradient": FLAT + 60 + 80 * ACROSS + 90 * DOWN,
    "vignette": FLAT + 250 - 90 * ((ACROSS - 0.5) ** 2 + (DOWN - 0.5) ** 2) * 2,
}


@pytest.mark.parametrize("name", BLANK)
@pytest.mark.parametrize("quality", [30, 90])
def test_a_picture_without_content_is_blank(name, quality):
    (warning,) = find_warnings(as_jpeg(BLANK[name], quality))
    assert warning.kind == "blank" and "nothing to describe" in warning.message


def with_square(pixels: np.ndarray, side: int, level: int) -> np.ndarray:
    pixels = pixels.copy()
    pixels[100 : 100 + side, 200 : 200 + side] = level
    return pixels


SOMETHING = {
    "a lamp at night": with_square(FLAT + noise(4), 12, 255),
    "a bird in the sky": with_square(FLAT + (120, 160, 230) + 30 * DOWN, 10, 20),
    "fog with a shape": with_square(FLAT + 180, 120, 195),
    "two halves": FLAT + 40 * (DOWN > 0.5),
    "stars": FLAT + 255 * (np.random.default_rng(1).random((HEIGHT, WIDTH, 1)) > 0.998),
    "noise": FLAT + np.random.default_rng(0).integers(0, 255, (6, 8, 3)).repeat(60, 0).repeat(60, 1),
}


@pytest.mark.parametrize("name", SOMETHING)
def test_a_picture_with_little_content_is_not_blank(name):
    assert find_warnings(as_jpeg(SOMETHING[name], 90)) == ()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (16, 16), (2000, 1), (3000, 2000)])
def test_the_size_does_not_affect_blankness(size):
    assert is_blank(Image.new("RGB", size, "teal"))
    half = Image.new("RGB", size, "teal")
    half.paste("yellow", (0, 0, size[0] // 2, size[1]))
    assert is_blank(half) == (size == (1, 1))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_fully_transparent_picture_is_blank(mode):
    hidden = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    picture = Image.fromarray(hidden).convert(mode)
    picture.putalpha(0)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    (warning,) = find_warnings(open_image(stream.getvalue()))
    assert warning.kind == "blank"


@pytest.mark.parametrize(
    ("kept", "progressive", "says"),
    [
        (-2, False, "The file is cut short: its end is missing, but all of the photo is there."),
        (-2, True, "The file is cut short: fine detail of the photo may be missing."),
        (0.5, False, r"The file is cut short: about (4|5)\d % of the photo, at its bottom, is missing."),
    ],
)
def test_the_warning_of_a_truncated_file_gives_the_missing_share(kept, progressive, says):
    pixels = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((320, 240)).save(stream, "JPEG", progressive=progressive)
    data = stream.getvalue()
    photo = open_image(data[: kept if kept < 0 else round(len(data) * kept)])
    (warning,) = find_warnings(photo)
    assert warning.kind == "cut_short"
    assert re.fullmatch(says, warning.message)
    assert prepare_image(photo, 32, "crop")[1].warnings == (warning,) and not fit_image(photo, 32, "crop")[1].warnings
