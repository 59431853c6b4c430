"""Explain why files that a user may expect to hold captions are not read."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from captioner.text.counting import counted
from training.data.readers import coco, folder, json_records, parquet, table, table_rows, webdataset
from training.data.readers.caption_files import CaptionFiles
from training.data.readers.files import UNUSED
from training.data.readers.listing import Problem, printable
from training.data.readers.photos import is_photo, walk_files

_MAX_LINES = 12
_MAX_FILES = 2_000
_MAX_TEXTS = 4
"""Maximum number of .txt files of a folder that may be tables."""
_UNPACK = "is an archive: unpack it, and give the folder"
_SAVE_AS_CSV = "is a spreadsheet: save it as CSV in UTF-8"
_ADVICE = {
    ".zip": _UNPACK, ".tgz": _UNPACK, ".gz": "is compressed: unpack it", ".bz2": _UNPACK, ".xz": _UNPACK,
    ".zst": _UNPACK, ".7z": _UNPACK, ".rar": _UNPACK, ".xlsx": _SAVE_AS_CSV, ".xls": _SAVE_AS_CSV, ".ods": _SAVE_AS_CSV,
    ".arrow": "is an Arrow file of Hugging Face's save_to_disk: write it with to_parquet, and give that file",
    ".xml": "is XML, which is not read: write a table of image and caption",
    ".yaml": "is YAML, which is not read: write a table of image and caption",
    ".yml": "is YAML, which is not read: write a table of image and caption",
    ".pkl": "is a pickle, which may run code and is not read: write a table of image and caption",
    ".npy": "is an array of NumPy: write a table of image and caption",
    ".h5": "is HDF5, which is not read: write photos and a table of image and caption",
    ".hdf5": "is HDF5, which is not read: write photos and a table of image and caption",
    ".tfrecord": "is a TFRecord, which is not read: write photos and a table of image and caption",
    ".db": "is a database: write a table of image and caption",
    ".sqlite": "is a database: write a table of image and caption",
}  # fmt: skip
"""Extension -> type of the file, and advice."""


def explain(caption_files: CaptionFiles, file: Path) -> str | None:
    """Explain why a file is not read as captions, as the rest of a sentence; None for other kinds of files."""
    reason = _explain(caption_files, file)
    return reason and printable(reason)


def _explain(caption_files: CaptionFiles, file: Path) -> str | None:
    ending = file.suffix.lower()
    if ending in (".csv", ".tsv", ".ndjson"):
        return table.explain(file)
    if ending in (".json", ".jsonl"):
        sample = caption_files.peek(file).sample
        if coco.has_form(sample):
            return coco.explain(sample)
        return table.explain(file) if ending == ".jsonl" else json_records.explain(caption_files, file)
    if ending in (".parquet", ".pq"):
        return parquet.explain(file)
    if ending == ".tar":
        return webdataset.explain(file)
    return _ADVICE.get(ending)


def near_misses(caption_files: CaptionFiles) -> list[str]:
    """Return a line for each file that may be expected to hold captions, and one for photos without any."""
    lines = []
    for file in (
        *caption_files.top_files(),
        *caption_files.annotation_files(),
        *caption_files.split_files(),
        *caption_files.other_files(),
    ):
        if len(lines) == _MAX_LINES:
            lines.append("... and more")
            break
        reason = explain(caption_files, file)
        if reason is None and (caption_files.is_file or _may_be_table(caption_files, file)):
            reason = _explain_text(file)
        if reason is not None:
            name = file.name if caption_files.is_file else os.path.relpath(file, caption_files.path)
            lines.append(f"{name}: {reason}")
    return lines if caption_files.is_file else [*lines, *_explain_photos(caption_files.path)]


def with_reasons(problems: list[Problem], caption_files: CaptionFiles, root: Path) -> list[Problem]:
    """Add any known reason to the problems of files that a reader did not use."""
    explained_count = 0
    updated_problems = []
    for problem in problems:
        if problem.kind == "unused_file" and problem.message == UNUSED and explained_count < _MAX_LINES:
            reason = explain(caption_files, root / problem.file)
            if reason is not None:
                explained_count += 1
                problem = replace(problem, message=f"is not used: {reason}")
        updated_problems.append(problem)
    return updated_problems


def _explain_text(file: Path) -> str:
    if is_photo(file.name):
        return "is a photo: give the folder or the file that holds its captions"
    if photo := next((name for name in _list_siblings(file) if is_photo(name) and Path(name).stem == file.stem), None):
        return f"is the text of one photo, {os.path.basename(photo)}: give the folder, which holds all of them"
    return table.explain(file)


def _may_be_table(caption_files: CaptionFiles, file: Path) -> bool:
    """Return whether a .txt file may be a table: one of few in its folder, and not about the data set."""
    if file.suffix.lower() != ".txt" or file.stem.lower() in folder.ABOUT:
        return False
    if sum(sibling.suffix.lower() == ".txt" for sibling in caption_files.list_folder(file.parent)) > _MAX_TEXTS:
        return False
    return table_rows.may_be_row(table_rows.top_line(file))


def _list_siblings(file: Path) -> list[str]:
    with os.scandir(file.parent) as entries:
        return sorted(entry.path for entry in entries)


def _explain_photos(root: Path) -> Iterable[str]:
    photos, boxes, endings = 0, 0, Counter()
    stems: set[str] = set()
    others: list[str] = []
    for number, name in enumerate(walk_files(root)):
        if number == _MAX_FILES:
            break
        photos += is_photo(name)
        if is_photo(name):
            stems.add(os.path.splitext(name)[0])
        else:
            others.append(name)
            ending = os.path.splitext(name)[1].lower()
            endings[ending] += 1
            boxes += ending == ".txt" and folder.holds_boxes(Path(name))
    if not photos:
        return
    prefix = "more than " if sum(endings.values()) + photos == _MAX_FILES else ""
    sibling_counts = Counter(os.path.splitext(name)[1].lower() for name in others if os.path.splitext(name)[0] in stems)
    unread = ", ".join(
        f"{count} {ending}" for ending, count in sibling_counts.most_common(3) if ending not in folder.ENDINGS
    )
    texts = sum(endings[ending] for ending in folder.ENDINGS if ending != ".json") - boxes
    yield (
        f"{prefix}{counted(photos, 'photo')}, none with a text file of the same name beside it"
        f" ({', '.join(folder.ENDINGS[:4])})"
        + (f"; texts of other names: {texts}" if texts else "")
        + (f"; files of the same names that are not read: {unread}; save captions in them as .txt" if unread else "")
        + (f"; texts with boxes in YOLO's format instead of captions: {boxes}" if boxes else "")
    )
