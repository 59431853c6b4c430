"""Read data sets of captioned photos in any common format, which is detected, as one list of records."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from captioner.errors import DataError
from captioner.text.counting import counted
from training.data.readers import (
    coco,
    flickr8k,
    folder,
    json_records,
    karpathy,
    near_misses,
    parquet,
    table,
    webdataset,
)
from training.data.readers.caption_files import CaptionFiles, subfolders
from training.data.readers.listing import SPLITS, ImageRecord, Listing, Problem

__all__ = ["READERS", "SPLITS", "DataSet", "ImageRecord", "Problem", "Reader", "draw_splits", "read_records"]

VAL_SHARE = 0.05
TEST_SHARE = 0.05


@dataclass(frozen=True)
class Reader:
    """Format of data sets: its description, detection and reader."""

    layout: str
    files: Callable[[CaptionFiles], list[Path]]
    """Finds the caption files of this format."""
    read: Callable[[Path, Path | None], Listing]
    beside_photos: Callable[[CaptionFiles], list[Path]] | None = None
    """Finds texts beside photos, only if no format finds files: other data sets may have a stray .txt."""
    weak_files: Callable[[CaptionFiles], list[Path]] | None = None
    """Finds files that name photos only by an id or a URL, after that."""
    subfolder_files: Callable[[CaptionFiles], list[Path]] | None = None
    """Finds files in subfolders of any name, last."""


def _find_weak_files(files: Callable[..., list[Path]]) -> Callable[[CaptionFiles], list[Path]]:
    return lambda caption_files: files(caption_files, weak=True)


def _find_sidecar_folder(caption_files: CaptionFiles) -> list[Path]:
    return [caption_files.path] if folder.claims(caption_files.path) else []


READERS = {
    "coco": Reader(coco.LAYOUT, coco.files, coco.read, subfolder_files=coco.subfolder_files),
    "karpathy": Reader(karpathy.LAYOUT, karpathy.files, karpathy.read, subfolder_files=karpathy.subfolder_files),
    "flickr8k": Reader(flickr8k.LAYOUT, flickr8k.files, flickr8k.read, subfolder_files=flickr8k.subfolder_files),
    "table": Reader(
        table.LAYOUT,
        table.files,
        table.read,
        weak_files=_find_weak_files(table.files),
        subfolder_files=table.subfolder_files,
    ),
    "json": Reader(
        json_records.LAYOUT,
        json_records.files,
        json_records.read,
        weak_files=_find_weak_files(json_records.files),
        subfolder_files=json_records.subfolder_files,
    ),
    "webdataset": Reader(webdataset.LAYOUT, webdataset.files, webdataset.read),
    "parquet": Reader(parquet.LAYOUT, parquet.files, parquet.read, weak_files=_find_weak_files(parquet.files)),
    "folder": Reader(folder.LAYOUT, lambda caption_files: [], folder.read, beside_photos=_find_sidecar_folder),
}

_MAX_DEPTH = 8
"""Maximum depth of folders that are the only one in their parent."""


@dataclass(frozen=True)
class DataSet:
    """Data set: the usable photos of a path, and the problems of the rest."""

    name: str
    format: str
    root: Path
    records: list[ImageRecord]
    problems: list[Problem]
    drawn_splits: bool
    """Whether the splits were drawn here, because the data set has none of its own."""

    def split(self, name: str) -> list[ImageRecord]:
        """Return the records of a split. Raises DataError if there are none."""
        if name not in SPLITS:
            raise DataError(f"there is no split {name!r}: the splits are {', '.join(SPLITS)}")
        records = [record for record in self.records if record.split == name]
        if not records:
            counts = ", ".join(f"{sum(record.split == split for record in self.records)} {split}" for split in SPLITS)
            first_problem = (
                f"; the first of {counted(len(self.problems), 'problem')}: {self.problems[0]}" if self.problems else ""
            )
            raise DataError(f"{self.root} has no usable photo in its {name} split ({counts}){first_problem}")
        return records


def read_records(
    path: str | Path, format: str | None = None, images: str | Path | None = None, seed: int = 0
) -> DataSet:
    """Read a data set: a folder or a caption file. Its `problems` list the unusable lines with their positions.

    format: a name in READERS; by default the one that recognises the path.
    images: the folder of the photos, if not the one in the format's layout.
    seed: seed of `draw_splits`, for a data set without splits.
    Raises DataError if a path is missing, no format or several recognise it, or a whole caption file is damaged.
    """
    path, images = Path(path), Path(images) if images is not None else None
    if not path.exists():
        raise DataError(f"{path} does not exist: give the folder or the caption file of a data set")
    if images is not None and not images.is_dir():
        raise DataError(f"{images} is not a folder: give the folder that holds the photos of {path}")
    if format is not None and format not in READERS:
        raise DataError(f"there is no format {format!r}: the formats are {', '.join(READERS)}")
    title = path.resolve().name if path.is_dir() else path.stem
    try:
        path, name = (path, format) if format is not None else _detect_format(path)
        listing = READERS[name].read(path, images)
        records = listing.records(search_siblings=path.is_file())
        problems = near_misses.with_reasons(listing.problems, CaptionFiles(path), listing.root)
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error
    draws_splits = not listing.has_splits
    if draws_splits:
        records = draw_splits(records, seed)
    return DataSet(title, name, listing.root, records, problems, draws_splits)


def draw_splits(records: list[ImageRecord], seed: int) -> list[ImageRecord]:
    """Assign a new split to every image: about 90 % train, 5 % val, 5 % test, with all captions of a photo together.

    The hash of seed and image id gives each photo a number from 0 to 1: below 0.05 is val, below 0.1 test, else train.
    Photos that are added later therefore move no others. If val (or train) of a small data set would be empty, the
    photo with the lowest (highest) number goes there. A single photo is train.
    """
    fractions = [_hash_fraction(seed, record.image_id) for record in records]
    splits = [
        "val" if fraction < VAL_SHARE else "test" if fraction < VAL_SHARE + TEST_SHARE else "train"
        for fraction in fractions
    ]
    if len(records) > 1 and "val" not in splits:
        splits[fractions.index(min(fractions))] = "val"
    if records and "train" not in splits:
        splits[fractions.index(max(fractions))] = "train"
    return [replace(record, split=split) for record, split in zip(records, splits, strict=True)]


def records_sha256(records: Iterable[ImageRecord]) -> str:
    """Hash ids, file names, captions and splits in their order, but not the folders of the photos."""
    digest = hashlib.sha256()
    for record in records:
        values = record.image_id, record.path.name, record.captions, record.split
        digest.update(repr(values).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _hash_fraction(seed: int, image_id: str | int) -> float:
    digest = hashlib.sha256(f"{seed}:{image_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _detect_format(path: Path) -> tuple[Path, str]:
    """Detect the format, and the folder with the captions, which may be a lone subfolder of `path`, or the file itself.

    Raises DataError if no format matches, or several match different files.
    """
    caption_files = CaptionFiles(path)
    rounds = _detector_rounds()
    if name := _recognise(caption_files, rounds[0]):
        return path, name
    levels = [caption_files, *_lone_folders(caption_files)]
    for detectors in rounds:
        for level in levels:
            if name := _recognise(level, detectors):
                return level.path, name
    raise DataError(_explain_mismatch(caption_files))


def _detector_rounds() -> list[dict[str, Callable[[CaptionFiles], list[Path]]]]:
    """Return the detectors of each format, by round: the most certain ones come first."""
    kinds = ("files", "beside_photos", "weak_files", "subfolder_files")
    return [{name: detect for name, reader in READERS.items() if (detect := getattr(reader, kind))} for kind in kinds]


def _lone_folders(caption_files: CaptionFiles) -> Iterator[CaptionFiles]:
    """Yield nested folders, each the only one in its parent, while no file beside them resembles captions."""
    for _ in range(_MAX_DEPTH):
        folders = [] if caption_files.is_file else subfolders(caption_files.path)
        if len(folders) != 1 or any(near_misses.explain(caption_files, file) for file in caption_files.top_files()):
            return
        caption_files = CaptionFiles(folders[0])
        yield caption_files


def _recognise(caption_files: CaptionFiles, detectors: dict[str, Callable[[CaptionFiles], list[Path]]]) -> str | None:
    """Return the format of the files that are found. Raises DataError if formats recognise different files."""
    matches = {name: files for name, detect in detectors.items() if (files := detect(caption_files))}
    if len({tuple(files) for files in matches.values()}) > 1:  # for a single file the first format counts
        descriptions = [f"{_list_names(files, caption_files.path)} ({name})" for name, files in matches.items()]
        raise DataError(
            f"{caption_files.path} may be read as {' or as '.join(matches)}: it holds {' and '.join(descriptions)},"
            " which may repeat or contradict each other. Give the path of one of them, or name its format with --format"
        )
    return next(iter(matches), None)


def _list_names(files: list[Path], root: Path) -> str:
    names = [os.path.relpath(file, root) for file in files]
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def _explain_mismatch(caption_files: CaptionFiles) -> str:
    """Explain why no format matches: the reason for each near miss, and the formats."""
    reasons = "".join(f"\n  {line}" for line in near_misses.near_misses(caption_files))
    layouts = "\n".join(f"  {name:10} {reader.layout}" for name, reader in READERS.items())
    return (
        f"{caption_files.path} holds no captions in a known format: {_describe_contents(caption_files.path)}."
        + (f" Why not:{reasons}" if reasons else "")
        + f"\nKnown formats:\n{layouts}"
    )


def _describe_contents(path: Path) -> str:
    """Describe what the path holds instead, for the error."""
    if not path.is_dir():
        return f"it is a file of {counted(path.stat().st_size, 'byte')}"
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in entries)
    if not names:
        return "the folder is empty"
    return f"the folder holds {', '.join(names[:8])}" + (f" and {len(names) - 8} more" if len(names) > 8 else "")
