"""Broken or malicious zips: unpacked into their own folder, or refused."""

import io
import stat
import tempfile
import warnings
import zipfile
from pathlib import Path
from random import Random

from service.store.archives import ArchiveError, top_folder, unpack
from stress.fuzz.kinds import WrongResult
from stress.fuzz.mutations import mutate_bytes

MAX_BYTES = 3_000_000
"""Bytes that a zip may unpack to."""

_NAMES = (
    "a.txt", "b/c.txt", "b", "../evil.txt", "/tmp/evil.txt", "C:\\evil.txt", "..", ".", "", "a/../../b", "a\0b",
    "x" * 300, "ä.txt", "b/c.txt/d", "\\\\host\\share", "__MACOSX/._a", "con", "a//b", "./a.txt", "\u202e.txt", "d/",
)  # fmt: skip
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


class Archives:
    """Zips of a few entries with malicious names and types, then with changed bytes."""

    expected: tuple[type[Exception], ...] = (ArchiveError,)

    def case(self, rng: Random) -> None:
        data = _zip(rng)
        if rng.random() < 0.8:
            data = mutate_bytes(data, (data,), rng, max_changes=4)
        with tempfile.TemporaryDirectory(prefix="fuzz-") as sandbox:
            folder = Path(sandbox) / "outer" / "inner"
            folder.mkdir(parents=True)
            try:
                unpack(io.BytesIO(data), folder, MAX_BYTES)
                top_folder(folder)
            finally:
                _check_contents(Path(sandbox), folder)


def _check_contents(sandbox: Path, folder: Path) -> None:
    size = 0
    for path in sandbox.rglob("*"):
        if path not in (folder, folder.parent) and not path.is_relative_to(folder):
            raise WrongResult(f"{path.relative_to(sandbox)} was written outside the folder")
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise WrongResult(f"{path.relative_to(sandbox)} is no plain file or folder")
        size += path.stat().st_size if path.is_file() else 0
    if size > MAX_BYTES + (1 << 20):
        raise WrongResult(f"{size:,} bytes were written")


def _zip(rng: Random) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")  # of repeated names
        for _ in range(rng.randint(0, 5)):
            entry = zipfile.ZipInfo(rng.choice(_NAMES))
            entry.compress_type = rng.choice(_METHODS)
            if rng.random() < 0.2:
                entry.external_attr = rng.choice((stat.S_IFLNK, stat.S_IFIFO, stat.S_IFDIR, stat.S_IFCHR)) << 16
            large = rng.random() < 0.05
            archive.writestr(entry, bytes(MAX_BYTES) if large else rng.randbytes(rng.choice((0, 1, 100, 5000))))
        archive.comment = rng.randbytes(rng.choice((0, 0, 100)))
    return buffer.getvalue()
