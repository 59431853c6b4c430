"""Output files written from a run's journal: CSV and COCO results."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from captioner.bulk.journal import Journal
from captioner.errors import ConfigError, DataError
from captioner.files import atomic_file
from captioner.name_set import NameSet

SUFFIXES = {"jsonl": ".jsonl", "csv": ".csv", "coco": ".json"}
"""Formats that are a single file -> its extension."""
FORMATS = (*SUFFIXES, "xmp")
"""xmp: a folder with a copy of each photo that contains its caption."""

_COLUMNS = ("image", "caption", "probability", "warnings", "confidence")
_NUMBER = re.compile(r"(?:.*\D)?(\d+)")


def format_of(output: Path, format_name: str | None) -> str:
    """Return the given format, or that of the file's extension. Raises ConfigError if the two differ."""
    if format_name == "xmp":
        if output.suffix in SUFFIXES.values():
            raise ConfigError(f"--format xmp writes a folder of photos: --output {output} is the name of a file")
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
    with _open_output(path) as file:
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
    with _open_output(path) as file:
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
def _open_output(path: Path) -> Iterator[TextIO]:
    """Open a text file that is written atomically. Raises DataError."""
    try:
        with atomic_file(path, "w", one_writer=True, encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}): fix that and run the same command again, "
            "which then only writes this file"
        ) from error
