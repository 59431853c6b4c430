"""Zip files from anywhere: unpacked into a folder and nowhere else, or refused with a sentence."""

import errno
import lzma
import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from captioner.errors import CaptionerError, is_full_disk

MAX_ENTRIES = 500_000
MAX_RATIO = 100
"""Photos do not get smaller in a zip, and texts not by so much: what unpacks to more than this is made to do harm."""
RATIO_FROM_BYTES = 50_000_000
"""Below this, the ratio does not matter: whatever it is, no harm is done."""

_ENCRYPTED, _UTF8 = 0x1, 0x800  # bits of an entry's flags
_DRIVE = re.compile("[A-Za-z]:")
_CHUNK = 1 << 20
# All that Python's modules are known to raise over damaged zips; the last for what one claims of its own compression.
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, LookupError, OverflowError,
    MemoryError,
)  # fmt: skip


class ArchiveError(CaptionerError):
    """A zip cannot be unpacked, or should not be."""


def unpack(file: BinaryIO | Path, folder: Path, max_bytes: int) -> None:
    """Unpack a zip into an empty folder.

    Nothing of it is ever written outside, and no more than `max_bytes` in all. Zips within it stay as they are.
    Raises ArchiveError for what is no zip, is damaged, locked by a password, too large or a trap; what was written by
    then is for the caller to remove. OSError where the disk is full.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [(entry, _target(entry)) for entry in archive.infolist()]
            _check(entries, max_bytes)
            free = shutil.disk_usage(folder).free
            if sum(entry.file_size for entry, _ in entries) > free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left = max_bytes
            for entry, target in entries:
                left -= _extract(archive, entry, folder / target, left)
    except _DAMAGED as error:
        raise ArchiveError(f"the zip is damaged or was cut short ({error}): pack it and send it again") from error
    except (NotImplementedError, RuntimeError) as error:  # what Python says of passwords and unknown methods
        raise ArchiveError(f"the zip cannot be unpacked ({error}): pack it anew, as a plain zip") from error
    except OSError as error:
        if is_full_disk(error):
            raise
        raise ArchiveError(
            f"the zip cannot be unpacked ({error.strerror or error}): see that no name in it is longer than 255 bytes,"
            " or both a file's and a folder's"
        ) from error


def top_folder(folder: Path) -> Path:
    """Where the files begin: many a zip holds nothing but a folder, beside what systems leave behind."""
    while True:
        visible = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX"]
        if len(visible) != 1 or not visible[0].is_dir():
            return folder
        folder = visible[0]


def pack(folder: Path, file: BinaryIO) -> None:
    """Write all files of a folder into a zip, under their names relative to it. They are not made smaller."""
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())


def _target(entry: zipfile.ZipInfo) -> str:
    """The entry's place in the folder. Raises ArchiveError for one that leads out of it, and for what is no file."""
    name = entry.filename
    if not entry.flag_bits & _UTF8 and not name.isascii():
        try:
            name = name.encode("cp437").decode("utf-8")  # macOS writes UTF-8 without saying so
        except UnicodeError:
            pass
    name = name.replace("\\", "/")
    shown = name[:200]
    if name.startswith("/") or _DRIVE.match(name) or ".." in name.split("/"):
        raise ArchiveError(f"the zip wants to write {shown!r}, which lies outside its own folder: pack it anew")
    if not name:
        raise ArchiveError("the zip holds a file without a name: pack it anew")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError(f"the zip holds a link or a device, {shown!r}: pack the files themselves")
    if entry.flag_bits & _ENCRYPTED:
        raise ArchiveError(f"the zip is locked by a password ({shown!r}): pack it without one")
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _check(entries: list[tuple[zipfile.ZipInfo, str]], max_bytes: int) -> None:
    if len(entries) > MAX_ENTRIES:
        raise ArchiveError(f"the zip holds {len(entries):,} files, and {MAX_ENTRIES:,} are the most: send parts of it")
    unpacked = sum(entry.file_size for entry, _ in entries)
    packed = sum(entry.compress_size for entry, _ in entries)
    if unpacked > max_bytes:
        raise _too_large(max_bytes)
    if unpacked > RATIO_FROM_BYTES and unpacked > MAX_RATIO * packed:
        raise ArchiveError(
            f"the zip would unpack to {unpacked // max(1, packed):,} times its size, as no photos do: pack it anew"
        )
    files = [target for entry, target in entries if not entry.is_dir()]
    if len(set(files)) != len(files):
        twice = next(target for target in files if files.count(target) > 1)
        raise ArchiveError(f"the zip holds {twice[:200]!r} twice: keep one of the two")


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, most: int) -> int:
    """-> how many bytes were written; the sizes that a zip tells of may be wrong."""
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as source, open(target, "xb") as destination:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > most:
                raise _too_large(most)
            destination.write(chunk)
    return written


def _too_large(most: int) -> ArchiveError:
    return ArchiveError(
        f"the zip unpacks to more than {most // 1_000_000:,} MB: send less, or raise CAPTIONER_MAX_DATASET_MB and"
        " CAPTIONER_MAX_HOME_MB"
    )
