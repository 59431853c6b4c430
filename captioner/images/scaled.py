"""JPEG photos decoded at a half, a quarter or an eighth of their sides, for uses that need few of their pixels.

The decoder of JPEG averages pixels while it decodes, which saves most of the time and of the memory of a large photo.
"""

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

FULL_SIZE = "full_size"
"""Key in `info` of a photo that was decoded at a smaller size: width and height of the upright original."""
_FACTORS = (8, 4, 2)
_MIN_SIDE = 700
"""Pixels of each side that tell a page of text from other photos."""


def needed_side(size: int) -> int:
    """Return the pixels that each side of a photo needs before it is fitted to a square of `size` pixels.

    Twice the square's, so that the last reduction is that of a filter which is better than the decoder's average.
    """
    return max(2 * size, _MIN_SIDE)


def decode_smaller(image: Image.Image, side: int | None) -> None:
    """Make Pillow decode a JPEG with the fewest pixels that leave each side at least `side`; None: with all of them.

    Only whole pixels are averaged: a photo with odd sides is decoded whole, because its last pixels would lie partly
    outside of it.
    """
    if side is None or not isinstance(image, JpegImageFile):
        return
    width, height = image.size
    for factor in _FACTORS:
        if min(width, height) >= factor * side and width % factor == height % factor == 0:
            image.draft(None, (width // factor, height // factor))
            return


def full_size(photo: Image.Image) -> tuple[int, int]:
    """Return width and height of the upright original of a photo from `open_image`."""
    return photo.info.get(FULL_SIZE, photo.size)
