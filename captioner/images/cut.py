"""Truncated image files: decode the part that the file holds, and measure how much is missing.

Viewers show such files. Pillow refuses them unless a process-wide switch is set, which would affect other threads.
So this module appends an end marker to a JPEG, and keeps the rows of other formats that were decoded before the file
ended.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile

from captioner.images.streams import StreamView

CUT_SHORT = "cut_short"
"""Key of the CutShort in a photo's `info`."""

MIN_DECODED = 0.1
"""Minimum share of a photo that must be decoded; otherwise the file is refused."""

MISSING_COLOUR = (128, 128, 128)
"""Grey that a JPEG decoder draws for missing data, used for the other formats as well."""

_END_MARKER = b"\xff\xd9"
_BLOCK = 8  # pixels; the data of a JPEG block is complete or absent
_GREY_SHARE = 0.7  # minimum share of grey pixels in a block without data
_GRID = 8  # distance in pixels between the pixels that an interlaced picture stores first
_STRIP = 32 * _BLOCK  # rows compared at once
_MAX_ENDINGS = 1000
_READ_BYTES = 65536
_SIDES = {  # EXIF orientation -> sides of the upright photo where the top and the bottom of the stored one lie
    1: ("top", "bottom"),
    2: ("top", "bottom"),
    3: ("bottom", "top"),
    4: ("bottom", "top"),
    5: ("left", "right"),
    6: ("right", "left"),
    7: ("right", "left"),
    8: ("left", "right"),
}


@dataclass(frozen=True)
class CutShort:
    """Missing part of a photo whose file is truncated."""

    missing: float
    """Share of the photo's area that was not decoded, 0 to 1."""
    side: str
    """Side of the upright photo that is missing: top, bottom, left or right."""
    progressive: bool
    """Whether detail may be missing in the whole photo: a progressive JPEG stores it last."""
    damaged: bool = False
    """Whether the file has more data after the decoded part, but damaged data."""

    @property
    def sentence(self) -> str:
        """Return a sentence that says how much of the photo is missing, and on which side."""
        what = "damaged" if self.damaged else "cut short"
        if self.missing:
            share = "less than 1 %" if self.missing < 0.01 else f"about {100 * self.missing:.0f} %"
            edge = self.side if self.side in ("top", "bottom") else f"{self.side} edge"
            return f"The file is {what}: {share} of the photo, at its {edge}, is missing."
        if self.progressive:
            return f"The file is {what}: fine detail of the photo may be missing."
        return f"The file is {what}: its end is missing, but all of the photo is there."

    def upright(self, orientation: int) -> "CutShort":
        """Return the same part for the upright photo, given the EXIF orientation that it was stored with."""
        top, bottom = _SIDES.get(orientation, _SIDES[1])
        return CutShort(self.missing, top if self.side == "top" else bottom, self.progressive, self.damaged)


def is_cut_short(error: Exception) -> bool:
    """Return whether Pillow stopped because the file ended too early."""
    return isinstance(error, OSError) and str(error).startswith("image file is truncated")


def is_broken(error: Exception) -> bool:
    """Return whether Pillow stopped at invalid data: a part of the file was lost or overwritten."""
    return isinstance(error, OSError) and str(error).startswith("broken data stream")


def decode_part(
    stream: BinaryIO, open_stream: Callable[[BinaryIO], ImageFile.ImageFile], damaged: bool = False
) -> tuple[Image.Image, Image.Image | None, CutShort] | None:
    """Decode the part of an image that a truncated or damaged file holds.

    open_stream: opens the image without decoding it. damaged: the file is not truncated but broken (`is_broken`).
    -> the decoded image, a mask of the missing part (None if the decoder has drawn it grey), and its size; None if less
    than `MIN_DECODED` was decoded. Interlaced pictures store rows or pixels out of order: their missing pixels are
    filled from their neighbours.
    """
    stream.seek(0)
    image = open_stream(stream)
    jpeg = image.format in ("JPEG", "MPO")
    second_start = _find_second_start(stream) if jpeg and damaged else None
    jpeg = jpeg and (not damaged or second_start is not None)
    interlaced = not jpeg and _is_interlaced(image)
    end = second_start or (_end_of_content(stream) if jpeg else 0)
    stream.seek(0)
    image = _decode_rows(open_stream(_StreamStart(stream, end)) if jpeg else image, 0)
    stream.seek(0)
    if jpeg:
        complete = open_stream(_StreamStart(stream, end, _END_MARKER))
        complete.load()
        mask = _make_mask(image, complete, _find_undecoded_blocks)
    else:
        complete = _decode_rows(open_stream(stream), 255)
        mask = _make_mask(image, complete, _find_differences)
    counts = np.asarray(mask.resize((1, mask.height), Image.Resampling.BOX)).ravel().astype(float)
    missing = float(counts.mean()) / 255
    if missing > 1 - MIN_DECODED:
        return None
    if interlaced:
        return _fill_missing(complete, mask), None, CutShort(0.0, "bottom", progressive=True, damaged=damaged)
    rows = np.arange(len(counts))
    is_at_top = missing > 0 and (rows * counts).sum() / counts.sum() < len(counts) / 2
    cut = CutShort(missing, "top" if is_at_top else "bottom", bool(image.info.get("progressive")), damaged)
    return complete, None if jpeg else mask, cut


class _StreamStart(StreamView):
    """Beginning of a stream, followed by an ending that can be read repeatedly."""

    def __init__(self, stream: BinaryIO, end: int, ending: bytes = b"") -> None:
        super().__init__(stream)
        self._end, self._ending, self._endings = end, ending, 0

    def read(self, size: int = -1) -> bytes:
        remaining = max(0, self._end - self._stream.tell())
        content = self._stream.read(remaining if size < 0 else min(size, remaining))
        if content or self._endings == _MAX_ENDINGS:  # ends a decoder that would read for ever
            return content
        self._endings += 1
        return self._ending


def _is_interlaced(image: ImageFile.ImageFile) -> bool:
    if image.format == "GIF":
        return any(tile.args[1] for tile in image.tile)
    return bool(image.info.get("interlace"))


def _find_second_start(stream: BinaryIO) -> int | None:
    """Return where another JPEG begins within the pixels of the first: the decoder fills the rest with grey."""
    stream.seek(0)
    content, offset = stream.read(), 2
    while content[offset : offset + 1] == b"\xff" and content[offset + 1 : offset + 2] != b"\xda":
        offset += 2 + int.from_bytes(content[offset + 2 : offset + 4], "big")  # a segment, perhaps with a preview
    start = content.find(b"\xff\xd8\xff", offset)
    return None if start < 0 else start


def _fill_missing(image: Image.Image, missing: Image.Image) -> Image.Image:
    """Fill missing pixels (white in the mask) with the nearest pixel to their left, or else above."""
    pixels, missing = np.array(image), np.asarray(missing) > 0
    columns, previous = np.arange(image.width), pixels[0].copy()
    for row, is_missing in zip(pixels, missing, strict=True):
        nearest = np.maximum.accumulate(np.where(is_missing, -1, columns))
        is_near = (nearest >= 0) & (columns - nearest < _GRID)
        previous[is_near] = row[nearest[is_near]]
        row[:] = previous
    filled = Image.fromarray(pixels, image.mode)
    if image.palette is not None:
        filled.putpalette(image.palette)
    filled.info = image.info
    return filled


def _end_of_content(stream: BinaryIO) -> int:
    """Return the end of a file without trailing zeros: an interrupted transfer may have reserved space for the rest."""
    end = stream.seek(0, io.SEEK_END)
    while end > 0:
        start = max(0, end - _READ_BYTES)
        stream.seek(start)
        content = stream.read(end - start).rstrip(b"\0")
        if content:
            return start + len(content)
        end = start
    return 0


def _decode_rows(image: ImageFile.ImageFile, value: int) -> ImageFile.ImageFile:
    """Decode an image until its file ends; pixels that were not decoded get this value, 0 to 255."""

    prepare, bands = image.load_prepare, len(image.getbands())

    def prepare_filled() -> None:
        prepare()
        image.im.paste(value if bands == 1 else (value,) * bands, (0, 0, *image.size))

    image.load_prepare = prepare_filled
    try:
        image.load()
    except OSError as error:
        if not is_cut_short(error) and not is_broken(error):
            raise
        image.tile = []  # marks the image as decoded
    return image


def _make_mask(
    first: Image.Image, second: Image.Image, compare: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Image.Image:
    """Return a mask that is white where `compare` is true of two decoded images.

    It compares strips of rows, because a large photo takes half a gigabyte.
    """
    mask = Image.new("L", first.size)
    for top in range(0, first.height, _STRIP):
        box = 0, top, first.width, min(top + _STRIP, first.height)
        pixels = [np.atleast_3d(np.asarray(image.crop(box))) for image in (first, second)]
        mask.paste(Image.fromarray(np.where(compare(*pixels), np.uint8(255), np.uint8(0))), box)
    return mask


def _find_differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return which pixels [H, W] differ: decoded pixels are equal, whatever value they had before."""
    return (first != second).any(axis=2)


def _find_undecoded_blocks(decoded: np.ndarray, terminated: np.ndarray) -> np.ndarray:
    """Return which pixels [H, W] lie in JPEG blocks without data.

    decoded: without an end marker, so that the decoder holds back the last rows that it could draw. terminated: with
    an end marker, so that the decoder drew all data that it had, and grey for the rest.
    """
    height, width = terminated.shape[:2]
    grey = ((terminated == 128) | (terminated == 127)).all(axis=2) & _find_differences(decoded, terminated)
    rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
    padded = np.pad(grey, ((0, rows * _BLOCK - height), (0, columns * _BLOCK - width)), mode="edge")
    # A share below 1, because colours are upsampled and bleed into the next row.
    blocks = padded.reshape(rows, _BLOCK, columns, _BLOCK).mean(axis=(1, 3)) >= _GREY_SHARE
    return blocks.repeat(_BLOCK, 0).repeat(_BLOCK, 1)[:height, :width]
