"""HEIC and JPEG XL, which Pillow reads only with other packages, imported only for such photos.

Their decoders take a whole file at once and cannot be interrupted. Where time is limited, as in the service,
`decode_apart` decodes such a photo in a separate process, with bounded time and memory.
"""

import dataclasses
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from captioner.errors import ImageError, ImageTooLarge, NotAnImage
from captioner.images import jpeg_xl
from captioner.images.cut import CUT_SHORT, CutShort
from captioner.images.file_types import is_heic, is_jpeg_xl, why_not_an_image

_ROOT = Path(__file__).parents[2]
_ERRORS = {kind.__name__: kind for kind in (ImageError, NotAnImage, ImageTooLarge)}
_PHOTO = "PHOTO"
"""Placeholder for the photo's name in the messages of the decoding process."""

CheckSize = Callable[[int, int], None]
"""Raises ImageError for a width and height that must not be decoded."""


def is_extra(head: bytes) -> bool:
    """Return whether a file with these first bytes is HEIC or JPEG XL."""
    return is_heic(head) or is_jpeg_xl(head)


def open_extra(data: bytes, name: str, check_size: CheckSize) -> Image.Image:
    """Open a HEIC or JPEG XL file; check its size before any pixel is decoded.

    The image's EXIF holds the orientation that is still to be applied; libheif applies and removes that of HEIC.
    Raises NotAnImage if the beginning of the file is damaged or a package is missing, ImageError for other damage.
    """
    return _open_heic(data, name) if is_heic(data) else _open_jpeg_xl(data, name, check_size)


def _open_heic(data: bytes, name: str) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile, register_heif_opener
    except ImportError as error:
        raise _missing_package(name, "HEIC", "pillow-heif") from error
    register_heif_opener()
    return Image.open(io.BytesIO(data), formats=(HeifImageFile.format,))


def _open_jpeg_xl(data: bytes, name: str, check_size: CheckSize) -> Image.Image:
    try:
        import pillow_jxl  # noqa: F401
    except ImportError as error:
        raise _missing_package(name, "JPEG XL", "pillow-jxl-plugin") from error
    try:
        header = jpeg_xl.read_header(data)
    except jpeg_xl.JpegXlError as error:
        raise NotAnImage(f"{name} {why_not_an_image(data)}") from error
    check_size(header.width, header.height)
    if header.extra_channels > jpeg_xl.MAX_EXTRA_CHANNELS:
        raise ImageTooLarge(
            f"{name} is too large: it has {header.extra_channels} channels beside its colours, and at most "
            f"{jpeg_xl.MAX_EXTRA_CHANNELS} are read: save it as JPEG"
        )
    try:
        return jpeg_xl.decode(data, header)
    except RuntimeError as error:  # its text has several lines about how to build the decoder
        raise ImageError(
            f"{name} is damaged or cut short (its JPEG XL data cannot be decoded): copy it again from its source, "
            "or save it as JPEG"
        ) from error


def _missing_package(name: str, form: str, package: str) -> ImageError:
    return NotAnImage(f"{name} is {form}, which needs the package {package}: install it, or export the photo as JPEG")


def decode_apart(data: bytes, name: str, max_pixels: int, seconds: float) -> Image.Image:
    """Decode a HEIC or JPEG XL file in a separate process -> upright, RGB. Raises ImageError."""
    # Started in the package's parent folder, so that the module is found whether the package is installed or not.
    command = [sys.executable, "-m", "captioner.images.process", str(max_pixels)]
    try:
        process = subprocess.run(command, input=data, capture_output=True, timeout=max(seconds, 0.01), cwd=_ROOT)
    except subprocess.TimeoutExpired as error:
        raise ImageError(
            f"{name} takes more than {seconds:.1f} seconds to decode: save it again as a plain JPEG"
        ) from error
    head, _, pixels = process.stdout.partition(b"\n")
    if process.returncode or not head:
        raise ImageError(f"{name} ended the process that decoded it: save it again as a plain JPEG")
    answer = json.loads(head)
    if "error" in answer:
        raise _ERRORS[answer["error"]](answer["text"].replace(_PHOTO, name, 1))
    photo = Image.frombytes("RGB", tuple(answer["size"]), pixels)
    if "cut" in answer:
        photo.info[CUT_SHORT] = CutShort(**answer["cut"])
    return photo


def answer_of(data: bytes, max_pixels: int, open_image: Callable[..., Image.Image]) -> tuple[dict, bytes]:
    """Return the process's answer: {"size": [width, height]} and the pixels, or {"error": class, "text": sentence}.

    For a truncated photo, "cut" also holds the fields of its CutShort.
    """
    try:
        photo = open_image(data, _PHOTO, max_pixels)
    except ImageError as error:
        return {"error": type(error).__name__, "text": str(error)}, b""
    answer = {"size": photo.size}
    if CUT_SHORT in photo.info:
        answer["cut"] = dataclasses.asdict(photo.info[CUT_SHORT])
    return answer, photo.tobytes()
