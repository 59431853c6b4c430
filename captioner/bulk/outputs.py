"""Formats of a run's output, and the files written from its journal: CSV and COCO results."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from captioner.bulk.journal import Journal
from captioner.errors import ConfigError, DataError
from captioner.exports.sidecars import SIDECAR_ENDINGS
from captioner.files import atomic_file
from captioner.name_set import NameSet

SUFFIXES = {"jsonl": ".jsonl", "csv": ".csv", "coco": ".json"}
"""Formats that are a single file -> its extension."""
EXPORT_SUFFIXES = {"metadata": ".jsonl", "coco-captions": ".json", "html": ".html", "webdataset": ""}
"""Formats that are written for other tools at the end of a run -> extension of the file; none for a folder."""
FORMATS = (*SUFFIXES, "xmp", *SIDECAR_ENDINGS, *EXPORT_SUFFIXES)
"""xmp: a folder with a copy of each photo that contains its caption."""
BESIDE_PHOTOS = (*SIDECAR_ENDINGS, "metadata", "coco-captions", "html")
"""Formats whose output is in the folder of the photos, if no other is named."""

_FOLDERS = {"xmp": "photos", "webdataset": "tars", **dict.fromkeys(SIDECAR_ENDINGS, "text files")}
"""Formats whose output is a folder -> its content."""
_FILE_SUFFIXES = (*SUFFIXES.values(), *SIDECAR_ENDINGS.values(), ".html", ".tar")
_COLUMNS = ("image", "caption", "probability", "warnings", "confidence")
_TEXT = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
_NUMBER = re.compile(r"(?:.*\D)?(\d+)")


def format_of(output: Path, format_name: str | None) -> str:
    """Return the given format, or that of the file's extension. Raises ConfigError if the two differ."""
    if format_name in _FOLDERS:
        if output.suffix in _FILE_SUFFIXES:
            raise ConfigError(
                f"--format {format_name} writes a folder of {_FOLDERS[format_name]}: --output {output} is the name of a"
                " file"
            )
        return format_name
    if format_name in EXPORT_SUFFIXES:
        if output.suffix.lower() != EXPORT_SUFFIXES[format_name]:
            raise ConfigError(f"--output {output}: name a file that ends in {EXPORT_SUFFIXES[format_name]}")
        return format_name
    by_suffix = next((name for name, suffix in SUFFIXES.items() if suffix == output.suffix.lower()), None)
    if by_suffix is None or format_name not in (None, by_suffix):
        expected = SUFFIXES[format_name] if format_name else ".jsonl, .csv or .json (COCO results), or add --format xmp"
        raise ConfigError(f"--output {output}: name a file that ends in {expected}")
    return by_suffix


def write_csv(journal: Journal, path: Path) -> None:
    """Write one row per caption, a photo's best first; the warnings are one text.

    The confidence is empty if the captioner has no confidence model.

    Raises DataError.
    """
    with open_output(path, "w", **_TEXT) as file:
        rows = csv.writer(file)
        rows.writerow(_COLUMNS)
        for entry in journal.entries():
            warnings = " ".join(warning["message"] for warning in entry.get("warnings", ()))
            for caption in (entry, *entry.get("alternatives", ())):
                row = entry["image"], caption["caption"], caption["probability"], warnings, caption.get("confidence")
                rows.writerow(row)


def write_coco(journal: Journal, path: Path) -> None:
    """Write COCO results: a list of `image_id` and `caption`, the best caption of each photo.

    image_id: the number at the end of the file name if every photo has a different one; else the file name; else, if
    file names repeat in several folders, the whole path. Raises DataError.
    """
    image_id = next(key for key in (_number, _file_name, _path) if key is _path or _is_unique(journal, key))
    with open_output(path, "w", **_TEXT) as file:
        separator = "[\n"
        for entry in journal.entries():
            result = {"image_id": image_id(entry), "caption": entry["caption"]}
            file.write(separator + json.dumps(result))
            separator = ",\n"
        file.write("\n]\n" if separator == ",\n" else "[]\n")


def _number(entry: dict[str, Any]) -> int | None:
    match = _NUMBER.fullmatch(PurePosixPath(entry["image"]).stem)
    return int(match[1]) if match else None


def _file_name(entry: dict[str, Any]) -> str:
    return PurePosixPath(entry["image"]).name


def _path(entry: dict[str, Any]) -> str:
    return entry["image"]


def _is_unique(journal: Journal, key: Callable[[dict[str, Any]], int | str | None]) -> bool:
    """Return whether every photo has a key of its own."""
    keys = NameSet()
    values = map(key, journal.entries())
    return all(value is not None and keys.add(str(value)) for value in values)


@contextmanager
def open_output(path: Path, mode: str, **text: Any) -> Iterator[IO[Any]]:
    """Open a file that is written atomically, as `atomic_file` does. Raises DataError."""
    try:
        with atomic_file(path, mode, one_writer=True, **text) as file:
            yield file
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}): fix that and run the same command again, "
            "which then only writes this file"
        ) from error
