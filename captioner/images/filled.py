"""WebP, HEIC and AVIF files that are cut short: decode them with zeros in place of what is missing.

Their decoders take whole files alone, and return no part of a picture. Filled up to the length that its headers tell,
a file is decoded: as it was stored as far as its content goes, and as anything after that. A second decoding, with a
few bytes less, differs from there on.
"""

import struct
from collections.abc import Callable

from PIL import Image, ImageChops

from captioner.images.cut import CUT_SHORT, MIN_DECODED, MISSING_COLOUR, CutShort

MAX_BYTES = 200_000_000
"""Length up to which a file is filled up."""

_FEWER = (0, 32, 64, 128, 256, 512)  # bytes less; the next number where a decoder refuses such a file
_WEBP_PICTURES = (b"VP8 ", b"VP8L", b"ALPH", b"ANMF", b"VP8X", b"ANIM", b"ICCP")
_SIDES = ("bottom", "right", "top", "left")
"""Where the bottom of the stored picture comes to lie, by quarters of a turn to the left."""


def is_fillable(head: bytes) -> bool:
    """Whether a file begins as WebP, HEIC or AVIF."""
    return head[4:8] == b"ftyp" or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def decode_filled(data: bytes, decode: Callable[[bytes], Image.Image]) -> Image.Image | None:
    """Decode a file that is cut short; the missing part is grey, and `info[CUT_SHORT]` says what it is.

    decode: of a whole file, upright and RGB; it raises what it likes.
    -> None where the file is not cut short, or (nearly) nothing of it can be decoded.
    """
    if _filled(data) is None:
        return None
    decoded = (_decoded(data[: len(data) - fewer], decode) for fewer in _FEWER)
    photo, other = (next((found for found in decoded if found is not None), None) for _ in range(2))
    if other is None or other.size != photo.size:
        return None
    side, missing = _missing_band(photo, other, _sides(data))
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


def _decoded(data: bytes, decode: Callable[[bytes], Image.Image]) -> Image.Image | None:
    filled = _filled(data)
    try:
        return None if filled is None else decode(filled)
    except Exception:  # decoders raise nearly anything on damaged files
        return None


def _filled(data: bytes) -> bytes | None:
    """The file with zeros up to the end of the part that is cut; None where none is, or nearly all of it."""
    filled = _filled_webp(data) if data[:4] == b"RIFF" else _filled_boxes(data)
    return filled if filled is not None and len(filled) <= len(data) / MIN_DECODED else None


def _filled_webp(data: bytes) -> bytes | None:
    place, end = 12, None
    while place + 8 <= len(data):
        kind, length = data[place : place + 4], struct.unpack_from("<I", data, place + 4)[0]
        end = place + 8 + length + length % 2
        if end > len(data) and kind not in _WEBP_PICTURES:  # what a camera wrote into the file: left out
            end = place
            break
        place = end
    if end is None or end > MAX_BYTES or end - 8 >= struct.unpack_from("<I", data, 4)[0] + 1 and end <= len(data):
        return None
    body = data[8:end] + bytes(max(0, end - len(data)))
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _filled_boxes(data: bytes) -> bytes | None:
    place = 0
    while place + 16 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        if length == 1:
            length = int.from_bytes(data[place + 8 : place + 16], "big")
        if length < 8:  # to the end of the file, wherever that was; or damaged
            return None
        place += length
    return data + bytes(place - len(data)) if len(data) < place <= MAX_BYTES else None


def _sides(data: bytes) -> tuple[str, ...]:
    """The sides of the upright photo at which the end of its file may lie."""
    if data[:4] == b"RIFF":
        return _SIDES[:1]
    properties = data.partition(b"mdat")[0]
    rotation, mirror = properties.find(b"irot"), properties.find(b"imir")
    turns = properties[rotation + 4] & 3 if 0 <= rotation < len(properties) - 4 else 0
    return (_SIDES[turns],) if mirror < 0 else (_SIDES[turns], _SIDES[turns - 2])


def _missing_band(photo: Image.Image, other: Image.Image, sides: tuple[str, ...]) -> tuple[str, float]:
    """The side of the photo, of the possible ones, and the share of it, from where on two decodings differ."""
    differs = ImageChops.difference(photo, other).getbbox()
    if differs is None:
        return sides[0], 0.0
    (left, top, right, bottom), (width, height) = differs, photo.size
    bands = {"bottom": 1 - top / height, "top": bottom / height, "right": 1 - left / width, "left": right / width}
    side = min(sides, key=bands.get)
    return side, bands[side]
