"""Photos are read in every form that users have, and unreadable ones are refused with a clear error."""

import io
import os
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from captioner.errors import ConfigError, ImageError, ImageTooLarge, NotAnImage
from captioner.images import photo as images
from captioner.images.photo import MAX_PIXELS, PAD_COLOUR, fit_image, is_opened, open_image

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


def see_through(mode: str) -> Image.Image:
    """Draw the left half dark and opaque, the right half fully transparent over black."""
    photo = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    photo.paste((10, 10, 10, 255), (0, 0, 4, 8))
    return photo.convert(mode)


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


def test_pillows_warning_about_large_photos_is_silenced(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # 1536 pixels: Pillow warns, and refuses from 2000
    assert open_image(encoded(quarters(), "PNG")).size == (48, 32)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageTooLarge, match="photo.png is too large"):
        open_image(encoded(quarters(), "PNG"), name="photo.png")


def test_threads_do_not_change_the_warning_filters():
    before = list(warnings.filters)
    data = encoded(quarters(), "JPEG")
    threads = [threading.Thread(target=lambda: [open_image(data) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


# --- the model's input square


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
            patched.setattr(images, "_LONGEST_SIDE", 10**9)
            patched.setattr(images, "_ROWS_PER_PIXEL", 10**9)
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
