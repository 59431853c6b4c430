"""Photos of an upload on their way into a collection: files with their names, sizes and hashes."""

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from captioner.errors import DataError
from captioner.exports.names import path_parts
from captioner.images.file_types import HEAD_BYTES, FileType, file_type
from captioner.images.finding import IMAGE_EXTENSIONS
from service.store.archives import unpack

MAX_LEFT_OUT = 100
"""Maximum number of files that are named as left out; the others are counted."""
MAX_NAME = 1000
"""Maximum characters of a name with its folders; longer ones lose their beginning."""

_DRIVE = re.compile("^[A-Za-z]:")
_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class StagedPhoto:
    """A file that waits to become a photo of a collection."""

    path: Path
    name: str
    """As given, with its folders: a/b.jpg."""
    digest: str
    """SHA-256 of its content, in hex."""
    size: int
    """Bytes."""


@dataclass(frozen=True)
class LeftOut:
    """A file that is no photo, nor anything that its owner may take for one."""

    name: str
    reason: str
    """A clause without a full stop."""


class Intake:
    """Collects the files of one upload in a folder, without hidden files and those of operating systems.

    Texts, tables and programs are left out with a reason. Other files become photos; captioning finds their faults.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """folder: an empty one. max_bytes: maximum size of all files together, unpacked."""
        self.folder, self._bytes_left = folder, max_bytes
        self.photos: list[StagedPhoto] = []
        self.left_out: list[LeftOut] = []
        self.left_out_count = 0
        self._number = 0

    def add(self, name: str, file: BinaryIO) -> None:
        """Add a photo, or all photos in a zip: a file whose name ends with .zip, or is empty. file: at its beginning.

        Raises ArchiveError for a zip that cannot be unpacked, DataError beyond the maximum size, OSError if the disk is
        full.
        """
        if not name or name.lower().endswith(".zip"):
            self._add_zip(file)
        elif not _is_hidden(clean := clean_name(name)):
            path = self._next_path()
            with open(path, "xb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
            self._add_file(path, clean)

    def _add_zip(self, file: BinaryIO) -> None:
        names: list[tuple[Path, str]] = []

        def place(name: str) -> Path | None:
            if _is_hidden(clean := clean_name(name)):
                return None
            names.append((self._next_path(), clean))
            return names[-1][0]

        unpack(file, self.folder, self._bytes_left, place)
        for path, name in names:
            self._add_file(path, name)

    def _add_file(self, path: Path, name: str) -> None:
        with open(path, "rb") as file:
            kind = file_type(file.read(HEAD_BYTES), name)
            if kind is not None and not kind.is_near_photo and not _is_named_as_image(name):
                self._leave_out(path, name, kind)
                return
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise DataError(
                "these photos are larger than what may be stored at once: send them in smaller parts, or ask the"
                " operator of the service to raise CAPTIONER_MAX_DATASET_MB"
            )
        self.photos.append(StagedPhoto(path, name, digest, size))

    def _leave_out(self, path: Path, name: str, kind: FileType) -> None:
        path.unlink()
        self.left_out_count += 1
        if len(self.left_out) < MAX_LEFT_OUT:
            self.left_out.append(LeftOut(name, f"it is no photo, but {kind.name}"))

    def _next_path(self) -> Path:
        self._number += 1
        return self.folder / str(self._number)


def clean_name(name: str) -> str:
    """Return a name with its folders as a relative path, without parts that lead out of it and null characters."""
    name = _DRIVE.sub("", name.encode("utf-8", "replace").decode().replace("\0", "").replace("\\", "/"))
    return "/".join(path_parts(name))[-MAX_NAME:].lstrip("/") or "photo"


class FreeNames:
    """Names of the photos of a collection, and of those that are added to it. Time grows with the number of photos."""

    def __init__(self, digests: dict[str, str]) -> None:
        """digests: the digest of each name in the collection; names that are taken are added to it."""
        self._digests = digests
        self._numbered: dict[str, tuple[int, set[str]]] = {}
        """Name -> the next number to try for it, and the digests of the photos with that name and lower numbers."""

    def take(self, name: str, digest: str) -> str | None:
        """Return the name, with a number if another photo has it: a (2).jpg; None if this photo is there already."""
        if name not in self._digests:
            self._digests[name] = digest
            return name
        number, known = self._numbered.get(name, (2, {self._digests[name]}))
        stem, extension = os.path.splitext(name)
        while digest not in known:
            numbered = f"{stem} ({number}){extension}"
            number += 1
            is_free = numbered not in self._digests
            known.add(self._digests.setdefault(numbered, digest))
            if is_free:
                self._numbered[name] = number, known
                return numbered
        self._numbered[name] = number, known
        return None


def _is_hidden(name: str) -> bool:
    *folders, last = name.split("/")
    if any(folder.startswith(".") or folder == "__MACOSX" for folder in folders) or last.lower() in _SYSTEM_FILES:
        return True
    return last.startswith(".") and not last.endswith(".icloud")


def _is_named_as_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS
