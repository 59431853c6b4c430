"""The photos of a data set, opened one by one: which cannot be read, which are the same, which look alike."""

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

ALIKE_BITS = 4
"""Photos look alike where at most so many of the 64 bits of their perceptual hashes (pHash) differ ..."""
ALIKE_COLOUR = 12.0
"""... and their colours, on a grid of 8 x 8, by no more than this on average, of 255: pHash sees no colour."""

_ROWS = 512  # of the matrix of distances that are computed at once


@dataclass(frozen=True)
class SameImages:
    """Photos that show the same: the same bytes, several entries with the same file, or pictures that look alike."""

    paths: tuple[str, ...]
    splits: tuple[str | None, ...]
    """Of each path."""

    @property
    def leak(self) -> bool:
        """Whether a model would be measured on what it was trained on: two different splits, none of them None."""
        return len({split for split in self.splits if split is not None}) > 1


@dataclass(frozen=True)
class Seen:
    """What was found out about one photo that can be read."""

    digest: str
    """SHA-256 of the file."""
    hash: int
    """pHash: 64 bits of the brightness of its coarse shapes."""
    colours: np.ndarray
    """[192] uint8: the photo as 8 x 8 pixels."""
    cut_short: str | None = None
    """What is missing, where its file is cut short."""


def check_images(data: DataSet, progress: bool) -> tuple[list[Problem], dict[Path, Seen]]:
    """Open every photo as training would -> problems with the photos, and what was seen of those that can be read.

    A photo whose file is cut short is used, and reported.
    """
    captions: Counter[Path] = Counter()
    for record in data.records:
        captions[record.path] += len(record.captions)
    paths = list(captions)
    problems, seen = [], {}
    # Pillow decodes outside the interpreter's lock, so that threads use all cores.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        results = tqdm(pool.map(_check, paths), "photos", len(paths), disable=not progress)
        for path, found in zip(paths, results, strict=True):
            if isinstance(found, Seen):
                seen[path] = found
                if found.cut_short:
                    problems.append(Problem("cut_short_image", shown_path(path, data.root), None, found.cut_short))
            else:
                shown = shown_path(path, data.root)
                problems.append(Problem("unreadable_image", shown, None, found, captions[path]))
    return problems, seen


def _check(path: Path) -> Seen | str:
    """What is seen of a photo, or what is wrong with it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    try:
        photo = open_image(content, name="the photo")
    except ImageError as error:
        return str(error)
    colours = np.asarray(photo.resize((8, 8), Image.Resampling.BOX, reducing_gap=2.0)).ravel()
    cut = photo.info.get(CUT_SHORT)
    return Seen(
        hashlib.sha256(content).hexdigest(),
        int(str(imagehash.phash(photo)), 16),
        colours,
        f"{cut.sentence} It is used as it is: get the whole file, or leave the photo out." if cut else None,
    )


def same_images(data: DataSet, seen: Mapping[Path, Seen]) -> tuple[SameImages, ...]:
    """Records whose photos have the same bytes; of photos that were not opened, the same path."""
    groups: dict[Hashable, list[ImageRecord]] = defaultdict(list)
    for record in data.records:
        groups[seen[record.path].digest if record.path in seen else record.path].append(record)
    return tuple(_group(data, records) for records in groups.values() if len(records) > 1)


def similar_images(data: DataSet, seen: Mapping[Path, Seen]) -> tuple[SameImages, ...]:
    """Groups of photos that look alike and whose files differ. One photo stands for all with its bytes."""
    records = list(
        {seen[record.path].digest: record for record in reversed(data.records) if record.path in seen}.values()
    )
    records.reverse()
    of = list(range(len(records)))  # the first member of each one's group

    def first(number: int) -> int:
        while of[number] != number:
            number = of[number]
        return number

    for one, other in _alike([seen[record.path] for record in records]):
        low, high = sorted((first(one), first(other)))
        of[high] = low
    groups = defaultdict(list)
    for number, record in enumerate(records):
        groups[first(number)].append(record)
    return tuple(_group(data, members) for members in groups.values() if len(members) > 1)


def _alike(seen: Sequence[Seen]) -> list[tuple[int, int]]:
    """Pairs of positions, the lower first."""
    if not seen:
        return []
    hashes = np.array([each.hash for each in seen], dtype=np.uint64)
    colours = np.stack([each.colours for each in seen]).astype(np.int16)  # [N, 192]
    pairs = []
    for start in range(0, len(hashes), _ROWS):
        distances = np.bitwise_count(hashes[start : start + _ROWS, None] ^ hashes[None, start:])  # [R, N - start]
        for row, column in np.argwhere(distances <= ALIKE_BITS):
            if row < column and np.abs(colours[start + row] - colours[start + column]).mean() <= ALIKE_COLOUR:
                pairs.append((start + int(row), start + int(column)))
    return pairs


def _group(data: DataSet, records: Sequence[ImageRecord]) -> SameImages:
    return SameImages(
        tuple(shown_path(record.path, data.root) for record in records), tuple(record.split for record in records)
    )


def shown_path(path: Path, root: Path) -> str:
    """Relative to the data set where it lies inside; bytes that are not UTF-8 as their codes, to be printable."""
    absolute, inside = os.path.abspath(path), os.path.join(os.path.abspath(root), "")
    return absolute.removeprefix(inside).encode("utf-8", "backslashreplace").decode("utf-8")
