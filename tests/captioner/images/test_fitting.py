"""Photos of every shape are fitted to the square that is the model's input, with little memory and no aliasing."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from captioner.errors import ConfigError, ImageError
from captioner.images import fitting
from captioner.images.fitting import PAD_COLOUR, fit_image
from captioner.images.photo import open_image
from tests.support.read_photos import (
    RED,
    assert_close,
    encoded,
)


@pytest.mark.parametrize("size", [(1, 1), (10000, 10), (10, 10000)])
@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_odd_sizes_are_read_and_fitted(size, fit):
    photo = open_image(encoded(Image.new("RGB", size, RED), "PNG"))
    square, frame = fit_image(photo, 32, fit)
    assert square.shape == (32, 32, 3) and square.dtype == np.uint8
    assert (frame.width, frame.height) == size
    if fit != "pad" or size == (1, 1):
        assert_close(square, np.broadcast_to(RED, square.shape), tolerance=1)
    else:  # the photo covers a hundredth of the square, shared by the two middle rows or columns
        assert square[16, 16, 0] > PAD_COLOUR[0] and tuple(square[0, 0]) == PAD_COLOUR


def gradient(width: int, height: int) -> Image.Image:
    """Red encodes the column, green the row, 0 to 255 from edge to edge; blue is 255, which padding is not."""
    x = (np.arange(width) + 0.5) / width * 255
    y = (np.arange(height) + 0.5) / height * 255
    red, green = np.broadcast_to(x, (height, width)), np.broadcast_to(y[:, None], (height, width))
    return Image.fromarray(np.rint(np.stack([red, green, np.full_like(red, 255)], axis=2)).astype(np.uint8))


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(301, 200), (200, 301), (97, 96), (40, 1000), (13, 7), (64, 64)])
def test_the_seen_box_maps_each_pixel_of_the_square_to_the_photo(size, fit):
    width, height = size
    square, frame = fit_image(gradient(width, height), 64, fit)
    left, top, right, bottom = frame.seen_box
    x = left + (np.arange(64) + 0.5) / 64 * (right - left)
    y = top + (np.arange(64) + 0.5) / 64 * (bottom - top)
    step = (right - left) / 64, (bottom - top) / 64
    inner_x = (x > 2 * max(step[0], 1)) & (x < width - 2 * max(step[0], 1))
    inner_y = (y > 2 * max(step[1], 1)) & (y < height - 2 * max(step[1], 1))
    inner = square[np.ix_(inner_y, inner_x)].astype(float)
    if inner.size:  # a very long padded photo has no pixel away from its edges
        np.testing.assert_allclose(inner[..., 0], np.broadcast_to(x[inner_x] / width * 255, inner.shape[:2]), atol=2)
        np.testing.assert_allclose(
            inner[..., 1], np.broadcast_to((y[inner_y] / height * 255)[:, None], inner.shape[:2]), atol=2
        )
    beside = (x < -step[0])[None, :] | (x > width + step[0])[None, :]
    beside = beside | (y < -step[1])[:, None] | (y > height + step[1])[:, None]
    assert (square[beside] == PAD_COLOUR).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (64, 80), (90, 91), (301, 200), (1000, 40), (1300, 990)])
def test_whole_photos_are_resampled_as_pillow_does_up_to_rounding(size):
    waves = np.sin(np.arange(size[0]) / 7)[None, :] + np.cos(np.arange(size[1]) / 5)[:, None]
    levels = np.stack([waves, waves**2, -waves], axis=2)
    noise = np.random.default_rng(0).integers(-9, 10, levels.shape)
    photo = Image.fromarray(np.clip(128 + 50 * levels + noise, 0, 255).astype(np.uint8))
    assert fitting.is_fast(photo, "squash") and not fitting.is_fast(photo, "crop")
    square, _ = fit_image(photo, 64, "squash")
    plain = np.array(photo.resize((64, 64), Image.Resampling.BICUBIC))
    differences = np.abs(square.astype(int) - plain)
    assert differences.max() <= 2 and (differences > 0).mean() < 0.02


def test_a_large_photo_is_fitted_without_torch(monkeypatch):
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    monkeypatch.setattr(fitting, "_MAX_FAST_PIXELS", 1199)
    monkeypatch.setitem(sys.modules, "torch", None)
    square, _ = fit_image(photo, 16, "squash")
    np.testing.assert_array_equal(square, np.array(photo.resize((16, 16), Image.Resampling.BICUBIC)))


FORKED = """
import os, signal
from concurrent.futures import ThreadPoolExecutor
from PIL import Image
from captioner.images.fitting import prepare_image

photo = Image.new("RGB", (900, 600), (10, 200, 30))
with ThreadPoolExecutor(8) as pool:  # until all threads have started
    square, frame = list(pool.map(lambda _: prepare_image(photo, 32, "squash"), range(32)))[-1]
child = os.fork()
if child == 0:
    signal.alarm(20)
    again, same = prepare_image(photo, 32, "squash")
    os._exit(int(same != frame or (again != square).any()))
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork processes")
def test_a_forked_process_prepares_photos_with_threads_of_its_own():
    process = subprocess.run([sys.executable, "-c", FORKED], timeout=60)
    assert process.returncode == 0


def test_seen_boxes_are_exact():
    photo = Image.new("RGB", (301, 200))
    assert fit_image(photo, 8, "squash")[1].seen_box == (0, 0, 301, 200)
    assert fit_image(photo, 8, "crop")[1].seen_box == (50.5, 0, 250.5, 200)
    assert fit_image(photo, 8, "pad")[1].seen_box == (0, -50.5, 301, 250.5)


@pytest.mark.parametrize("size", [(301, 200), (31, 100), (100, 3)])
def test_padding_equals_resizing_the_whole_padded_square(size):
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    side = max(size)
    # Twice as large, so that the centred photo starts at a whole pixel.
    doubled = photo.resize((2 * size[0], 2 * size[1]), Image.Resampling.NEAREST)
    square = Image.new("RGB", (2 * side, 2 * side), PAD_COLOUR)
    square.paste(doubled, (side - size[0], side - size[1]))
    slow = np.array(square.resize((24, 24), Image.Resampling.BICUBIC)).astype(int)
    fast, frame = fit_image(photo, 24, "pad")
    touched = np.zeros((24, 24), dtype=bool)
    left, top, _, _ = frame.seen_box
    scale = side / 24
    touched[
        int(np.floor(-top / scale)) : int(np.ceil((size[1] - top) / scale)),
        int(np.floor(-left / scale)) : int(np.ceil((size[0] - left) / scale)),
    ] = True
    np.testing.assert_allclose(fast[touched], slow[touched], atol=4)


@pytest.mark.parametrize("size", [(80, 30_000), (1_000_000, 1)])
def test_padding_a_very_long_photo_takes_little_extra_memory(size, monkeypatch):
    photo, canvases, make = Image.new("RGB", size, "red"), [], Image.new

    def counted(mode, size, colour):
        canvases.append(size[0] * size[1])
        return make(mode, size, colour)

    monkeypatch.setattr(Image, "new", counted)
    square, _ = fit_image(photo, 32, "pad")
    assert square.shape == (32, 32, 3)
    assert max(canvases) < 6 * photo.width * photo.height


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(3_000_000, 2), (2, 3_000_000)])
def test_fitting_a_very_long_photo_takes_little_memory(size, fit, monkeypatch):
    """Pillow's filter takes 32 bytes per pixel of a side: a photo of a few kilobytes could fill the memory."""
    photo, resize, sides = Image.new("RGB", size, "red"), Image.Image.resize, []
    photo.paste("blue", (0, 0, *(side // 2 if side > 2 else side for side in size)))

    def recorded(image, size, resample, box=None):
        left, top, right, bottom = box or (0, 0, *image.size)
        sides.append(max(right - left, bottom - top))
        return resize(image, size, resample, box)

    monkeypatch.setattr(Image.Image, "resize", recorded)
    square, frame = fit_image(photo, 32, fit)
    assert sides and max(sides) <= 65_536 and (frame.width, frame.height) == size
    if fit == "squash":
        along = square[16] if size[0] > size[1] else square[:, 16]
        assert tuple(along[3]) == (0, 0, 255) and tuple(along[28]) == (255, 0, 0)


@pytest.mark.parametrize("size", [(90_000, 700), (700, 90_000)])
def test_a_very_long_photo_is_fitted_as_if_resampled_in_one_step(size, monkeypatch):
    parts = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8))
    photo = parts.resize(size)
    for fit in ("squash", "pad"):
        short, _ = fit_image(photo, 32, fit)
        with monkeypatch.context() as patched:
            patched.setattr(fitting, "_LONGEST_SIDE", 10**9)
            patched.setattr(fitting, "_ROWS_PER_PIXEL", 10**9)
            expected, _ = fit_image(photo, 32, fit)
        assert_close(short, expected, tolerance=2)


def test_shrinking_does_not_alias():
    stripes = np.zeros((400, 400, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    square, _ = fit_image(Image.fromarray(stripes), 16, "squash")
    assert_close(square, np.full_like(square, 128), tolerance=6)


def test_unknown_fits_and_sizes_are_refused():
    photo = Image.new("RGB", (4, 4))
    with pytest.raises(ConfigError, match="squash, crop, pad"):
        fit_image(photo, 8, "stretch")
    with pytest.raises(ConfigError, match="at least 1"):
        fit_image(photo, 0, "crop")
    with pytest.raises(ImageError, match="open_image"):
        fit_image(photo.convert("L"), 8, "crop")
