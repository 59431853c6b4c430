"""Check that a copy of a photo with new metadata still holds every picture of the original, with correct offsets.

Phone photos hold several pictures: a gain map, a second lens, a video. An index (MPF, CIPA DC-007) holds their
offsets relative to its own position, so it becomes wrong when the metadata before or after it grows.
"""

import io
import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_MPF = b"MPF\0"
_SCAN, _END, _APP1, _APP2, _APP13, _COMMENT = 0xDA, 0xD9, 0xE1, 0xE2, 0xED, 0xFE
_MP_ENTRIES = 0xB002
_ENTRY_BYTES = 16
_STRIPS = ((273, 279), (324, 325))  # TIFF tags: offsets of strips (tiles), and their lengths
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME")
_WEBP_TEXTS = (b"EXIF", b"XMP ", b"VP8X")
_COUNTED_FROM_THE_END = (b"MicroVideoOffset", b"Container:Directory", b"Item:Length")
"""XMP names of further pictures and videos whose positions are counted from the end of the file."""
_SAMSUNG_TRAILER = b"SEFT"
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # in compressed pixels: all but stuffing, restarts and fill


class CopyDiffers(Exception):
    """The copy lacks something of the original. The text continues a sentence after "because"."""


@dataclass(frozen=True)
class _Segment:
    marker: int
    start: int
    """Offset of its content, after the two bytes of its length."""
    content: bytes


def checked_copy(original: bytes, written: bytes) -> bytes:
    """Return the copy with a correct index of pictures. Raises CopyDiffers if pictures or their positions are lost."""
    try:
        return _checked(original, written)
    except CopyDiffers:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise CopyDiffers("the file is damaged") from error


def _checked(original: bytes, written: bytes) -> bytes:
    if original.startswith(b"\xff\xd8"):
        return _checked_jpeg(original, written)
    if original.startswith(b"\x89PNG"):
        same = _png_chunks(original) == _png_chunks(written)
    elif original[:4] == b"RIFF":
        same = _webp_chunks(original) == _webp_chunks(written)
    elif original[:4] in (b"II*\0", b"MM\0*"):
        same = _tiff_pictures(original) == _tiff_pictures(written)
    else:
        same = _pixels(original) == _pixels(written)
    if not same:
        raise CopyDiffers("the file holds pictures that would be lost")
    return written


def _checked_jpeg(original: bytes, written: bytes) -> bytes:
    (segments, scan), (new_segments, new_scan) = _segments(original), _segments(written)
    if _kept(segments) != _kept(new_segments) or original[scan:] != written[new_scan:]:
        raise CopyDiffers("the file holds data that would be lost")
    index = next((one for one in segments if one.marker == _APP2 and one.content.startswith(_MPF)), None)
    if index is None:
        if _has_unknown_trailer(original, scan):
            raise CopyDiffers("other data follows the photo in its file, and its position would no longer be correct")
        return written
    place = next(one.start for one in new_segments if one.marker == _APP2 and one.content.startswith(_MPF))
    return _moved_index(original, index.start + len(_MPF), scan, written, place + len(_MPF), new_scan - scan)


def _segments(content: bytes) -> tuple[list[_Segment], int]:
    """Return the segments before the compressed pixels of a JPEG's first picture, and the offset of these pixels."""
    found, place = [], 2
    while place + 4 <= len(content):
        if content[place] != 0xFF:
            break
        marker = content[place + 1]
        if marker == 0xFF:  # fill
            place += 1
            continue
        if marker == _SCAN:
            return found, place
        (length,) = struct.unpack_from(">H", content, place + 2)
        found.append(_Segment(marker, place + 4, content[place + 4 : place + 2 + length]))
        place += 2 + length
    raise CopyDiffers("the file is damaged")


def _kept(segments: list[_Segment]) -> tuple[list, list]:
    """Return the segments that a copy must have: in order, except comments and APP2 segments, which are numbered."""
    kept = [(one.marker, one.content) for one in segments if not _is_rewritten(one)]
    in_order = [one for one in kept if one[0] not in (_APP2, _COMMENT)]
    return in_order, sorted((marker, content.rstrip(b"\0")) for marker, content in kept if marker in (_APP2, _COMMENT))


def _is_rewritten(segment: _Segment) -> bool:
    if segment.marker == _APP1:
        return segment.content.startswith((_EXIF, _XMP))
    return segment.marker == _APP13


def _moved_index(original: bytes, header: int, scan: int, written: bytes, new_header: int, shift: int) -> bytes:
    """Correct an MPF index. header, new_header: origin of its offsets; shift: bytes that data from `scan` on moved."""
    copy = bytearray(written)
    try:
        order, entries = _mp_entries(original, header)
        for entry in entries:
            size, offset = struct.unpack_from(f"{order}II", original, header + entry + 4)
            if offset == 0:  # the first picture, which begins where the file does
                if size > scan:
                    struct.pack_into(f"{order}I", copy, new_header + entry + 4, size + shift)
                continue
            if header + offset < scan:
                raise CopyDiffers("its index of pictures is damaged")
            struct.pack_into(f"{order}I", copy, new_header + entry + 8, header + offset + shift - new_header)
    except struct.error as error:
        raise CopyDiffers("its index of pictures is damaged") from error
    return bytes(copy)


def _mp_entries(content: bytes, header: int) -> tuple[str, list[int]]:
    """Return the byte order of an MPF index, and the offsets of its entries from its header."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[header : header + 4])
    if order is None:
        raise CopyDiffers("its index of pictures is damaged")
    (directory,) = struct.unpack_from(f"{order}I", content, header + 4)
    (count,) = struct.unpack_from(f"{order}H", content, header + directory)
    for number in range(count):
        tag, _, length, place = struct.unpack_from(f"{order}HHII", content, header + directory + 2 + 12 * number)
        if tag == _MP_ENTRIES:
            return order, list(range(place, place + length // _ENTRY_BYTES * _ENTRY_BYTES, _ENTRY_BYTES))
    return order, []


def _has_unknown_trailer(content: bytes, scan: int) -> bool:
    """Return whether data after a JPEG's picture may be addressed by an offset from the beginning of the file.

    Some cameras put a preview there and point to it in their maker notes.
    """
    trailer = content[_end_of_picture(content, scan) :]
    if not trailer.strip(b"\0\xff\r\n ") or trailer.endswith(_SAMSUNG_TRAILER):
        return False
    return not any(name in content[:scan] for name in _COUNTED_FROM_THE_END)


def _end_of_picture(content: bytes, scan: int) -> int:
    place = scan
    while found := _MARKER.search(content, place):
        marker, place = content[found.start() + 1], found.end()
        if marker == _END:
            return place
        if place + 2 > len(content):
            break
        place += struct.unpack_from(">H", content, place)[0]
    return len(content)


def _png_chunks(content: bytes) -> list[bytes]:
    return [chunk for kind, chunk in _chunks(content, 8, ">I4s", 4) if kind not in _PNG_TEXTS]


def _webp_chunks(content: bytes) -> list[bytes]:
    return [chunk for kind, chunk in _chunks(content, 12, "<4sI", 0) if kind not in _WEBP_TEXTS]


def _chunks(content: bytes, place: int, header: str, tail: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and content of each chunk. tail: bytes after each; chunks of WebP begin at even offsets."""
    while place + 8 <= len(content):
        first, second = struct.unpack_from(header, content, place)
        kind, length = (second, first) if header == ">I4s" else (first, second)
        yield kind, kind + content[place + 8 : place + 8 + length]
        place += 8 + length + (tail or length % 2)


def _tiff_pictures(content: bytes) -> list[tuple]:
    """Return the size and compressed strips or tiles of each page of a TIFF."""
    found = []
    with warnings.catch_warnings():  # runs in a worker process, where no other thread changes filters
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content), formats=["TIFF"]) as image:
            for page in range(image.n_frames):
                image.seek(page)
                for places, lengths in _STRIPS:
                    parts = zip(image.tag_v2.get(places, ()), image.tag_v2.get(lengths, ()), strict=False)
                    found.append((image.size, [content[place : place + length] for place, length in parts]))
    return found


def _pixels(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content)) as image:
        return image.tobytes()
