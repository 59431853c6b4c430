"""Append-only files of JSON lines about photos, which survive a killed writer."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from captioner.errors import DataError

_BLOCK = 65_536
_LINE_START = b'{"image": "'
"""Beginning of every line."""


class Journal:
    """File of JSON objects, one per line, whose first key is `image`. Several processes may append to one file.

    A line counts once it has its line break; a last line without one is left by a killed writer and is cut off.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock_path = path.with_name(f".{path.name}.append-lock")
        self._lock = FileLock(self._lock_path)

    def append(self, entries: Sequence[dict[str, Any]]) -> None:
        """Append entries in one write. Raises DataError if they cannot be written."""
        if not entries:
            return
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
        try:
            with self._lock, open(self.path, "a+b") as file:
                _cut_off_partial_line(file)
                # A file name need not be valid text: other bytes become JSON escapes of lone surrogates.
                file.write(lines.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise self._unwritable(error) from error

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield the entry of every whole line; none if there is no file.

        Raises DataError for a line that no `Journal` wrote, or if the file cannot be read.
        """
        try:
            with open(self.path, "rb") as file:
                for number, line in enumerate(file, 1):
                    if line.endswith(b"\n"):
                        yield self._entry(line, number)
                    elif line[: len(_LINE_START)] != _LINE_START[: len(line)]:
                        raise self._foreign(number)
        except FileNotFoundError:
            return
        except OSError as error:
            raise DataError(f"{self.path} cannot be read ({error.strerror}): name another --output") from error

    def finish(self) -> None:
        """Flush the file to disk after the last append. Raises DataError if that fails.

        The file exists afterwards even if nothing was appended.
        """
        try:
            with open(self.path, "a+b") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error
        self._lock_path.unlink(missing_ok=True)

    def _entry(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise self._foreign(number) from error
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            raise self._foreign(number)
        return entry

    def _foreign(self, number: int) -> DataError:
        return DataError(f"{self.path}, line {number} was not written by this command: name another --output")

    def _unwritable(self, error: OSError) -> DataError:
        return DataError(
            f"{self.path} cannot be written ({error.strerror}): fix that and run the same command again, "
            "which resumes where it stopped"
        )


def _cut_off_partial_line(file) -> None:
    """Shorten a file to its last line break."""
    end = line_end = file.seek(0, os.SEEK_END)
    while line_end:
        start = max(0, line_end - _BLOCK)
        file.seek(start)
        position = file.read(line_end - start).rfind(b"\n")
        if position >= 0:
            line_end = start + position + 1
            break
        line_end = start
    if line_end < end:
        file.truncate(line_end)
