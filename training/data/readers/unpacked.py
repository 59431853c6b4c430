"""Unpack the photos of archives once, into a hidden folder beside the archive or into the user's cache.

Unpacked photos are as large as the archive, so its disk is preferred.
"""

import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from PIL import Image

from captioner.errors import DataError
from captioner.files import atomic_folder
from training.data.readers.photos import UNPACKED, is_photo

_RECORDS = "records.jsonl"

MAX_RATIO = 100
"""Maximum ratio of unpacked to packed size: photos do not compress further, so a larger ratio is refused."""
RATIO_FROM_BYTES = 1_000_000_000
"""Unpacked size below which the ratio is not checked."""


@dataclass(frozen=True)
class PackedPhoto:
    """Photo of an archive, with the rest of its record."""

    entry: str
    """Position in the archive, for problems."""
    name: str
    """Name in the archive."""
    photo: bytes | None
    """Bytes of its file; None if the record has no photo."""
    record: dict[str, Any]
    """Other fields, with captions and split."""


def unpack(archive: Path, photos: Iterable[PackedPhoto]) -> Iterator[tuple[str, Path | None, str, dict[str, Any]]]:
    """Yield the entry, path, name and record of every photo of an archive, which is unpacked at the first read.

    Files are named by number, because names in an archive may contain any path. A changed archive is unpacked again.
    `photos` is iterated only to unpack.
    Raises DataError if neither the folder beside the archive nor the cache is writable, if the archive unpacks to far
    more than its size, or if the unpacked files are damaged.
    """
    state = archive.stat()
    name = f"{archive.name}-{state.st_size:x}-{state.st_mtime_ns:x}"
    parent = archive.parent / UNPACKED
    if not (parent / name / _RECORDS).exists() and not _is_writable(parent):
        parent = _cache_folder(archive)
    folder = parent / name
    if not (folder / _RECORDS).exists():
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with FileLock(parent / f"{archive.name}.lock"):
                if not (folder / _RECORDS).exists():
                    _write_photos(photos, archive, folder)
        except OSError as error:
            raise DataError(
                f"{archive}: its photos cannot be unpacked into {parent} ({error.strerror or error}): make room, or"
                " allow writing there; or unpack it elsewhere yourself, and give that folder"
            ) from error
    with open(folder / _RECORDS, encoding="utf-8") as lines:
        for line in lines:
            try:
                entry, file, name, record = json.loads(line)
                if os.path.basename(file) != file or not isinstance(record, dict):
                    raise ValueError("not a record of this folder")
            except (ValueError, TypeError) as error:
                raise DataError(f"{folder / _RECORDS} is damaged: remove {folder} to unpack it again") from error
            yield entry, folder / file if file else None, name, record


def _is_writable(folder: Path) -> bool:
    """Return whether files can be created in a folder; create the folder if needed."""
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:  # permissions would not show a read-only mount
        return False


def _cache_folder(archive: Path) -> Path:
    """Return the folder for an archive's photos in the user's cache (XDG_CACHE_HOME, by default ~/.cache)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder_key = hashlib.sha256(os.fsencode(archive.parent.resolve())).hexdigest()[:16]
    return cache / "captioner" / "unpacked" / folder_key


def _write_photos(photos: Iterable[PackedPhoto], archive: Path, folder: Path) -> None:
    name, remaining_bytes = archive.name, max(RATIO_FROM_BYTES, MAX_RATIO * archive.stat().st_size)
    earlier_pattern = f"{re.escape(name)}-[0-9a-f]+-[^-]+"  # of the archive before it changed
    leftover_pattern = re.compile(rf"{earlier_pattern}|\.{earlier_pattern}\.part")  # that, and what a crash left
    for path in folder.parent.iterdir():
        if leftover_pattern.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
    with (
        atomic_folder(folder, one_writer=True) as new_folder,
        open(new_folder / _RECORDS, "w", encoding="utf-8") as lines,
    ):
        for number, packed in enumerate(photos):
            file = ""
            if packed.photo is not None:
                remaining_bytes -= len(packed.photo)
                if remaining_bytes < 0:
                    raise DataError(
                        f"{archive} would unpack to more than {MAX_RATIO} times its size, as no photos do: give the"
                        " photos themselves"
                    )
                file = f"{number:06d}{_find_extension(packed.name, packed.photo)}"
                (new_folder / file).write_bytes(packed.photo)
            lines.write(json.dumps([packed.entry, file, packed.name, packed.record], default=str) + "\n")


def _find_extension(name: str, photo: bytes) -> str:
    ending = os.path.splitext(name)[1].lower()
    if is_photo(f"a{ending}"):
        return ending
    try:
        with Image.open(io.BytesIO(photo)) as image:
            return f".{(image.format or 'jpg').lower()}"
    except Exception:  # damaged: reported when the photos are checked
        return ".jpg"
