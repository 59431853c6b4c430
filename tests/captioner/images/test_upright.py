"""Photos of every orientation, mode and range of greys become upright RGB."""

import numpy as np
import pytest
from PIL import Image

from captioner.images.photo import open_image
from tests.support.read_photos import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    assert_close,
    corners,
    encoded,
    exif_with,
    quarters,
    see_through,
)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_exactly_once(form, orientation):
    ways = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    ways |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}  # how a camera held that way stores the pixels
    stored = quarters()
    if orientation in ways:
        stored = stored.transpose(Image.Transpose[ways[orientation]])
    photo = open_image(encoded(stored, form, exif=exif_with(orientation)))
    assert photo.size == (48, 32)
    assert_close(corners(photo), [RED, GREEN, BLUE, WHITE])
    reopened = open_image(photo)
    assert reopened.size == photo.size and corners(reopened) == corners(photo)


@pytest.mark.parametrize("exif", [b"MM\x00*\xff\xff\xff\xff broken", b"garbage", b"II*\x00\x08\x00\x00\x00\x09\x00"])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_damaged_exif_does_not_prevent_reading(form, exif):
    photo = open_image(encoded(quarters(), form, exif=b"Exif\x00\x00" + exif))
    assert_close(corners(photo), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "RGBX", "I", "F"])
def test_modes_without_transparency_are_read(mode):
    grey = Image.new("L", (8, 8), 255)
    grey.paste(0, (0, 0, 4, 8))
    photo = open_image(grey.convert("RGB").convert(mode) if mode not in ("I", "F") else grey.convert(mode))
    assert photo.mode == "RGB"
    assert_close([photo.getpixel((1, 4)), photo.getpixel((6, 4))], [(0, 0, 0), WHITE])


def test_cmyk_jpeg_keeps_its_colours():
    photo = open_image(encoded(quarters().convert("CMYK"), "JPEG", quality=95))
    assert_close(corners(photo), [RED, GREEN, BLUE, WHITE], tolerance=25)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa"])
def test_transparency_becomes_white(mode):
    photo = open_image(see_through(mode))
    assert_close([photo.getpixel((1, 4)), photo.getpixel((6, 4))], [(10, 10, 10), WHITE], tolerance=1)


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_a_transparent_colour_declared_by_a_file_becomes_white(mode):
    photo = Image.new("RGB", (8, 8), (0, 0, 0))
    photo.paste((200, 200, 200), (0, 0, 4, 8))
    photo = photo.convert(mode) if mode != "P" else photo.quantize(4)
    hidden = photo.getpixel((6, 4))
    png = open_image(encoded(photo, "PNG", transparency=hidden))
    assert_close([png.getpixel((1, 4)), png.getpixel((6, 4))], [(200, 200, 200), WHITE], tolerance=1)


def test_half_transparent_pixels_are_blended_with_white():
    photo = open_image(Image.new("RGBA", (2, 2), (0, 0, 0, 128)))
    assert_close(photo.getpixel((0, 0)), (127, 127, 127), tolerance=1)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_brightness(form):
    values = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    photo = open_image(encoded(Image.fromarray(values), form))
    assert [photo.getpixel((x, 0))[0] for x in range(4)] == [0, 1, 128, 255]


def test_dark_sixteen_bit_grey_stays_dark():
    photo = open_image(encoded(Image.fromarray(np.full((2, 2), 200, dtype=np.uint16)), "PNG"))
    assert photo.getpixel((0, 0)) == (1, 1, 1)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([[0.0, 0.5, 1.0]], dtype=np.float32), [0, 128, 255]),
        (np.array([[0.0, 100.0, 255.0]], dtype=np.float32), [0, 100, 255]),
        (np.array([[-5, 257, 65535]], dtype=np.int32), [0, 1, 255]),
        (np.array([[0, 100_000, 200_000]], dtype=np.int32), [0, 128, 255]),
        (np.array([[np.nan, 0.0, 1.0]], dtype=np.float32), [0, 0, 255]),
    ],
)
def test_wide_grey_ranges_keep_their_brightness(values, wanted):
    photo = open_image(Image.fromarray(values))
    assert [photo.getpixel((x, 0))[0] for x in range(3)] == wanted
