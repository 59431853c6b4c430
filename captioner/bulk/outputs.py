"""The files that captions of many photos end in, made from the journal of a run: CSV, and COCO results."""

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
"""Formats that are a file, and how it ends."""
FORMATS = (*SUFFIXES, "xmp")
"""xmp: a folder, with a copy of each photo that carries its caption."""

_COLUMNS = ("image", "caption", "probability", "warnings", "confidence")
_NUMBER = re.compile(r"(?:.*\D)?(\d+)")


def format_of(output: Path, given: str | None) -> str:
    """The format that is given, or that the file's name says. Raises ConfigError where the two do not agree."""
    if given == "xmp":
        if output.suffix in SUFFIXES.values():
            raise ConfigError(f"--format xmp writes a folder of photos: --output {output} is the name of a file")
        return given
    found = next((name for name, suffix in SUFFIXES.items() if suffix == output.suffix.lower()), None)
    if found is None or given not in (None, found):
        wanted = SUFFIXES[given] if given else ".jsonl, .csv or .json (COCO results), or add --format xmp"
        raise ConfigError(f"--output {output}: name a file that ends in {wanted}")
    return found


def write_csv(journal: Journal, path: Path) -> None:
    """Write a row for each caption, best first where a photo has several; the warnings are one text.

    The confidence is empty if the captioner has no confidence model.

    Raises DataError.
    """
    with _written(path) as file:
        rows = csv.writer(file)
        rows.writerow(_COLUMNS)
        for entry in journal.entries():
            warnings = " ".join(warning["message"] for warning in entry.get("warnings", ()))
            for caption in (entry, *entry.get("alternatives", ())):
                row = entry["image"], caption["caption"], caption["probability"], warnings, caption.get("confidence")
                rows.writerow(row)


def write_coco(journal: Journal, path: Path) -> None:
    """COCO's results: a list of `image_id` and `caption`, of each photo the best one.

    image_id: the number at the end of the file's name where all have one, and none has another's; else the file's name;
    else, where photos of several folders have one name, the whole path. Raises DataError.
    """
    image_id = next(key for key in (_number, _file_name, _path) if key is _path or _tells_apart(journal, key))
    with _written(path) as file:
        before = "[\n"
        for entry in journal.entries():
            result = {"image_id": image_id(entry), "caption": entry["caption"]}
            file.write(before + json.dumps(result))
            before = ",\n"
        file.write("\n]\n" if before == ",\n" else "[]\n")


def _number(entry: dict[str, Any]) -> int | None:
    found = _NUMBER.fullmatch(PurePosixPath(entry["image"]).stem)
    return int(found[1]) if found else None


def _file_name(entry: dict[str, Any]) -> str:
    return PurePosixPath(entry["image"]).name


def _path(entry: dict[str, Any]) -> str:
    return entry["image"]


def _tells_apart(journal: Journal, key: Callable[[dict[str, Any]], int | str | None]) -> bool:
    """Whether every photo has a key, and no two the same."""
    seen = NameSet()
    keys = map(key, journal.entries())
    return all(found is not None and seen.add(str(found)) for found in keys)


@contextmanager
def _written(path: Path) -> Iterator[TextIO]:
    """Open a text file that is written atomically. Raises DataError."""
    try:
        with atomic_file(path, "w", one_writer=True, encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}): put that right and run the same command again, "
            "which only writes it then"
        ) from error
