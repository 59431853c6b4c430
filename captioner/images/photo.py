"""Read a photo in any common format as upright RGB.

Training and captioning read photos only here, so that both get the same pixels, up to the resampling of large JPEGs.
"""

import contextlib
import functools
import io
import os
import time
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError

from captioner.errors import ImageError, ImageTooLarge, NotAnImage
from captioner.images.cut import CUT_SHORT, MISSING_COLOUR, CutShort, decode_part, is_broken, is_cut_short
from captioner.images.extra_formats import decode_apart, is_extra, open_extra
from captioner.images.file_types import HEAD_BYTES, is_raw, why_not_an_image
from captioner.images.filled import decode_filled, is_fillable
from captioner.images.quiet import quiet_pillow
from captioner.images.scaled import FULL_SIZE, decode_smaller
from captioner.images.streams import TimedStream
from captioner.images.upright import EXCHANGES_SIDES, UPRIGHT, orientation_of, to_rgb
from captioner.images.warnings import BLANK_CONTRAST, contrast, is_blank

MAX_PIXELS = 178_956_970
"""Maximum width times height; a larger photo is refused before it is decoded (half a gigabyte as RGB)."""

# Decoders inside Pillow; extra_formats.py adds HEIC and JPEG XL. Excluded on purpose: EPS, which runs Ghostscript, and
# formats that no camera writes.
_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "BMP", "DIB", "TIFF", "JPEG2000", "PPM", "TGA", "ICO")

_ANIMATIONS = ("GIF", "WEBP", "PNG", "AVIF")
_FRAMES, _FRAMES_SECONDS = 100, 3.0
"""Maximum number of frames, and of seconds, to search in an animation that begins with blank frames."""
_CLEAR_CONTRAST = 40.0
"""Minimum contrast of a frame that shows something clearly, so that an animation that fades in is read later on."""

_TIMED_BLOCK = 8192
"""Bytes of a file read between two checks of the time limit."""

ImageSource = str | os.PathLike | bytes | BinaryIO | Image.Image


def open_image(
    source: ImageSource,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    seconds: float | None = None,
    side: int | None = None,
) -> Image.Image:
    """Read a photo: upright (EXIF orientation applied), RGB, fully decoded, its file closed.

    Transparent parts become white. An animation is read at its first frame that shows something. Sixteen-bit greys are
    divided by 257; modes of unknown range (32-bit integers and floats) are scaled as in `captioner.images.upright`.

    source: a path, the bytes of a file, a binary stream, or a Pillow image (which is not modified).
    name: name of the photo in errors; by default its path.
    max_pixels: maximum width times height; never more than `MAX_PIXELS`.
    seconds: time limit for decoding a file; by default none.
    side: pixels that each side needs; a JPEG with several times as many may be decoded at a fraction of its size, and
    `info[FULL_SIZE]` of the photo is then the size of the original.
    A truncated file is decoded as far as possible, and `info[CUT_SHORT]` of the photo describes the missing part.
    Raises ImageError, one sentence that names the photo, if it is missing, a folder, empty, damaged, truncated so early
    that nearly nothing can be decoded, or too slow; NotAnImage if it is not an image; ImageTooLarge if its header has
    more than `max_pixels`, before anything is decoded.
    """
    name, max_pixels = name or _name_of(source), min(max_pixels, MAX_PIXELS)
    if isinstance(source, Image.Image):
        with _convert_errors(name, max_pixels):
            return _decode(source, name, max_pixels)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode_stream(io.BytesIO(source), name, max_pixels, seconds, side)
    if isinstance(source, str | os.PathLike):
        with _open_file(source, name) as stream:
            return _decode_stream(stream, name, max_pixels, seconds, side)
    if hasattr(source, "read"):
        return _decode_stream(_seekable(source, name), name, max_pixels, seconds, side)
    raise ImageError(
        f"{name} cannot be read as a photo: give a path, bytes, a binary stream or a Pillow image, "
        f"not {type(source).__name__}"
    )


def is_opened(source: ImageSource) -> bool:
    """Return whether `open_image` would only copy the source: a Pillow image that is decoded, upright and RGB."""
    return (
        type(source) is Image.Image  # images that Pillow decodes lazily from a file have other classes
        and source.mode == "RGB"
        and 0 < source.width * source.height <= MAX_PIXELS
        and source.info.keys() <= {CUT_SHORT, FULL_SIZE}  # other entries may define a transparent colour
        and orientation_of(source) == 1
    )


def _name_of(source: ImageSource) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    stream_name = getattr(source, "name", None) or getattr(source, "filename", None)
    return stream_name if isinstance(stream_name, str) else "the photo"


@contextlib.contextmanager
def _open_file(path: str | os.PathLike, name: str) -> Iterator[BinaryIO]:
    # Checked before it is opened: opening a pipe would wait for its writer for ever.
    try:
        if os.path.isdir(path):
            raise ImageError(f"{name} is a folder, not a photo: name the photos in it")
        if os.path.exists(path) and not os.path.isfile(path):
            raise ImageError(f"{name} is not a regular file: give the path of a photo")
        stream = open(path, "rb")
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist: check the path") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{name} cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    with stream:
        yield stream


def _seekable(stream: BinaryIO, name: str) -> BinaryIO:
    try:
        if stream.seekable():
            return stream
        return io.BytesIO(stream.read())
    except (AttributeError, OSError, ValueError) as error:
        raise ImageError(f"{name} cannot be read: {error}") from error


def _decode_stream(
    stream: BinaryIO, name: str, max_pixels: int, seconds: float | None, side: int | None
) -> Image.Image:
    with _convert_errors(name, max_pixels):
        stream.seek(0)
        head = stream.read(HEAD_BYTES)
        if not head:
            raise ImageError(f"{name} is empty (0 bytes): replace it with the photo")
        if is_raw(head, name):
            raise NotAnImage(f"{name} {why_not_an_image(head, name)}")
        stream.seek(0)
        if is_extra(head) and seconds is not None:
            return decode_apart(stream.read(), name, max_pixels, seconds)
        deadline = None if seconds is None else time.monotonic() + seconds

        def decode(stream: BinaryIO) -> Image.Image:
            seconds_left = None if deadline is None else max(0.01, deadline - time.monotonic())
            return _decode_file(stream, head, name, max_pixels, seconds_left, side)

        if not is_fillable(head):
            return decode(stream)
        try:
            return decode(stream)
        except ImageTooLarge:
            raise
        except Exception:
            stream.seek(0)
            photo = decode_filled(stream.read(), lambda data: decode(io.BytesIO(data)))
            if photo is None:
                raise
            return photo


def _decode_file(
    stream: BinaryIO, head: bytes, name: str, max_pixels: int, seconds: float | None, side: int | None
) -> Image.Image:
    """Decode a file from its beginning; in most formats also the part that a truncated file holds."""
    extra = is_extra(head)
    timed = stream if seconds is None else TimedStream(stream, seconds, name)
    open_stream = functools.partial(_open_stream, is_timed=seconds is not None)
    try:
        if extra:
            with _open_extra(stream.read(), name, max_pixels) as image:
                return _decode(image, name, max_pixels)
        with open_stream(timed) as image:
            return _first_with_content(image, _decode(image, name, max_pixels, side), name, max_pixels)
    except UnidentifiedImageError as error:
        raise NotAnImage(f"{name} {why_not_an_image(head, name)}") from error
    except OSError as error:
        if extra or not (is_cut_short(error) or is_broken(error)):
            raise
        cut = error.with_traceback(None)  # the traceback would keep the pixels in memory
        image = None
    part = decode_part(timed, open_stream, is_broken(cut))
    if part is None:
        raise cut
    return _turn_part_upright(*part)


def _open_stream(stream: BinaryIO, is_timed: bool) -> Image.Image:
    image = Image.open(stream, formats=_formats())
    if is_timed and isinstance(image, ImageFile.ImageFile):
        image.decodermaxblock = _TIMED_BLOCK
    return image


def _open_extra(data: bytes, name: str, max_pixels: int) -> Image.Image:
    return open_extra(data, name, lambda width, height: _check_size((width, height), name, max_pixels))


def _decode(image: Image.Image, name: str, max_pixels: int, side: int | None = None) -> Image.Image:
    _check_size(image.size, name, max_pixels)
    original_size = image.size
    decode_smaller(image, side)
    is_smaller = image.size != original_size
    image.load()
    _check_size(image.size, name, max_pixels)  # an icon's header can be wrong about its content
    # After load: some decoders rotate the pixels themselves and then remove the orientation.
    upright = UPRIGHT.get(orientation_of(image))
    photo = to_rgb(image if upright is None else image.transpose(upright))
    if is_smaller:
        photo.info[FULL_SIZE] = original_size[::-1] if upright in EXCHANGES_SIDES else original_size
    return photo


def _first_with_content(image: Image.Image, first: Image.Image, name: str, max_pixels: int) -> Image.Image:
    """Return the first frame of an animation with clear content, or else the one with the most contrast.

    first: the first frame, decoded; returned if it is not blank or the image is not an animation.
    """
    if image.format not in _ANIMATIONS or not is_blank(first):
        return first
    best, deadline = (BLANK_CONTRAST, first), time.monotonic() + _FRAMES_SECONDS
    for number in range(1, _FRAMES):
        try:
            image.seek(number)
            frame = _decode(image, name, max_pixels)
        except Exception:  # the end of the animation, or a damaged frame after a readable one
            break
        best = max(best, (contrast(frame), frame), key=lambda candidate: candidate[0])
        if best[0] >= _CLEAR_CONTRAST or time.monotonic() > deadline:
            break
    return best[1]


def _turn_part_upright(image: Image.Image, missing: Image.Image | None, cut: CutShort) -> Image.Image:
    """Turn a photo that `decode_part` decoded upright. missing: mask of the part that is still to become grey."""
    photo, orientation = to_rgb(image), orientation_of(image)
    if missing is not None:
        photo.paste(MISSING_COLOUR, mask=missing)
    if orientation in UPRIGHT:
        photo = photo.transpose(UPRIGHT[orientation])
    photo.info[CUT_SHORT] = cut.upright(orientation)
    return photo


@contextlib.contextmanager
def _convert_errors(name: str, max_pixels: int) -> Iterator[None]:
    """Turn any exception of Pillow into an ImageError, and silence its warnings."""
    try:
        with quiet_pillow():
            yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"{name} is too large: at most {max_pixels:,} pixels are read: make it smaller") from error
    except Exception as error:  # decoders raise nearly anything on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__  # as one line
        raise ImageError(
            f"{name} is damaged or cut short ({reason}): copy it again from its source, or save it as JPEG or PNG"
        ) from error


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels ({width} x {height}): give a photo")
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"{name} is too large: {width} x {height} is {width * height:,} pixels, "
            f"and at most {max_pixels:,} are read: make it smaller"
        )


def _formats() -> list[str]:
    Image.init()  # registers the decoders that this Pillow was built with; does nothing the second time
    return [name for name in _FORMATS if name in Image.OPEN]
