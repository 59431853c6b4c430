"""Turn decoded pixels upright, and convert any mode of Pillow to RGB."""

import numpy as np
from PIL import Image

_ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> transposition that turns the stored pixels upright."""

EXCHANGES_SIDES = (
    Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90
)  # fmt: skip
"""Transpositions that swap the width and the height of a photo."""


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 1 to 8; 1 if it has none that can be read."""
    try:
        return image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a photo whose EXIF is damaged is still a photo
        return 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a copy in mode RGB without metadata. Transparent parts become white, greys of any range are scaled."""
    if image.mode.startswith("I") or image.mode == "F":
        rgb = Image.fromarray(_grey_levels(np.asarray(image), sixteen_bit=";16" in image.mode)).convert("RGB")
    elif image.has_transparency_data:
        pixels = image.convert("RGBA")
        rgb = Image.new("RGB", image.size, "white")
        rgb.paste(pixels, mask=pixels.getchannel("A"))
    else:
        rgb = image.convert("RGB")  # a copy if it is RGB already
        # The photo is upright now: an orientation in copied EXIF would rotate it again.
    rgb.info.clear()
    return rgb


def _grey_levels(values: np.ndarray, sixteen_bit: bool) -> np.ndarray:
    """Scale greys [H, W] of any range to uint8.

    Sixteen-bit modes have the range 0 to 65535. For others it is the first of these that holds the largest value: 0 to
    1 (floats), 0 to 255, 0 to 65535, 0 to that value. Negative values and NaN become black.
    """
    grey = np.clip(np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0), 0.0, None)
    peak = float(grey.max())
    ranges = (1.0, 255.0, 65535.0) if values.dtype.kind == "f" else (255.0, 65535.0)
    white = 65535.0 if sixteen_bit else next((level for level in ranges if peak <= level), peak)
    return np.rint(grey * (255.0 / white)).astype(np.uint8)
