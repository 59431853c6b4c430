"""Photos are read from every source and format, and unreadable ones are refused with a clear error."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from captioner.errors import ImageError, ImageTooLarge, NotAnImage
from captioner.images import photo as images
from captioner.images.photo import MAX_PIXELS, is_opened, open_image
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


def png_of_size(width: int, height: int) -> bytes:
    """Return the start of a PNG that declares a size, without pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\xff\xffIDAT"


# --- reading


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000"])
def test_common_formats_give_the_same_pixels(form):
    photo = open_image(encoded(quarters(), form))
    assert photo.mode == "RGB" and photo.size == (48, 32)
    assert_close(corners(photo), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
@pytest.mark.parametrize("blank", ["black", "white"])
def test_the_first_visible_frame_of_an_animation_is_read(form, blank):
    frames = [Image.new("RGB", (48, 32), blank) for _ in range(3)]
    faint = Image.blend(frames[0], quarters(), 0.08)  # fades in
    animation = [*frames, faint, quarters(), quarters().transpose(Image.Transpose.ROTATE_180)]
    photo = open_image(encoded(animation[0], form, save_all=True, append_images=animation[1:]))
    assert_close(corners(photo), corners(quarters()), 40)


def test_an_animation_is_searched_up_to_a_limit(monkeypatch):
    frames = [Image.new("RGB", (48, 32), (20 * number, 0, 0)) for number in range(9)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=[*frames[1:], quarters()], lossless=True)
    assert_close(corners(open_image(data)), corners(quarters()))
    monkeypatch.setattr(images, "_FRAMES", 9)
    assert_close(corners(open_image(data)), [(0, 0, 0)] * 4)
    monkeypatch.setattr(images, "_FRAMES", 100)
    monkeypatch.setattr(images, "_FRAMES_SECONDS", -1.0)
    assert_close(corners(open_image(data)), [(0, 0, 0)] * 4)


def test_damage_after_a_blank_frame_does_not_prevent_reading():
    frames = [Image.new("RGB", (48, 32), "black"), quarters()]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert_close(corners(open_image(data[:-200])), [(0, 0, 0)] * 4)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animation_is_read(form):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    photo = open_image(encoded(frames[0], form, save_all=True, append_images=frames[1:]))
    assert_close(photo.getpixel((8, 8)), RED)


def test_a_file_of_several_pictures_is_read():
    photo = open_image(encoded(quarters(), "MPO", save_all=True, append_images=[quarters()]))
    assert_close(corners(photo), [RED, GREEN, BLUE, WHITE])


def test_every_kind_of_source_gives_the_same_photo(tmp_path):
    data = encoded(quarters(), "PNG")
    path = tmp_path / "photo without extension"
    path.write_bytes(data)
    expected = corners(open_image(data))
    assert corners(open_image(path)) == corners(open_image(str(path))) == expected
    with open(path, "rb") as stream:
        assert corners(open_image(stream)) == expected
        assert not stream.closed  # it belongs to the caller
    with Image.open(path) as lazy:
        assert corners(open_image(lazy)) == expected

    class Pipe(io.RawIOBase):
        def read(self, size=-1):
            return data

    assert corners(open_image(Pipe())) == expected


def test_a_given_image_is_not_changed():
    photo = quarters()
    opened = open_image(photo)
    opened.putpixel((0, 0), (1, 2, 3))
    assert photo.getpixel((0, 0)) == RED


def test_images_from_open_image_are_recognised():
    turned = encoded(quarters(), "JPEG", exif=exif_with(6))
    for source in (encoded(quarters(), "PNG"), turned, quarters(), see_through("RGBA"), Image.new("L", (3, 3))):
        assert is_opened(open_image(source))


def test_an_image_that_open_image_would_change_is_not_recognised(tmp_path, monkeypatch):
    turned, glassy = quarters(), quarters()
    turned.getexif()[0x0112] = 6
    glassy.info["transparency"] = RED
    (tmp_path / "photo.png").write_bytes(encoded(quarters(), "PNG"))
    with Image.open(tmp_path / "photo.png") as lazy:  # could still be truncated
        assert not is_opened(lazy)
    unlike = [turned, glassy, quarters().convert("L"), see_through("RGBA"), Image.new("RGB", (0, 4))]
    for source in [*unlike, encoded(quarters(), "PNG"), str(tmp_path / "photo.png"), None]:
        assert not is_opened(source)
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    assert not is_opened(quarters())


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files in /proc")
def test_files_are_closed(tmp_path):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(encoded(quarters(), "PNG"))
    bad.write_bytes(encoded(quarters(), "PNG")[:-110])
    open_files = len(os.listdir("/proc/self/fd"))
    photos = [open_image(good) for _ in range(3)]
    errors = []
    for _ in range(3):
        with pytest.raises(ImageError) as error:
            open_image(bad)
        errors.append(error)
    assert len(os.listdir("/proc/self/fd")) == open_files and len(photos) == len(errors)


# --- refusing


def broken_files() -> dict[str, tuple[bytes, str]]:
    jpeg, png = (encoded(quarters(480, 320), form) for form in ("JPEG", "PNG"))
    return {
        "empty.jpg": (b"", "empty"),
        "text.jpg": (b"this is not a photo at all", "not an image"),
        "html.png": (b"<!DOCTYPE html><html></html>" * 20, "not an image"),
        "cut.jpg": (jpeg[:700], "cut short"),  # a longer part would be decoded: see test_cut.py
        "cut.png": (png[:100], "cut short"),
        "cut.gif": (encoded(quarters(480, 320), "GIF")[:400], "cut short"),
        "cut.webp": (encoded(quarters(480, 320), "WEBP")[:90], "cut short|not an image"),
        "stub.jpg": (jpeg[:3], "not an image"),
        "postscript.jpg": (encoded(quarters(), "EPS"), "not an image"),
        "bomb.png": (png_of_size(60_000, 60_000), "too large"),
        "large.png": (png_of_size(13_400, 13_400), "too large"),
    }


@pytest.mark.parametrize("name", broken_files())
def test_unreadable_files_are_named_in_one_sentence(name, tmp_path):
    data, reason = broken_files()[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ImageError, match=reason) as error:
        open_image(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ImageError, match="upload 7"):
        open_image(data, name="upload 7")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (NotAnImage, ["text.jpg", "html.png", "postscript.jpg"]),
        (ImageTooLarge, ["bomb.png", "large.png"]),
        (ImageError, ["empty.jpg", "cut.jpg", "cut.png", "cut.gif"]),
    ],
)
def test_errors_distinguish_no_image_too_large_and_damaged(kind, names):
    for name in names:
        with pytest.raises(ImageError) as error:
            open_image(broken_files()[name][0], name=name)
        assert error.type is kind, name


def test_missing_files_folders_and_pipes_are_named(tmp_path):
    with pytest.raises(ImageError, match="missing.jpg does not exist"):
        open_image(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match="is a folder"):
        open_image(tmp_path)
    with pytest.raises(ImageError, match="cannot be opened"):
        open_image("bad\0name.jpg")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ImageError, match="not a regular file"):
            open_image(tmp_path / "pipe")
    with pytest.raises(ImageError, match="not int"):
        open_image(7)


def test_a_large_photo_is_refused_before_it_is_decoded(monkeypatch):
    data = encoded(quarters(), "BMP")
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(ImageTooLarge, match="48 x 32 is 1,536 pixels, and at most 100 are read"):
        open_image(data)


def test_the_pixel_limit_may_be_lowered(monkeypatch):
    data = encoded(quarters(), "BMP")
    for source in (data, quarters()):
        assert open_image(source, max_pixels=48 * 32).size == (48, 32)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    for source in (data, quarters()):
        with pytest.raises(ImageTooLarge, match="upload is too large: 48 x 32 is 1,536 pixels, and at most 1,535 are"):
            open_image(source, "upload", max_pixels=48 * 32 - 1)
    with pytest.raises(ImageTooLarge, match="at most 1,535 pixels"):  # refused by Pillow first
        open_image(png_of_size(60_000, 60_000), max_pixels=1535)


@pytest.mark.parametrize("size", [(60_000, 60_000), (13_400, 13_400)])
def test_the_pixel_limit_may_not_be_raised(size):
    with pytest.raises(ImageTooLarge, match=f"at most {MAX_PIXELS:,}"):
        open_image(png_of_size(*size), max_pixels=10**12)


def slow_jpeg(side: int, scans: int) -> bytes:
    """Return a progressive JPEG that repeats its last scan."""
    data = encoded(Image.effect_noise((side, side), 80).convert("RGB"), "JPEG", progressive=True, quality=30)
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * scans + data[-2:]


def test_a_photo_that_takes_too_long_is_refused():
    data = slow_jpeg(600, 60)
    assert open_image(data).size == (600, 600), "slow, but a photo"
    with pytest.raises(ImageError, match=r"the photo takes more than 0\.0 seconds to decode: save it again"):
        open_image(data, seconds=0.01)
    assert open_image(data, seconds=60).size == (600, 600)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "TGA", "JPEG2000"])
def test_a_time_limit_does_not_change_the_photo(form):
    data = encoded(Image.effect_noise((300, 200), 80).convert("RGB"), form)
    assert np.array_equal(open_image(data, seconds=60), open_image(data))
    assert np.array_equal(open_image(io.BytesIO(data), seconds=60), open_image(data))
