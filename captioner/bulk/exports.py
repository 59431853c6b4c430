"""Data sets and pages that are written from a run's journal at its end, and never over a file of somebody else."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from captioner.bulk.journal import Journal
from captioner.bulk.outputs import open_output
from captioner.errors import ConfigError, DataError
from captioner.exports import EXPORT_FORMATS, ExportRecord
from captioner.exports.archives import TarShard
from captioner.exports.formats import encoded_text
from captioner.exports.sidecars import keep_copy
from captioner.files import write_atomically

EXPORTS = {"metadata": "metadata", "coco-captions": "coco", "html": "html", "webdataset": "webdataset"}
"""Format of the command line -> format of `captioner.exports`; coco is the format of COCO results there."""

_PHOTOS_INSIDE = ("metadata", "coco-captions")
"""Formats whose readers do not search outside the folder of the file."""
_SHARD_PHOTOS, _SHARD_BYTES = 10_000, 1_000_000_000
"""Maximum photos and bytes of a shard; a photo that is larger has a shard of its own."""
_SHARD_NAME = re.compile(r"captions-\d{6}\.tar")


def file_name(format_name: str) -> str:
    """Return the usual file name of a format."""
    return EXPORT_FORMATS[EXPORTS[format_name]].file_name


def check_inside(format_name: str, output: Path, photo: str) -> None:
    """Raise ConfigError if a photo's path does not lie where readers of the format find it."""
    if format_name in _PHOTOS_INSIDE and not _is_inside(photo, output.parent):
        raise ConfigError(
            f"--format {format_name}: readers search for photos in the folder of {output}, and {photo} lies outside:"
            " name an --output in a folder that holds all photos"
        )


class OutputGuard:
    """Guard against writing over files that this command did not write, or that somebody changed since.

    output: file, or folder of shards. record: file that keeps names, sizes and times of what was written.
    """

    def __init__(self, output: Path, record: Path, on_conflict: str) -> None:
        self._output, self._record, self._on_conflict = output, record, on_conflict

    def check(self) -> None:
        """Raise ConfigError if there are files of somebody else, and `on_conflict` is skip."""
        if self._on_conflict == "skip" and self._is_foreign():
            raise ConfigError(
                f"{self._files()[0]} exists already, and this command did not write it or it was changed since: name"
                " another --output, or add --on-conflict keep-copy or overwrite"
            )

    def make_room(self) -> None:
        """Rename files of somebody else for keep-copy, and remove their shards for overwrite.

        Raises ConfigError as `check`, OSError.
        """
        self.check()
        if not self._is_foreign():
            return
        for file in self._files():
            if self._on_conflict == "keep-copy":
                keep_copy(file)
            elif file != self._output:  # a shard; a single file is replaced when the new one is complete
                file.unlink()

    def written(self) -> None:
        """Remember the files as they are now."""
        write_atomically(self._record, json.dumps(self._signature()), one_writer=True)

    def _is_foreign(self) -> bool:
        signature = self._signature()
        if not signature:
            return False
        with suppress(OSError, ValueError):
            return json.loads(self._record.read_bytes()) != signature
        return True

    def _signature(self) -> list[list[str | int]]:
        states = ((file.name, file.stat()) for file in self._files())
        return [[name, state.st_size, state.st_mtime_ns] for name, state in states]

    def _files(self) -> list[Path]:
        if self._output.is_dir():
            return sorted(file for file in self._output.iterdir() if _SHARD_NAME.fullmatch(file.name))
        return [self._output] if self._output.exists() else []


def write_journal(format_name: str, journal: Journal, output: Path, guard: OutputGuard) -> None:
    """Write the captions of a run in a format. Raises DataError if that fails, ConfigError as `OutputGuard.check`."""
    try:
        guard.make_room()
        if format_name == "webdataset":
            _write_shards(journal, output)
        else:
            _write_text(format_name, journal, output)
        guard.written()
    except OSError as error:
        raise DataError(
            f"{output} cannot be written ({error.strerror or error}): fix that and run the same command again, which"
            " then only writes this file"
        ) from error


def _write_text(format_name: str, journal: Journal, output: Path) -> None:
    form = EXPORT_FORMATS[EXPORTS[format_name]]

    def photos() -> Iterator[tuple[str, ExportRecord]]:
        for entry in journal.entries():
            check_inside(format_name, output, entry["image"])
            path = os.path.relpath(entry["image"], output.parent).replace(os.sep, "/")
            yield path, _record(entry)

    with open_output(output, "wb") as file:
        for part in encoded_text(form, photos()):
            file.write(part)


def _write_shards(journal: Journal, folder: Path) -> None:
    """Write captions-000000.tar and so on. Only a complete shard has its name."""
    entries, number = journal.entries(), 0
    entry = next(entries, None)
    folder.mkdir(parents=True, exist_ok=True)
    while entry is not None or number == 0:
        photos = size = 0
        with open_output(_shard(folder, number), "wb") as file:
            shard = TarShard(file)
            while entry is not None and photos < _SHARD_PHOTOS and size < _SHARD_BYTES:
                size += shard.add(_record(entry))
                photos += 1
                entry = next(entries, None)
            shard.close()
        number += 1


def _shard(folder: Path, number: int) -> Path:
    return folder / f"captions-{number:06d}.tar"


def _record(entry: dict[str, Any]) -> ExportRecord:
    captions = (entry, *entry.get("alternatives", ()))
    return ExportRecord(
        entry["path"],
        tuple(caption["caption"] for caption in captions),
        Path(entry["image"]),
        tuple(entry["size"]),
        entry.get("confidence"),
    )


def _is_inside(path: str, folder: Path) -> bool:
    root = os.path.join(os.path.abspath(folder), "")
    return os.path.join(os.path.abspath(path), "").startswith(root)
