"""JPEG XL photos: this module parses headers; the package pillow-jxl-plugin decodes pixels.

The package decodes a whole file at once and does not check its size first. Its licence is the GPL, and it is imported
only for JPEG XL photos.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

MAX_EXTRA_CHANNELS = 4
"""Maximum number of channels besides the colours, as in level 5 of the format; each needs a colour's memory."""

_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_ORIENTATION_TAG = 0x0112
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Ratio of width to height, by the number in the header minus one."""


@dataclass(frozen=True)
class Header:
    """Fields of the header of a codestream (ISO/IEC 18181-1, SizeHeader and ImageMetadata)."""

    width: int
    height: int
    """Size in pixels as stored, before the photo is turned upright."""
    orientation: int
    """EXIF orientation, which the decoder applies."""
    extra_channels: int


class JpegXlError(ValueError):
    """The file is not JPEG XL, or its header is damaged."""


def read_header(data: bytes) -> Header:
    """Read the header of a file, bare or in a container. Raises JpegXlError."""
    codestream = _codestream(data)
    if codestream[:2] != b"\xff\x0a":
        raise JpegXlError("it holds no JPEG XL codestream")
    bits = _Bits(codestream[2:])
    width, height = _size(bits)
    orientation = extra_channels = None
    if bits.take(1):  # all metadata have their defaults
        orientation, extra_channels = 1, 0
    else:
        orientation = _extra_fields(bits) if bits.take(1) else 1
        _skip_bit_depth(bits)
        bits.take(1)  # modular_16_bit_buffers
        extra_channels = bits.choose((0, 0), (1, 0), (2, 4), (1, 12))
    return Header(width, height, orientation, extra_channels)


def decode(data: bytes, header: Header) -> Image.Image:
    """Decode a file whose header was checked. The image's EXIF holds the orientation that is still to be applied.

    If the file holds a losslessly repacked JPEG, the image is that JPEG, not decoded yet.
    Raises the package's errors for damaged files, RuntimeError among them.
    """
    from pillow_jxl import Decoder

    is_jpeg, info, pixels, _, boxes = Decoder(num_threads=1)(data)
    if is_jpeg:
        return Image.open(io.BytesIO(pixels), formats=("JPEG",))
    if info.mode == "F;16":  # half floats are returned as floats
        image = Image.frombytes("F", (info.width, info.height), pixels)
    elif info.mode == "I;16":
        values = np.frombuffer(pixels, np.uint16).reshape(info.height, info.width)
        image = Image.fromarray(values)
    else:
        image = Image.frombytes(info.mode, (info.width, info.height), pixels)
    if header.orientation == 1:
        # The standard ignores EXIF, but some encoders write the orientation only there.
        exif = next((box.data for box in boxes if box.box_type == b"Exif"), b"")
        image.info["exif"] = exif[4:] if exif[4:8] in (b"II*\0", b"MM\0*") else exif
    return image


def _codestream(data: bytes) -> bytes:
    """Return the beginning of the codestream, at most its first part."""
    if not data.startswith(_CONTAINER):
        return data[:64]
    offset = 0
    while offset + 8 <= len(data):
        size, kind = int.from_bytes(data[offset : offset + 4], "big"), data[offset + 4 : offset + 8]
        start = offset + 8
        if size == 1:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        end = len(data) if size == 0 else offset + size
        if kind == b"jxlc":
            return data[start : min(end, start + 64)]
        if kind == b"jxlp":
            return _join_parts(data, offset)
        if end <= offset:
            break
        offset = end
    raise JpegXlError("its container holds no codestream")


def _join_parts(data: bytes, offset: int) -> bytes:
    """Return the beginning of a codestream that is split over boxes: the first box may hold only a few bytes."""
    codestream = b""
    while offset + 12 <= len(data) and len(codestream) < 64:
        size, kind = int.from_bytes(data[offset : offset + 4], "big"), data[offset + 4 : offset + 8]
        start = offset + 8
        if size == 1:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        end = len(data) if size == 0 else offset + size
        if end <= offset:
            break
        if kind == b"jxlp":
            codestream += data[start + 4 : min(end, start + 68)]
        offset = end
    return codestream


class _Bits:
    """Bit reader of a codestream, lowest bit of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._bits, self._remaining = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._remaining:
            raise JpegXlError("its header is cut short")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._remaining -= count
        return value

    def choose(self, *distributions: tuple[int, int]) -> int:
        """Read two bits that choose one of four (offset, number of bits), then that many bits; return their sum."""
        offset, count = distributions[self.take(2)]
        return offset + self.take(count)


def _size(bits: _Bits) -> tuple[int, int]:
    """Read the width and height of a SizeHeader."""
    small = bits.take(1)

    def side() -> int:
        return 8 * (1 + bits.take(5)) if small else bits.choose((1, 9), (1, 13), (1, 18), (1, 30))

    height = side()
    ratio = bits.take(3)
    if ratio == 0:
        return side(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _extra_fields(bits: _Bits) -> int:
    """Read the extra fields; return the orientation and skip the others."""
    orientation = 1 + bits.take(3)
    if bits.take(1):  # intrinsic size
        _size(bits)
    if bits.take(1):
        _skip_preview(bits)
    if bits.take(1):
        _skip_animation(bits)
    return orientation


def _skip_preview(bits: _Bits) -> None:
    by_eight = bits.take(1)

    def side() -> int:
        if by_eight:
            return bits.choose((16, 0), (32, 0), (1, 5), (33, 9))
        return bits.choose((1, 6), (65, 8), (321, 10), (1345, 12))

    side()
    if bits.take(3) == 0:
        side()


def _skip_animation(bits: _Bits) -> None:
    bits.choose((100, 0), (1000, 0), (1, 10), (1, 30))  # ticks per second
    bits.choose((1, 0), (1001, 0), (1, 8), (1, 10))
    bits.choose((0, 0), (0, 3), (0, 16), (0, 32))  # loops
    bits.take(1)


def _skip_bit_depth(bits: _Bits) -> None:
    if bits.take(1):  # floats
        bits.choose((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)
    else:
        bits.choose((8, 0), (10, 0), (12, 0), (1, 6))
