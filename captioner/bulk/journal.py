"""Files of JSON lines about photos, which grow line by line and survive whatever ends their writer."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from captioner.errors import DataError

_BLOCK = 65_536
_BEGINNING = b'{"image": "'
"""Of every line."""


class Journal:
    """JSON objects, one a line, the first key of each `image`. Processes may append to one file.

    A line is there when its line break is; a last line without one is what a killed writer left, and is cut off.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock_path = path.with_name(f".{path.name}.append-lock")
        self._lock = FileLock(self._lock_path)

    def append(self, entries: Sequence[dict[str, Any]]) -> None:
        """Write entries at the end, together. Raises DataError where they cannot be written."""
        if not entries:
            return
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
        try:
            with self._lock, open(self.path, "a+b") as file:
                _cut_off_half_a_line(file)
                # A file's name need not be text: the bytes that are not become JSON's escapes of lone surrogates.
                file.write(lines.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise self._unwritable(error) from error

    def entries(self) -> Iterator[dict[str, Any]]:
        """Every whole line; none where there is no file.

        Raises DataError for a line that no `Journal` wrote, and for a file that cannot be read.
        """
        try:
            with open(self.path, "rb") as file:
                for number, line in enumerate(file, 1):
                    if line.endswith(b"\n"):
                        yield self._entry(line, number)
                    elif line[: len(_BEGINNING)] != _BEGINNING[: len(line)]:
                        raise self._foreign(number)
        except FileNotFoundError:
            return
        except OSError as error:
            raise DataError(f"{self.path} cannot be read ({error.strerror}): name another --output") from error

    def finish(self) -> None:
        """When nobody appends any more: make what was written survive a power cut. Raises DataError where that fails.

        There is a file from then on, also where nothing was written.
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
        return DataError(f"{self.path}, line {number} is not one that this command wrote: name another --output")

    def _unwritable(self, error: OSError) -> DataError:
        return DataError(
            f"{self.path} cannot be written ({error.strerror}): put that right and run the same command again, "
            "which goes on where it stopped"
        )


def _cut_off_half_a_line(file) -> None:
    """Shorten a file to its last line break."""
    end = whole = file.seek(0, os.SEEK_END)
    while whole:
        start = max(0, whole - _BLOCK)
        file.seek(start)
        found = file.read(whole - start).rfind(b"\n")
        if found >= 0:
            whole = start + found + 1
            break
        whole = start
    if whole < end:
        file.truncate(whole)
