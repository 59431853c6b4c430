"""Output files written from a run's journal: CSV and COCO results."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from captioner.bulk.entries import entry_language, written_text
from captioner.bulk.journal import Journal
from captioner.errors import DataError
from captioner.files import atomic_file
from captioner.text.name_set import NameSet

_COLUMNS = ("image", "caption", "probability", "warnings", "confidence")
_TRANSLATION_COLUMNS = ("language", "translation")
_TEXT = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
_NUMBER = re.compile(r"(?:.*\D)?(\d+)")


def write_csv(journal: Journal, path: Path, translated: bool = False) -> None:
    """Write one row per caption, a photo's best first; the warnings are one text.

    The confidence is empty if the captioner has no confidence model. translated: whether to write the language and the
    text of each translation as well.

    Raises DataError.
    """
    with open_output(path, "w", **_TEXT) as file:
        rows = csv.writer(file)
        rows.writerow(_COLUMNS + (_TRANSLATION_COLUMNS if translated else ()))
        for entry in journal.entries():
            warnings = " ".join(warning["message"] for warning in entry.get("warnings", ()))
            for caption in (entry, *entry.get("alternatives", ())):
                row = entry["image"], caption["caption"], caption["probability"], warnings, caption.get("confidence")
                rows.writerow(row + ((entry_language(caption), written_text(caption)) if translated else ()))


def write_coco(journal: Journal, path: Path) -> None:
    """Write COCO results: a list of `image_id` and `caption`, the best caption of each photo or its translation.

    image_id: the number at the end of the file name if every photo has a different one; else the file name; else, if
    file names repeat in several folders, the whole path. Raises DataError.
    """
    image_id = next(key for key in (_number, _file_name, _path) if key is _path or _is_unique(journal, key))
    with open_output(path, "w", **_TEXT) as file:
        separator = "[\n"
        for entry in journal.entries():
            result = {"image_id": image_id(entry), "caption": written_text(entry)}
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
