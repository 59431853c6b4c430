"""Check the photos of a data set: which are unreadable, identical or similar."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image
from tqdm import tqdm

from captioner.errors import ImageError
from captioner.images.cut import CUT_SHORT
from captioner.images.photo import open_image
from training.data.readers.listing import ImageRecord, Problem
from training.data.records import DataSet

MAX_DIFFERENT_BITS = 4
"""Photos look alike if at most this many of the 64 bits of their perceptual hashes (pHash) differ ..."""
MAX_COLOUR_DISTANCE = 12.0
"""... and their colours, on a grid of 8 x 8, by at most this on average, of 255: pHash ignores colour."""

_ROWS = 512  # rows of the distance matrix to compute at once


@dataclass(frozen=True)
class SameImages:
    """Group of identical or similar photos: the same bytes, several entries with one file, or similar pictures."""

    paths: tuple[str, ...]
    splits: tuple[str | None, ...]
    """Split of each path."""

    @property
    def leak(self) -> bool:
        """Whether a model would be evaluated on its training data: two different splits, neither of them None."""
        return len({split for split in self.splits if split is not None}) > 1


@dataclass(frozen=True)
class PhotoHashes:
    """Hashes of one readable photo."""

    digest: str
    """SHA-256 of the file."""
    hash: int
    """pHash: 64 bits of its coarse brightness pattern."""
    colours: np.ndarray
    """[192] uint8: the photo scaled to 8 x 8 pixels."""
    cut_short: str | None = None
    """Description of the missing part, if its file is truncated."""


def check_images(data: DataSet, progress: bool) -> tuple[list[Problem], dict[Path, PhotoHashes]]:
    """Open every photo as training would -> problems of the photos, and hashes of the readable ones.

    A truncated photo is used, and reported.
    """
    captions: Counter[Path] = Counter()
    for record in data.records:
        captions[record.path] += len(record.captions)
    paths = list(captions)
    problems, hashes = [], {}
    # Pillow releases the GIL while it decodes, so threads use all cores.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        results = tqdm(pool.map(_hash_photo, paths), "photos", len(paths), disable=not progress)
        for path, result in zip(paths, results, strict=True):
            if isinstance(result, PhotoHashes):
                hashes[path] = result
                if result.cut_short:
                    problems.append(Problem("cut_short_image", display_path(path, data.root), None, result.cut_short))
            else:
                name = display_path(path, data.root)
                problems.append(Problem("unreadable_image", name, None, result, captions[path]))
    return problems, hashes


def _hash_photo(path: Path) -> PhotoHashes | str:
    """Return the hashes of a photo, or its error."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    try:
        photo = open_image(content, name="the photo")
    except ImageError as error:
        return str(error)
    colours = np.asarray(photo.resize((8, 8), Image.Resampling.BOX, reducing_gap=2.0)).ravel()
    damage = photo.info.get(CUT_SHORT)
    return PhotoHashes(
        hashlib.sha256(content).hexdigest(),
        int(str(imagehash.phash(photo)), 16),
        colours,
        f"{damage.sentence} It is used as it is: get the whole file, or leave the photo out." if damage else None,
    )


def same_images(data: DataSet, hashes: Mapping[Path, PhotoHashes]) -> tuple[SameImages, ...]:
    """Group the records whose photos have the same bytes, or the same path if they were not opened."""
    groups: dict[Hashable, list[ImageRecord]] = defaultdict(list)
    for record in data.records:
        groups[hashes[record.path].digest if record.path in hashes else record.path].append(record)
    return tuple(_group(data, records) for records in groups.values() if len(records) > 1)


def similar_images(data: DataSet, hashes: Mapping[Path, PhotoHashes]) -> tuple[SameImages, ...]:
    """Group photos that look alike and whose files differ. One photo represents all with the same bytes."""
    records = list(
        {hashes[record.path].digest: record for record in reversed(data.records) if record.path in hashes}.values()
    )
    records.reverse()
    parents = list(range(len(records)))  # parent of each record in its group

    def find_root(number: int) -> int:
        while parents[number] != number:
            number = parents[number]
        return number

    for first, second in _find_similar_pairs([hashes[record.path] for record in records]):
        low, high = sorted((find_root(first), find_root(second)))
        parents[high] = low
    groups = defaultdict(list)
    for number, record in enumerate(records):
        groups[find_root(number)].append(record)
    return tuple(_group(data, members) for members in groups.values() if len(members) > 1)


def _find_similar_pairs(photos: Sequence[PhotoHashes]) -> list[tuple[int, int]]:
    """Return pairs of indices of similar photos, the lower one first."""
    if not photos:
        return []
    hashes = np.array([photo.hash for photo in photos], dtype=np.uint64)
    colours = np.stack([photo.colours for photo in photos]).astype(np.int16)  # [N, 192]
    pairs = []
    for start in range(0, len(hashes), _ROWS):
        distances = np.bitwise_count(hashes[start : start + _ROWS, None] ^ hashes[None, start:])  # [R, N - start]
        for row, column in np.argwhere(distances <= MAX_DIFFERENT_BITS):
            if row < column and np.abs(colours[start + row] - colours[start + column]).mean() <= MAX_COLOUR_DISTANCE:
                pairs.append((start + int(row), start + int(column)))
    return pairs


def _group(data: DataSet, records: Sequence[ImageRecord]) -> SameImages:
    return SameImages(
        tuple(display_path(record.path, data.root) for record in records), tuple(record.split for record in records)
    )


def display_path(path: Path, root: Path) -> str:
    """Return a path relative to the data set if it lies inside; non-UTF-8 bytes are printed as codes."""
    absolute, inside = os.path.abspath(path), os.path.join(os.path.abspath(root), "")
    return absolute.removeprefix(inside).encode("utf-8", "backslashreplace").decode("utf-8")
