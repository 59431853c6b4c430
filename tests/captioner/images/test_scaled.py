"""A large JPEG that is decoded at a fraction of its size gives the same model input, up to resampling."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from captioner.config import FITS
from captioner.errors import ImageTooLarge
from captioner.images.fitting import prepare_image
from captioner.images.photo import is_opened, open_image
from captioner.images.scaled import FULL_SIZE, full_size, needed_side

SIZE = 96
SIDE = needed_side(SIZE)


def jpeg(width: int, height: int, **options) -> bytes:
    """Draw shapes of all scales, as a JPEG."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    photo = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    photo.paste((250, 240, 20), (0, 0, width // 3, height // 4))
    stream = io.BytesIO()
    photo.filter(ImageFilter.BoxBlur(2)).save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("size", "factor"), [((1400, 2000), 2), ((2804, 2812), 4), ((3002, 3010), 2)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_model_gets_the_same_pixels_up_to_resampling(fit, size, factor, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(*size, exif=exif)
    full, smaller = open_image(data), open_image(data, side=SIDE)
    assert (factor * smaller.width, factor * smaller.height) == full.size
    square, frame = prepare_image(full, SIZE, fit)
    smaller_square, smaller_frame = prepare_image(smaller, SIZE, fit)
    assert smaller_frame == frame and full_size(smaller) == full.size
    differences = np.abs(square.astype(int) - smaller_square.astype(int))
    assert differences.mean() < 1 and np.quantile(differences, 0.99) <= 6


@pytest.mark.parametrize("size", [(2 * SIDE - 2, 3 * SIDE), (2 * SIDE + 1, 3 * SIDE)])
def test_a_photo_with_few_pixels_or_odd_sides_is_decoded_whole(size):
    data = jpeg(*size)
    photo = open_image(data, side=SIDE)
    assert FULL_SIZE not in photo.info and photo.tobytes() == open_image(data).tobytes()


def test_other_formats_are_decoded_whole():
    stream = io.BytesIO()
    Image.new("RGB", (2 * SIDE, 2 * SIDE), (9, 99, 199)).save(stream, "PNG")
    assert open_image(stream.getvalue(), side=SIDE).size == (2 * SIDE, 2 * SIDE)


def test_a_smaller_photo_is_not_decoded_again():
    assert is_opened(open_image(jpeg(2 * SIDE, 2 * SIDE), side=SIDE))


def test_the_limit_of_pixels_is_that_of_the_original():
    with pytest.raises(ImageTooLarge, match=f"{2 * SIDE} x {2 * SIDE}"):
        open_image(jpeg(2 * SIDE, 2 * SIDE), max_pixels=4 * SIDE * SIDE - 1, side=SIDE)


def test_a_truncated_photo_has_the_same_missing_part():
    data = jpeg(2 * SIDE, 2 * SIDE)
    data = data[: len(data) // 2]
    full, smaller = open_image(data), open_image(data, side=SIDE)
    assert prepare_image(smaller, SIZE, "squash")[1] == prepare_image(full, SIZE, "squash")[1]
    assert [warning.kind for warning in prepare_image(smaller, SIZE, "squash")[1].warnings] == ["cut_short"]
