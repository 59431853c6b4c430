"""Truncated WebP, HEIC and AVIF files: the available part is decoded, the rest is grey and measured."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from captioner.errors import ImageError
from captioner.images.cut import CUT_SHORT, MISSING_COLOUR
from captioner.images.photo import open_image

register_heif_opener()
FORMS = {
    "lossy": {"format": "WEBP"},
    "lossless": {"format": "WEBP", "lossless": True},
    "HEIC": {"format": "HEIF"},
    "AVIF": {"format": "AVIF"},
}


def scene() -> Image.Image:
    rng = np.random.default_rng(5)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((320, 240))
    noise = rng.integers(-20, 20, (240, 320, 3))
    return Image.fromarray((np.asarray(coarse).astype(int) + noise).clip(0, 255).astype(np.uint8))


def encoded(form: str, orientation: int = 1, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    scene().save(stream, exif=exif.tobytes(), **FORMS[form], **options)
    return stream.getvalue()


@pytest.mark.parametrize("share", [0.003, 0.05, 0.4, 0.7])
@pytest.mark.parametrize("form", FORMS)
def test_the_decoded_part_is_correct_and_the_rest_is_grey(form, share):
    data = encoded(form)
    original, photo = (
        np.asarray(open_image(content)).astype(int) for content in (data, data[: round(len(data) * (1 - share))])
    )
    cut = open_image(data[: round(len(data) * (1 - share))]).info[CUT_SHORT]
    # Decoders work in blocks of up to 64 rows, and smooth over their edges.
    assert cut.side == "bottom" and share - 0.1 <= cut.missing <= share + 0.32
    first = round(240 * (1 - cut.missing))
    assert (photo[first:] == MISSING_COLOUR).all()
    assert np.abs(photo[: first - 8] - original[: first - 8]).mean() < 1


@pytest.mark.parametrize(("orientation", "side"), [(3, "top"), (6, "left"), (8, "right"), (2, "bottom"), (4, "top")])
@pytest.mark.parametrize("form", ["HEIC", "AVIF"])
def test_the_missing_part_is_located_in_the_upright_photo(form, orientation, side):
    data = encoded(form, orientation)
    photo = open_image(data[: len(data) // 2])
    grey = (np.asarray(photo) == MISSING_COLOUR).all(axis=2)
    edges = {"top": grey[0], "bottom": grey[-1], "left": grey[:, 0], "right": grey[:, -1]}
    assert photo.info[CUT_SHORT].side == side and edges[side].all()


@pytest.mark.parametrize("form", ["HEIC", "lossy"])
def test_a_time_limit_gives_the_same_result(form):
    data = encoded(form)[:-3000]
    alone, limited = open_image(data), open_image(data, seconds=60)
    np.testing.assert_array_equal(alone, limited)
    assert alone.info == limited.info


def test_truncated_metadata_does_not_affect_the_pixels():
    data = encoded("lossy")
    photo = open_image(data[:-4])
    assert photo.info[CUT_SHORT].missing == 0
    np.testing.assert_array_equal(photo, open_image(data))


@pytest.mark.parametrize("form", FORMS)
def test_a_file_with_hardly_any_data_is_refused(form):
    data = encoded(form)
    with pytest.raises(ImageError, match="cut short"):
        open_image(data[: len(data) // 20])


@pytest.mark.parametrize("length", [2**31, 2**32 - 10])
def test_a_header_with_a_false_length_does_not_fill_the_memory(length):
    data = bytearray(encoded("lossy")[:-3000])
    offset = data.index(b"VP8 ") + 4
    data[offset : offset + 4] = struct.pack("<I", length)
    with pytest.raises(ImageError):
        open_image(bytes(data))
