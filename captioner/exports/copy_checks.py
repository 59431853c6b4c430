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


def check_copy(original: bytes, written: bytes) -> bytes:
    """Return the copy with a correct index of pictures. Raises CopyDiffers if pictures or their positions are lost."""
    try:
        return _check_format(original, written)
    except CopyDiffers:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise CopyDiffers("the file is damaged") from error


def _check_format(original: bytes, written: bytes) -> bytes:
    if original.startswith(b"\xff\xd8"):
        return _check_jpeg(original, written)
    if original.startswith(b"\x89PNG"):
        is_same = _png_chunks(original) == _png_chunks(written)
    elif original[:4] == b"RIFF":
        is_same = _webp_chunks(original) == _webp_chunks(written)
    elif original[:4] in (b"II*\0", b"MM\0*"):
        is_same = _tiff_pictures(original) == _tiff_pictures(written)
    else:
        is_same = _pixels(original) == _pixels(written)
    if not is_same:
        raise CopyDiffers("the file holds pictures that would be lost")
    return written


def _check_jpeg(original: bytes, written: bytes) -> bytes:
    (segments, scan), (new_segments, new_scan) = _read_segments(original), _read_segments(written)
    if _required_segments(segments) != _required_segments(new_segments) or original[scan:] != written[new_scan:]:
        raise CopyDiffers("the file holds data that would be lost")
    index = _find_mpf(segments)
    if index is None:
        if _has_unknown_trailer(original, scan):
            raise CopyDiffers("other data follows the photo in its file, and its position would no longer be correct")
        return written
    header, new_header = (segment.start + len(_MPF) for segment in (index, _find_mpf(new_segments)))
    return _correct_index(original, header, scan, written, new_header, new_scan - scan)


def _find_mpf(segments: list[_Segment]) -> _Segment | None:
    for segment in segments:
        if segment.marker == _APP2 and segment.content.startswith(_MPF):
            return segment
    return None


def _read_segments(content: bytes) -> tuple[list[_Segment], int]:
    """Return the segments before the compressed pixels of a JPEG's first picture, and the offset of these pixels."""
    segments, offset = [], 2
    while offset + 4 <= len(content):
        if content[offset] != 0xFF:
            break
        marker = content[offset + 1]
        if marker == 0xFF:  # fill
            offset += 1
            continue
        if marker == _SCAN:
            return segments, offset
        (length,) = struct.unpack_from(">H", content, offset + 2)
        segments.append(_Segment(marker, offset + 4, content[offset + 4 : offset + 2 + length]))
        offset += 2 + length
    raise CopyDiffers("the file is damaged")


def _required_segments(segments: list[_Segment]) -> tuple[list, list]:
    """Return the segments that a copy must have: in order, except comments and APP2 segments, which are numbered."""
    required = [(segment.marker, segment.content) for segment in segments if not _is_rewritten(segment)]
    in_order = [segment for segment in required if segment[0] not in (_APP2, _COMMENT)]
    unordered = ((marker, content.rstrip(b"\0")) for marker, content in required if marker in (_APP2, _COMMENT))
    return in_order, sorted(unordered)


def _is_rewritten(segment: _Segment) -> bool:
    if segment.marker == _APP1:
        return segment.content.startswith((_EXIF, _XMP))
    return segment.marker == _APP13


def _correct_index(original: bytes, header: int, scan: int, written: bytes, new_header: int, shift: int) -> bytes:
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
    for index in range(count):
        tag, _, length, offset = struct.unpack_from(f"{order}HHII", content, header + directory + 2 + 12 * index)
        if tag == _MP_ENTRIES:
            return order, list(range(offset, offset + length // _ENTRY_BYTES * _ENTRY_BYTES, _ENTRY_BYTES))
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
    offset = scan
    while match := _MARKER.search(content, offset):
        marker, offset = content[match.start() + 1], match.end()
        if marker == _END:
            return offset
        if offset + 2 > len(content):
            break
        offset += struct.unpack_from(">H", content, offset)[0]
    return len(content)


def _png_chunks(content: bytes) -> list[bytes]:
    return [chunk for kind, chunk in _chunks(content, 8, ">I4s", 4) if kind not in _PNG_TEXTS]


def _webp_chunks(content: bytes) -> list[bytes]:
    return [chunk for kind, chunk in _chunks(content, 12, "<4sI", 0) if kind not in _WEBP_TEXTS]


def _chunks(content: bytes, offset: int, header: str, tail: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and content of each chunk. tail: bytes after each; chunks of WebP begin at even offsets."""
    while offset + 8 <= len(content):
        first, second = struct.unpack_from(header, content, offset)
        kind, length = (second, first) if header == ">I4s" else (first, second)
        yield kind, kind + content[offset + 8 : offset + 8 + length]
        offset += 8 + length + (tail or length % 2)


def _tiff_pictures(content: bytes) -> list[tuple]:
    """Return the size and compressed strips or tiles of each page of a TIFF."""
    pictures = []
    with warnings.catch_warnings():  # runs in a worker process, where no other thread changes filters
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content), formats=["TIFF"]) as image:
            for page in range(image.n_frames):
                image.seek(page)
                for offset_tag, length_tag in _STRIPS:
                    strips = zip(image.tag_v2.get(offset_tag, ()), image.tag_v2.get(length_tag, ()), strict=False)
                    pictures.append((image.size, [content[offset : offset + length] for offset, length in strips]))
    return pictures


def _pixels(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content)) as image:
        return image.tobytes()
