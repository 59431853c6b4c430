"""Read a photo in any common format as upright RGB, and fit it to the square that is the model's input.

Training and captioning read photos only here, so that both get the same pixels, up to the resampling of large JPEGs.
"""

import contextlib
import functools
import io
import math
import os
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from captioner.config import FITS
from captioner.errors import ConfigError, ImageError, ImageTooLarge, NotAnImage
from captioner.images.cut import CUT_SHORT, MISSING_COLOUR, CutShort, decode_part, is_broken, is_cut_short
from captioner.images.extra_formats import decode_apart, is_extra, open_extra
from captioner.images.file_types import HEAD_BYTES, is_raw, why_not_an_image
from captioner.images.filled import decode_filled, is_fillable
from captioner.images.scaled import FULL_SIZE, decode_smaller, full_size
from captioner.images.streams import TimedStream
from captioner.images.warnings import BLANK_CONTRAST, PhotoWarning, contrast, find_warnings, is_blank

MAX_PIXELS = 178_956_970
"""Maximum width times height; a larger photo is refused before it is decoded (half a gigabyte as RGB)."""

PAD_COLOUR = (124, 116, 104)
"""RGB around a photo fitted with "pad": ImageNet's mean, which is about zero after the encoder's normalisation."""

# Decoders inside Pillow; extra_formats.py adds HEIC and JPEG XL. Excluded on purpose: EPS, which runs Ghostscript, and
# formats that no camera writes.
_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "BMP", "DIB", "TIFF", "JPEG2000", "PPM", "TGA", "ICO")

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {  # EXIF orientation -> transposition that turns the stored pixels upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_EXCHANGES_SIDES = (
    Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90
)  # fmt: skip

_ANIMATIONS = ("GIF", "WEBP", "PNG", "AVIF")
_FRAMES, _FRAMES_SECONDS = 100, 3.0
"""Maximum number of frames, and of seconds, to search in an animation that begins with blank frames."""
_CLEAR_CONTRAST = 40.0
"""Minimum contrast of a frame that shows something clearly, so that an animation that fades in is read later on."""

_LONGEST_SIDE = 65_536
"""Maximum side in pixels to resample at once. Pillow's filter takes 32 bytes for each, whatever the output size."""

_ROWS_PER_PIXEL = 128
"""Rows of the padded canvas for each pixel of the result; at most about twice as many."""

_TIMED_BLOCK = 8192
"""Bytes of a file read between two checks of the time limit."""

ImageSource = str | os.PathLike | bytes | BinaryIO | Image.Image


@dataclass(frozen=True)
class ImageFrame:
    """Geometry of the model's square input within the photo."""

    width: int
    """Size of the upright original photo, pixels."""
    height: int
    seen_box: tuple[float, float, float, float]
    """Left, top, right, bottom of the model's input, in pixels of the upright photo, exact.

    With fit "pad" it extends beyond the photo's edges."""
    warnings: tuple[PhotoWarning, ...] = ()
    """Reasons to doubt captions of the photo; see `prepare_image`."""


def open_image(
    source: ImageSource,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    seconds: float | None = None,
    side: int | None = None,
) -> Image.Image:
    """Read a photo: upright (EXIF orientation applied), RGB, fully decoded, its file closed.

    Transparent parts become white. An animation is read at its first frame that shows something. Sixteen-bit greys are
    divided by 257; modes of unknown range (32-bit integers and floats) are scaled as in `_grey_levels`.

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
        and _orientation(source) == 1
    )


def prepare_image(image: Image.Image, size: int, fit: str) -> tuple[np.ndarray, ImageFrame]:
    """Fit a photo to the model's square input, as `fit_image` does, and find reasons to doubt a caption."""
    square, frame = fit_image(image, size, fit)
    return square, replace(frame, warnings=find_warnings(image))


def fit_image(image: Image.Image, size: int, fit: str) -> tuple[np.ndarray, ImageFrame]:
    """Fit a photo to the model's square input: bicubic, antialiased.

    fit "squash": the whole photo, without its aspect ratio. "crop": its largest centred square. "pad": the whole photo
    in the middle of a square of its longer side, on `PAD_COLOUR`.

    image: RGB, from `open_image`. size: side of the square in pixels. -> (uint8 [size, size, 3], ImageFrame)
    Raises ConfigError for an unknown fit or a size below 1, ImageError for an image that is not RGB.
    """
    if fit not in FITS:
        raise ConfigError(f"fit must be one of {', '.join(FITS)}, not {fit!r}")
    if size < 1:
        raise ConfigError(f"size must be at least 1 pixel, not {size}")
    if image.mode != "RGB":
        raise ImageError(f"a photo in mode {image.mode} cannot be fitted: read it with open_image, which makes it RGB")
    width, height = full_size(image)
    if fit == "pad":
        square = _fit_padded(image, size)
    else:
        factor = width // image.width
        box = tuple(edge / factor for edge in _seen_box(width, height, fit))
        square = np.array(_resample(image, (size, size), box))
    return square, frame_of(width, height, fit)


def frame_of(width: int, height: int, fit: str) -> ImageFrame:
    """Return the frame that `fit_image` returns for a photo of this size; width and height of the upright photo."""
    return ImageFrame(width, height, _seen_box(width, height, fit))


def _seen_box(width: int, height: int, fit: str) -> tuple[float, float, float, float]:
    if fit == "squash":
        return 0.0, 0.0, float(width), float(height)
    side = min(width, height) if fit == "crop" else max(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _resample(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    """Resample a box of the photo, bicubic. A side longer than `_LONGEST_SIDE` pixels is averaged down first."""
    left, top, right, bottom = box
    across, down = (max(1, math.ceil(side / _LONGEST_SIDE)) for side in (right - left, bottom - top))
    if across > 1 or down > 1:
        image, box = image.reduce((across, down)), (left / across, top / down, right / across, bottom / down)
    return image.resize(size, Image.Resampling.BICUBIC, box=box)


def _fit_padded(image: Image.Image, size: int) -> np.ndarray:
    """Draw the whole photo in the middle of a grey square -> uint8 [size, size, 3].

    The padded square of a very long photo would be huge at full scale. So the longer side, which fills the square, is
    resampled first; then the other side, on a canvas with only the grey that the filter reaches, and only for the
    pixels of the result that the photo touches. A pixel that contains an edge of the photo mixes photo and grey
    exactly.
    """
    width, height = image.size
    if height > width:
        transposed = _fit_padded(image.transpose(Image.Transpose.TRANSPOSE), size)
        return np.ascontiguousarray(transposed.transpose(1, 0, 2))
    if height == width:
        return np.array(image.resize((size, size), Image.Resampling.BICUBIC))
    strip = _resample(image, (size, height), (0.0, 0.0, float(width), float(height)))
    scale = width / size  # photo pixels per pixel of the result
    reach = int(np.ceil(2.5 * max(scale, 1.0))) + 1  # a pixel partly outside, and bicubic's two around it
    above = (width - height) / 2
    first = int(np.floor(above / scale))
    rows = min(size, int(np.ceil((above + height) / scale))) - first
    # Each pixel of the result spans hundreds of rows of a very long photo, so average these in bands first.
    band = max(1, int(scale / _ROWS_PER_PIXEL))
    canvas = _grey_canvas(strip, reach, band)
    start = (reach - above + first * scale) / band
    end = min(start + rows * scale / band, canvas.height)  # rounding must not move the box beyond the canvas
    square = np.full((size, size, 3), PAD_COLOUR, dtype=np.uint8)
    square[first : first + rows] = canvas.resize((size, rows), Image.Resampling.BICUBIC, box=(0, start, size, end))
    return square


def _grey_canvas(strip: Image.Image, reach: int, band: int) -> Image.Image:
    """Put a strip between `reach` rows of grey above and below, averaged over bands of rows."""
    canvas = Image.new("RGB", (strip.width, math.ceil((strip.height + 2 * reach) / band)), PAD_COLOUR)
    if band == 1:
        canvas.paste(strip, (0, reach))
        return canvas
    first, last = reach // band, (reach + strip.height - 1) // band
    touched = Image.new("RGB", (strip.width, (last - first + 1) * band), PAD_COLOUR)
    touched.paste(strip, (0, reach - first * band))
    canvas.paste(touched.reduce((1, band)), (0, first))
    return canvas


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
    upright = _UPRIGHT.get(_orientation(image))
    photo = _to_rgb(image if upright is None else image.transpose(upright))
    if is_smaller:
        photo.info[FULL_SIZE] = original_size[::-1] if upright in _EXCHANGES_SIDES else original_size
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
    photo, orientation = _to_rgb(image), _orientation(image)
    if missing is not None:
        photo.paste(MISSING_COLOUR, mask=missing)
    if orientation in _UPRIGHT:
        photo = photo.transpose(_UPRIGHT[orientation])
    photo.info[CUT_SHORT] = cut.upright(orientation)
    return photo


@contextlib.contextmanager
def _convert_errors(name: str, max_pixels: int) -> Iterator[None]:
    """Turn any exception of Pillow into an ImageError, and silence its warnings."""
    try:
        with _quiet_pillow():
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


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a photo whose EXIF is damaged is still a photo
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
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


def _formats() -> list[str]:
    Image.init()  # registers the decoders that this Pillow was built with; does nothing the second time
    return [name for name in _FORMATS if name in Image.OPEN]


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_filters: warnings.catch_warnings | None = None


@contextlib.contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Silence Pillow's warnings (large photos, odd EXIF); serious problems raise ImageError.

    `warnings.catch_warnings` is not thread-safe: two overlapping uses can leave the first one's filter in place for
    good. Here the first thread in sets the filter and the last one out removes it.
    """
    global _quiet_depth, _quiet_filters
    with _quiet_lock:
        if _quiet_depth == 0:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                _quiet_filters.__exit__(None, None, None)
                _quiet_filters = None
