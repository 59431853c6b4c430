"""Untrusted zip files: unpack them safely into a folder, or refuse them."""

import errno
import lzma
import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from captioner.errors import CaptionerError, is_full_disk

MAX_ENTRIES = 500_000
MAX_RATIO = 100
"""Maximum compression ratio. Photos barely compress and text less than this: higher ratios are zip bombs."""
RATIO_FROM_BYTES = 50_000_000
"""Unpacked size below which the ratio is not checked."""

_ENCRYPTED, _UTF8 = 0x1, 0x800  # bits of an entry's flags
_DRIVE = re.compile("[A-Za-z]:")
_CHUNK = 1 << 20
# All exceptions of Python's modules for damaged zips; MemoryError for wrong sizes in compressed data.
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, LookupError, OverflowError,
    MemoryError,
)  # fmt: skip


class ArchiveError(CaptionerError):
    """A zip cannot be unpacked, or is refused."""


def unpack(
    file: BinaryIO | Path, folder: Path, max_bytes: int, place: Callable[[str], Path | None] | None = None
) -> None:
    """Unpack a zip into an empty folder.

    place: called with the path of each file in the zip, in order; returns the file to write, or None to leave it out.
    By default, the same path below `folder`.
    Nothing is written outside the folder, and at most `max_bytes` in total. Nested zips are not unpacked.
    Raises ArchiveError for a file that is not a zip, is damaged, has a password, is too large or malicious; the caller
    removes files written before. Raises OSError if the disk is full.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [(entry, _target_path(entry)) for entry in archive.infolist()]
            _check_entries(entries, max_bytes)
            free = shutil.disk_usage(folder).free
            if sum(entry.file_size for entry, _ in entries) > free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            bytes_left = max_bytes
            for entry, name in entries:
                if place is None:
                    target = folder / name
                else:
                    target = None if entry.is_dir() else place(name)
                if target is not None:
                    bytes_left -= _extract(archive, entry, target, bytes_left)
    except _DAMAGED as error:
        raise ArchiveError(f"the zip is damaged or truncated ({error}): pack it and send it again") from error
    except (NotImplementedError, RuntimeError) as error:  # passwords and unknown compression methods
        raise ArchiveError(f"the zip cannot be unpacked ({error}): create it again as a plain zip") from error
    except OSError as error:
        if is_full_disk(error):
            raise
        raise ArchiveError(
            f"the zip cannot be unpacked ({error.strerror or error}): shorten names to 255 bytes, and give no file and"
            " folder the same name"
        ) from error


def top_folder(folder: Path) -> Path:
    """Return the first folder with files: many zips contain a single folder, next to system files."""
    while True:
        visible = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX"]
        if len(visible) != 1 or not visible[0].is_dir():
            return folder
        folder = visible[0]


def pack(folder: Path, file: BinaryIO) -> None:
    """Write all files of a folder to a zip, uncompressed, under their relative names."""
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())


def _target_path(entry: zipfile.ZipInfo) -> str:
    """Return the relative path of an entry. Raises ArchiveError if it leaves the folder or is not a regular file."""
    name = entry.filename
    if not entry.flag_bits & _UTF8 and not name.isascii():
        try:
            name = name.encode("cp437").decode("utf-8")  # macOS writes UTF-8 without the flag
        except UnicodeError:
            pass
    name = name.replace("\\", "/")
    short_name = name[:200]
    if name.startswith("/") or _DRIVE.match(name) or ".." in name.split("/"):
        raise ArchiveError(f"the zip contains {short_name!r}, a path outside its own folder: create it again")
    if not name:
        raise ArchiveError("the zip contains a file without a name: create it again")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError(f"the zip contains a link or a device, {short_name!r}: pack the files themselves")
    if entry.flag_bits & _ENCRYPTED:
        raise ArchiveError(f"the zip is protected by a password ({short_name!r}): create it without one")
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _check_entries(entries: list[tuple[zipfile.ZipInfo, str]], max_bytes: int) -> None:
    if len(entries) > MAX_ENTRIES:
        raise ArchiveError(f"the zip contains {len(entries):,} files, but the limit is {MAX_ENTRIES:,}: split it")
    unpacked_bytes = sum(entry.file_size for entry, _ in entries)
    packed_bytes = sum(entry.compress_size for entry, _ in entries)
    if unpacked_bytes > max_bytes:
        raise _too_large(max_bytes)
    if unpacked_bytes > RATIO_FROM_BYTES and unpacked_bytes > MAX_RATIO * packed_bytes:
        raise ArchiveError(
            f"the zip unpacks to {unpacked_bytes // max(1, packed_bytes):,} times its size, which photos and texts"
            " never do: create it again"
        )
    files: set[str] = set()
    for entry, target in entries:
        if entry.is_dir():
            continue
        if target in files:
            raise ArchiveError(f"the zip contains {target[:200]!r} twice: keep one of them")
        files.add(target)


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, max_bytes: int) -> int:
    """Write an entry -> bytes written. Checked here because the sizes in a zip may be wrong."""
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as source, open(target, "xb") as destination:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > max_bytes:
                raise _too_large(max_bytes)
            destination.write(chunk)
    return written


def _too_large(max_bytes: int) -> ArchiveError:
    return ArchiveError(
        f"the zip unpacks to more than {max_bytes // 1_000_000:,} MB: send less, or raise CAPTIONER_MAX_DATASET_MB and"
        " CAPTIONER_MAX_HOME_MB"
    )
