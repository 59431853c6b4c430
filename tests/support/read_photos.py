"""A photo that looks different in every rotation and reflection, as files, and the colours read from them."""

import io

import numpy as np
from PIL import Image

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 30), (30, 30, 220), (255, 255, 255)


def quarters(width: int = 48, height: int = 32) -> Image.Image:
    """Draw red and green above, blue and white below: every rotation and reflection looks different."""
    photo = Image.new("RGB", (width, height), WHITE)
    photo.paste(RED, (0, 0, width // 2, height // 2))
    photo.paste(GREEN, (width // 2, 0, width, height // 2))
    photo.paste(BLUE, (0, height // 2, width // 2, height))
    return photo


def encoded(photo: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    photo.save(stream, form, **options)
    return stream.getvalue()


def corners(photo: Image.Image) -> list[tuple[int, int, int]]:
    """Return the centres of the four quarters, row by row."""
    xs, ys = (photo.width // 4, photo.width * 3 // 4), (photo.height // 4, photo.height * 3 // 4)
    return [photo.getpixel((x, y)) for y in ys for x in xs]


def assert_close(colours, expected, tolerance: int = 12) -> None:
    np.testing.assert_allclose(np.array(colours, dtype=int), np.array(expected, dtype=int), atol=tolerance)


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def see_through(mode: str) -> Image.Image:
    """Draw the left half dark and opaque, the right half fully transparent over black."""
    photo = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    photo.paste((10, 10, 10, 255), (0, 0, 4, 8))
    return photo.convert(mode)
