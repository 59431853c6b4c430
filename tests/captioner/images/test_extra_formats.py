"""HEIC and JPEG XL: the same pixels as in other formats, turned upright once, within the same limits."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from captioner.errors import ImageError, ImageTooLarge, NotAnImage
from captioner.images import extra_formats
from captioner.images.jpeg_xl import JpegXlError, read_header
from captioner.images.photo import MAX_PIXELS, open_image
from tests.captioner.images.test_photo import assert_close, corners, encoded, exif_with, quarters

pillow_heif.register_heif_opener()
import pillow_jxl  # noqa: E402, F401  # registers what writes JPEG XL

STORED = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
STORED |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}
"""How a camera held that way stores the pixels."""

LIMITS = [None, 30.0]
"""Without a time limit a photo is decoded in this process, with one in a separate process."""


@pytest.mark.parametrize("seconds", LIMITS)
@pytest.mark.parametrize("form", ["HEIF", "JXL"])
def test_the_pixels_equal_those_of_other_formats(form, seconds):
    photo = open_image(encoded(quarters(), form, quality=95), seconds=seconds)
    assert photo.mode == "RGB" and photo.size == (48, 32) and not photo.info
    assert_close(corners(photo), corners(quarters()))


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA"])
@pytest.mark.parametrize("form", ["HEIF", "JXL"])
def test_other_modes_are_read(form, mode):
    photo = quarters().convert(mode)
    expected = corners(quarters().convert(mode.rstrip("A") if mode != "RGBA" else "RGB").convert("RGB"))
    assert_close(corners(open_image(encoded(photo, form, quality=95))), expected, tolerance=16)


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_wide_grey_ranges_of_jpeg_xl_keep_their_brightness(mode):
    ramp = np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(48, 64)
    values = ramp if mode == "F" else np.rint(ramp * 65535).astype(np.uint16)
    photo = open_image(encoded(Image.fromarray(values), "JXL", lossless=True))
    np.testing.assert_allclose(np.asarray(photo)[..., 0], ramp * 255, atol=2)


@pytest.mark.parametrize(
    ("orientation", "seconds"), [*((orientation, None) for orientation in range(1, 9)), (6, 30.0), (7, 30.0)]
)
@pytest.mark.parametrize("form", ["HEIF", "JXL", "JPEG in JXL"])
def test_photos_are_turned_upright_once(form, orientation, seconds, tmp_path):
    stored = quarters()
    if orientation in STORED:
        stored = stored.transpose(Image.Transpose[STORED[orientation]])
    exif = exif_with(orientation).tobytes()
    if form == "JPEG in JXL":  # a losslessly repacked JPEG: the codestream has the orientation
        (tmp_path / "a.jpg").write_bytes(encoded(stored, "JPEG", exif=exif, quality=95))
        with Image.open(tmp_path / "a.jpg") as photo:
            data = encoded(photo, "JXL", lossless_jpeg=True)
        assert read_header(data).orientation == orientation
    else:
        data = encoded(stored, form, exif=exif, quality=95)
    upright = open_image(data, seconds=seconds)
    assert upright.size == (48, 32)
    assert_close(corners(upright), corners(quarters()))


def test_the_exif_orientation_of_heic_is_ignored():
    """As the standard says and viewers do: only the container's rotation counts. Here there is none."""
    data = bytearray(encoded(quarters(), "HEIF", quality=95, exif=exif_with(3).tobytes()))
    data[data.index(b"irot") + 4] = 0
    assert_close(corners(open_image(bytes(data))), corners(quarters()))


@pytest.mark.parametrize("seconds", LIMITS)
@pytest.mark.parametrize("form", ["HEIF", "JXL"])
def test_a_large_photo_is_refused_before_it_is_decoded(form, seconds, monkeypatch):
    def decoded(*_):
        raise AssertionError("the photo was decoded")

    data = encoded(Image.new("RGB", (900, 700)), form)
    monkeypatch.setattr(pillow_jxl, "Decoder", decoded)
    monkeypatch.setattr(Image.Image, "load", decoded)
    with pytest.raises(ImageTooLarge, match="IMG is too large: 900 x 700 is 630,000 pixels, and at most 600,000"):
        open_image(data, "IMG", 600_000, seconds)


def test_a_header_with_a_false_size_is_refused():
    data = bytearray(encoded(Image.new("RGB", (900, 700)), "HEIF"))
    offset = data.index(b"ispe") + 8
    data[offset : offset + 8] = bytes((0, 0, 0, 64, 0, 0, 0, 64))
    with pytest.raises(ImageError):
        open_image(bytes(data), max_pixels=100_000)


@pytest.mark.parametrize(
    "size", [(1, 1), (8, 8), (256, 256), (257, 3), (5000, 2), (320, 240), (1920, 1080), (300, 200)]
)
@pytest.mark.parametrize("container", [False, True])
def test_the_header_of_jpeg_xl_is_read(size, container):
    for mode, extra in (("RGB", 0), ("LA", 1)):
        header = read_header(encoded(Image.new(mode, size), "JXL", use_container=container, effort=1))
        assert (header.width, header.height, header.orientation, header.extra_channels) == (*size, 1, extra)


@pytest.mark.parametrize("data", [b"", b"\xff\x0a", b"\xff\x0a\x01", b"\0\0\0\x0cJXL \r\n\x87\n", b"GIF89a" * 9])
def test_a_damaged_header_of_jpeg_xl_is_an_error(data):
    with pytest.raises(JpegXlError):
        read_header(data)


def test_many_extra_channels_are_refused():
    """Each takes as much memory as a colour channel, and a header may declare thousands."""
    bits = "1" + "00000" + "001" + "0" + "0" + "0" + "00" + "1" + "11" + "000000000001"[::-1]
    data = b"\xff\x0a" + int(bits[::-1], 2).to_bytes(8, "little")
    assert read_header(data).extra_channels == 2
    wide = "1" + "00000" + "001" + "0" + "0" + "0" + "00" + "1" + "11" + "1" * 12
    with pytest.raises(ImageTooLarge, match="channels"):
        open_image(b"\xff\x0a" + int(wide[::-1], 2).to_bytes(8, "little") + bytes(50))


@pytest.mark.parametrize(("form", "share"), [("HEIF", 0.05), ("JXL", 2 / 3)])
def test_truncated_files_are_an_error(form, share):
    """Truncated HEIC is decoded (`test_filled.py`) where more than a tenth is left."""
    data = encoded(quarters(480, 320), form, quality=95)
    for seconds in LIMITS:
        with pytest.raises(ImageError, match="upload 7 .*(cut short|damaged)") as error:
            open_image(data[: round(len(data) * share)], "upload 7", seconds=seconds)
        assert "\n" not in str(error.value)


def test_decoding_that_takes_too_long_is_killed():
    with pytest.raises(ImageError, match="the photo takes more than 0.0 seconds to decode.*JPEG"):
        open_image(encoded(quarters(), "HEIF"), seconds=0.02)


def test_a_crash_of_the_decoding_process_is_an_error(monkeypatch):
    monkeypatch.setattr(extra_formats.sys, "executable", "/bin/false")
    with pytest.raises(ImageError, match="upload 7 ended the process"):
        open_image(encoded(quarters(), "HEIF"), "upload 7", seconds=20)


@pytest.mark.parametrize(
    ("form", "module", "package"), [("HEIF", "pillow_heif", "pillow-heif"), ("JXL", "pillow_jxl", "pillow-jxl-plugin")]
)
def test_a_missing_package_is_named(form, module, package, monkeypatch):
    data = encoded(quarters(), form)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(NotAnImage, match=f"needs the package {package}: install it, or export the photo as JPEG"):
        open_image(data)


def test_threads_may_be_the_first_to_read_such_photos():
    heic, jxl = encoded(quarters(), "HEIF", quality=95), encoded(quarters(), "JXL", quality=95)
    code = (
        "import sys, io; from concurrent.futures import ThreadPoolExecutor\n"
        "from captioner.images.photo import open_image\n"
        "assert not {'pillow_heif', 'pillow_jxl'} & set(sys.modules)\n"
        f"photos = [{heic!r}, {jxl!r}] * 20\n"
        "print(sum(photo.size == (48, 32) for photo in ThreadPoolExecutor(8).map(open_image, photos)))"
    )
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "40", result.stderr


def test_threads_decode_independently():
    photos = [
        encoded(Image.new("RGB", (40 + n, 30), (n * 9, 90, 90)), form) for n in range(8) for form in ("HEIF", "JXL")
    ]
    with ThreadPoolExecutor(8) as threads:
        for number, photo in enumerate(threads.map(open_image, photos)):
            assert photo.width == 40 + number // 2
            assert_close(photo.getpixel((5, 5)), (number // 2 * 9, 90, 90))
    assert MAX_PIXELS > 0
