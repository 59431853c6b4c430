"""Truncated WebP, HEIC and AVIF files: decode them with zeros in place of the missing bytes.

Their decoders accept only whole files and return no partial picture. A file filled up to the length in its headers
does decode: correctly as far as its content goes, arbitrarily after that. A second decoding, with a few bytes less,
differs from that point on.
"""

import struct
from collections.abc import Callable

from PIL import Image, ImageChops

from captioner.images.cut import CUT_SHORT, MIN_DECODED, MISSING_COLOUR, CutShort

MAX_BYTES = 200_000_000
"""Maximum length that a file is filled up to."""

_DROPPED_BYTES = (0, 32, 64, 128, 256, 512)  # tried in turn until the decoder accepts the file
_WEBP_PICTURES = (b"VP8 ", b"VP8L", b"ALPH", b"ANMF", b"VP8X", b"ANIM", b"ICCP")
_SIDES = ("bottom", "right", "top", "left")
"""Side where the bottom of the stored picture lies, by quarter turns to the left."""


def is_fillable(head: bytes) -> bool:
    """Return whether a file begins as WebP, HEIC or AVIF."""
    return head[4:8] == b"ftyp" or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def decode_filled(data: bytes, decode: Callable[[bytes], Image.Image]) -> Image.Image | None:
    """Decode a truncated file; the missing part is grey, and `info[CUT_SHORT]` describes it.

    decode: decodes a whole file to upright RGB; it may raise any exception.
    -> None if the file is not truncated, or if less than `MIN_DECODED` of it can be decoded.
    """
    if _fill(data) is None:
        return None
    decodings = (_decode_or_none(data[: len(data) - dropped], decode) for dropped in _DROPPED_BYTES)
    photo, second = (next((decoding for decoding in decodings if decoding is not None), None) for _ in range(2))
    if second is None or second.size != photo.size:
        return None
    side, missing = _missing_band(photo, second, _sides(data))
    if missing > 1 - MIN_DECODED:
        return None
    width, height = photo.size
    across, down = round(width * missing), round(height * missing)
    band = {
        "top": (0, 0, width, down),
        "bottom": (0, height - down, width, height),
        "left": (0, 0, across, height),
        "right": (width - across, 0, width, height),
    }[side]
    photo.paste(MISSING_COLOUR, band)
    photo.info[CUT_SHORT] = CutShort(missing, side, progressive=False)
    return photo


def _decode_or_none(data: bytes, decode: Callable[[bytes], Image.Image]) -> Image.Image | None:
    filled = _fill(data)
    try:
        return None if filled is None else decode(filled)
    except Exception:  # decoders raise nearly anything on damaged files
        return None


def _fill(data: bytes) -> bytes | None:
    """Return the file with zeros up to the end of its truncated part; None if it is whole, or nearly all is missing."""
    filled = _fill_webp(data) if data[:4] == b"RIFF" else _fill_boxes(data)
    return filled if filled is not None and len(filled) <= len(data) / MIN_DECODED else None


def _fill_webp(data: bytes) -> bytes | None:
    offset, end = 12, None
    while offset + 8 <= len(data):
        kind, length = data[offset : offset + 4], struct.unpack_from("<I", data, offset + 4)[0]
        end = offset + 8 + length + length % 2
        if end > len(data) and kind not in _WEBP_PICTURES:  # metadata, which is left out
            end = offset
            break
        offset = end
    if end is None or end > MAX_BYTES or end - 8 >= struct.unpack_from("<I", data, 4)[0] + 1 and end <= len(data):
        return None
    body = data[8:end] + bytes(max(0, end - len(data)))
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _fill_boxes(data: bytes) -> bytes | None:
    offset = 0
    while offset + 16 <= len(data):
        length = int.from_bytes(data[offset : offset + 4], "big")
        if length == 1:
            length = int.from_bytes(data[offset + 8 : offset + 16], "big")
        if length < 8:  # a box that extends to the end of the file, or a damaged one
            return None
        offset += length
    return data + bytes(offset - len(data)) if len(data) < offset <= MAX_BYTES else None


def _sides(data: bytes) -> tuple[str, ...]:
    """Return the sides of the upright photo where the end of its file may lie."""
    if data[:4] == b"RIFF":
        return _SIDES[:1]
    properties = data.partition(b"mdat")[0]
    rotation, mirror = properties.find(b"irot"), properties.find(b"imir")
    turns = properties[rotation + 4] & 3 if 0 <= rotation < len(properties) - 4 else 0
    return (_SIDES[turns],) if mirror < 0 else (_SIDES[turns], _SIDES[turns - 2])


def _missing_band(photo: Image.Image, second: Image.Image, sides: tuple[str, ...]) -> tuple[str, float]:
    """Return which of the possible sides two decodings differ at, and the share of the photo that differs."""
    box = ImageChops.difference(photo, second).getbbox()
    if box is None:
        return sides[0], 0.0
    (left, top, right, bottom), (width, height) = box, photo.size
    bands = {"bottom": 1 - top / height, "top": bottom / height, "right": 1 - left / width, "left": right / width}
    side = min(sides, key=bands.get)
    return side, bands[side]
