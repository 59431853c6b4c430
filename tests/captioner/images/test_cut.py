"""Truncated image files: the available part is decoded, the missing part is measured, other threads are unaffected."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile

from captioner.errors import ImageError
from captioner.images.cut import CUT_SHORT, MISSING_COLOUR
from captioner.images.photo import is_opened, open_image


def scene(width: int = 320, height: int = 240) -> Image.Image:
    """Draw shapes and noise, so that every row takes about the same number of bytes."""
    rng = np.random.default_rng(5)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((width, height))
    noise = rng.integers(-20, 20, (height, width, 3))
    return Image.fromarray((np.asarray(coarse).astype(int) + noise).clip(0, 255).astype(np.uint8))


def encoded(form: str, photo: Image.Image | None = None, **options) -> bytes:
    stream = io.BytesIO()
    (photo or scene()).save(stream, form, **options)
    return stream.getvalue()


def missing_of(photo: Image.Image) -> float:
    return photo.info[CUT_SHORT].missing


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_without_its_end_marker_is_complete(mode, progressive):
    data = encoded("JPEG", scene().convert(mode), progressive=progressive)
    expected = open_image(data)
    for photo in (open_image(data[:-2]), open_image(data[:-1])):
        np.testing.assert_array_equal(photo, expected)
        assert missing_of(photo) == 0 and photo.info[CUT_SHORT].progressive == progressive
        assert is_opened(photo)
    assert not expected.info


CASES = {
    "jpeg": (encoded("JPEG", quality=90), "bottom"),
    "restarts": (encoded("JPEG", quality=90, restart_marker_rows=1), "bottom"),
    "grey": (encoded("JPEG", scene().convert("L"), quality=90), "bottom"),
    "png": (encoded("PNG"), "bottom"),
    "palette": (encoded("PNG", scene().quantize()), "bottom"),
    "gif": (encoded("GIF", scene().quantize(), interlace=False), "bottom"),
    "ppm": (encoded("PPM"), "bottom"),
    "tiff": (encoded("TIFF"), "bottom"),
    "bmp": (encoded("BMP"), "top"),  # stored upside down
}


@pytest.mark.parametrize("share", [0.03, 0.25, 0.6])
@pytest.mark.parametrize("name", CASES)
def test_the_decoded_part_is_correct_and_the_missing_part_is_measured(name, share):
    data, side = CASES[name]
    original, photo = open_image(data), open_image(data[: round(len(data) * (1 - share))])
    cut = photo.info[CUT_SHORT]
    assert cut.side == side and cut.missing == pytest.approx(share, abs=0.04)
    pixels, expected = np.asarray(photo), np.asarray(original)
    if side == "top":
        pixels, expected = pixels[::-1], expected[::-1]
    grey = (pixels == MISSING_COLOUR).all(axis=(1, 2))
    decoded = round(photo.height * (1 - cut.missing))
    reach = 24 if side == "bottom" else 2  # a JPEG's row of blocks may be cut, and colours bleed into the next
    np.testing.assert_array_equal(pixels[: decoded - reach], expected[: decoded - reach])
    assert grey[decoded + reach :].all()


def test_a_progressive_jpeg_loses_detail_before_rows():
    data = encoded("JPEG", progressive=True)
    photo = open_image(data[: len(data) * 3 // 4])
    assert missing_of(photo) == 0 and photo.info[CUT_SHORT].progressive
    assert missing_of(open_image(data[: len(data) // 12])) > 0.1  # within its first pass


def test_the_missing_part_is_located_in_the_upright_photo():
    for orientation, side in {1: "bottom", 3: "top", 6: "left", 8: "right"}.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded("JPEG", exif=exif)
        photo = open_image(data[: len(data) // 2])
        grey = (np.asarray(photo) == MISSING_COLOUR).all(axis=2)
        edges = {"top": grey[0], "bottom": grey[-1], "left": grey[:, 0], "right": grey[:, -1]}
        assert photo.info[CUT_SHORT].side == side and edges[side].all(), orientation


def test_a_grey_photo_does_not_count_as_missing():
    grey = Image.new("RGB", (320, 240), MISSING_COLOUR)
    assert missing_of(open_image(encoded("JPEG", grey)[:-2])) < 0.1
    assert missing_of(open_image(encoded("PPM", grey)[:-9])) < 0.1


def test_a_broken_file_is_read_up_to_the_damage():
    """As after a download restarted in the middle, or after the loss of a disk block."""
    jpeg, png = encoded("JPEG", quality=90), encoded("PNG")
    broken_png = png[: len(png) // 2] + b"\xff" * 4000 + png[len(png) // 2 + 4000 :]
    for original, data in ((jpeg, jpeg[: len(jpeg) // 2] + jpeg), (png, broken_png)):
        photo = open_image(data)
        assert missing_of(photo) == pytest.approx(0.5, abs=0.15) and photo.info[CUT_SHORT].side == "bottom"
        assert photo.info[CUT_SHORT].sentence.startswith("The file is damaged: about ")
        decoded = round(photo.height * (1 - missing_of(photo))) - 24
        np.testing.assert_array_equal(np.asarray(photo)[:decoded], np.asarray(open_image(original))[:decoded])


def test_trailing_zeros_count_as_missing():
    """As after an aborted transfer into a preallocated file."""
    data = encoded("JPEG")
    half = data[: len(data) // 2]
    assert missing_of(open_image(half + bytes(len(half)))) == missing_of(open_image(half)) > 0.4


@pytest.mark.parametrize("name", CASES)
def test_a_file_with_hardly_any_decoded_pixels_is_refused(name):
    data, _ = CASES[name]
    with pytest.raises(ImageError, match="cut short"):
        open_image(data[: round(len(data) * 0.06)])


@pytest.mark.parametrize("share", [0.02, 0.5, 0.8])
@pytest.mark.parametrize("form", ["GIF", "PNG"])
def test_an_interlaced_picture_loses_detail(form, share):
    shade = np.add.outer(np.arange(120), np.arange(96)) + np.random.default_rng(0).integers(0, 9, (120, 96))
    smooth = Image.fromarray(shade.astype(np.uint8)).convert("RGB")
    if form == "GIF":
        data = encoded("GIF", smooth.convert("L"), interlace=True)
    else:
        data = interlaced_png(np.asarray(smooth))
    original, photo = open_image(data), open_image(data[: round(len(data) * (1 - share))])
    assert missing_of(photo) == 0 and "fine detail" in photo.info[CUT_SHORT].sentence
    differences = np.abs(np.asarray(photo).astype(int) - np.asarray(original))
    assert differences.max() <= (24 if share < 0.8 else 64) and differences.any()  # far less than for grey


def interlaced_png(pixels: np.ndarray) -> bytes:
    """Adam7, which Pillow reads but does not write; uncompressed, so that half of the file is half of the pixels."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = [row for top, left, down, across in passes for row in pixels[top::down, left::across]]
    content = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows), 0)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    chunks = ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def test_reading_truncated_files_does_not_affect_other_threads(monkeypatch):
    """Pillow's own switch is global: with it, this thread would read damaged photos as if they were complete."""
    jpeg = encoded("JPEG")
    files = {"whole": jpeg, "cut": jpeg[: len(jpeg) * 3 // 4], "stub": jpeg[:900]}
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    switches = []

    def read(name: str) -> tuple[str, float | str]:
        switches.append(ImageFile.LOAD_TRUNCATED_IMAGES)
        try:
            photo = open_image(files[name])
        except ImageError:
            return name, "refused"
        return name, missing_of(photo) if photo.info else "whole"

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(read, [*files] * 40))
    assert set(results) == {("whole", "whole"), ("stub", "refused"), ("cut", missing_of(open_image(files["cut"])))}
    assert not any(switches) and len(results) == 120
