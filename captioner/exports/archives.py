"""Zips and tars of photos and captions as streams: at any time, one photo is in memory."""

import io
import json
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from captioner.exports.copies import captioned_copy, require_exiv2
from captioner.exports.names import SidecarNames, UniqueNames, archive_name, split_extension
from captioner.exports.records import ExportRecord
from captioner.exports.sidecars import sidecar_text
from captioner.exports.texts import NamedRecords

_SPOOL_BYTES = 1 << 23
"""Size from which the text beside photos waits in a temporary file."""
_COPY_BYTES = 1 << 20
_KEY_CHARACTERS = str.maketrans({chr(code): "_" for code in (*range(32), 127, ord("."))})
"""Characters that a key of WebDataset cannot hold: it ends at the first dot, and its readers match it on one line."""


class Pipe(io.RawIOBase):
    """Write-only file whose content is taken out while it is written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return and forget what was written since the last call."""
        content = b"".join(self._parts)
        self._parts.clear()
        return content


def zip_sidecars(
    records: Iterable[ExportRecord], ending: str, prefix: str, suffix: str, photos: bool
) -> Iterator[bytes]:
    """Yield a zip with a text file for each photo, and with the photos if requested."""
    pipe, names, sidecars = Pipe(), UniqueNames(), SidecarNames(ending)
    with ZipFile(pipe, "w") as archive:
        for record in records:
            name = names.number(archive_name(record.name))
            if photos:
                _store(archive, name, record.read())
            text = sidecar_text(record.captions, prefix, suffix)
            archive.writestr(_member(sidecars.name(name), ZIP_STORED), text.encode())
            yield pipe.take()
    yield pipe.take()


def zip_with_photos(
    records: Iterable[ExportRecord], file_name: str, encode: Callable[[NamedRecords], Iterator[bytes]]
) -> Iterator[bytes]:
    """Yield a zip of the photos and of one text about them. encode: yields the text."""
    pipe, names = Pipe(), UniqueNames()
    names.take(file_name)

    def stored() -> Iterator[tuple[str, ExportRecord]]:
        for record in records:
            name = names.number(archive_name(record.name))
            _store(archive, name, record.read())
            yield name, record

    with ZipFile(pipe, "w") as archive, tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as text:
        for part in encode(stored()):
            text.write(part)
            yield pipe.take()
        text.seek(0)
        with archive.open(_member(file_name, ZIP_DEFLATED), "w", force_zip64=True) as member:
            shutil.copyfileobj(text, member, _COPY_BYTES)
        yield pipe.take()
    yield pipe.take()


def zip_copies(records: Iterable[ExportRecord]) -> Iterator[bytes]:
    """Yield a zip of copies that carry the first caption, as `captioned_copy` makes them; .xmp files where it must.

    Raises ConfigError at once if exiv2 is not installed.
    """
    require_exiv2()
    return _zip_copies(records)


def _zip_copies(records: Iterable[ExportRecord]) -> Iterator[bytes]:
    pipe, names = Pipe(), UniqueNames()
    with ZipFile(pipe, "w") as archive:
        for record in records:
            name = names.number(archive_name(record.name))
            copy = captioned_copy(record.read(), record.captions[0])
            _store(archive, name, copy.content)
            if copy.sidecar is not None:
                archive.writestr(_member(names.number(f"{name}.xmp"), ZIP_DEFLATED), copy.sidecar)
            yield pipe.take()
    yield pipe.take()


class TarShard:
    """Tar in the conventions of WebDataset, as img2dataset writes them: KEY.jpg, KEY.txt and KEY.json for each photo.

    The .txt has the captions, one on each line; the .json has `file_name`, `caption`, `captions`, and what is known of
    `confidence`, `width` and `height`. See https://github.com/webdataset/webdataset.
    """

    def __init__(self, file) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT)
        self._keys = UniqueNames()

    def add(self, record: ExportRecord) -> int:
        """Add a photo with its captions; return the bytes of their files. Raises DataError as `ExportRecord.read`."""
        name = archive_name(record.name)
        stem, ending = split_extension(name)
        key = self._keys.number(stem.translate(_KEY_CHARACTERS))
        values = {"file_name": name, "caption": record.captions[0], "captions": record.captions}
        if record.confidence is not None:
            values["confidence"] = record.confidence
        if record.size is not None:
            values["width"], values["height"] = record.size
        contents = {
            ending.lower() or ".jpg": record.read(),
            ".txt": sidecar_text(record.captions).encode(),
            ".json": json.dumps(values, ensure_ascii=False).encode(),
        }
        for suffix, content in contents.items():
            member = tarfile.TarInfo(key + suffix)
            member.size, member.mtime = len(content), int(time.time())
            self._tar.addfile(member, io.BytesIO(content))
        self._tar.members.clear()  # tarfile would keep a list of all members
        return sum(map(len, contents.values()))

    def close(self) -> None:
        """Write the end of the tar; the file stays open."""
        self._tar.close()


def tar_shard(records: Iterable[ExportRecord]) -> Iterator[bytes]:
    """Yield one shard with all records."""
    pipe = Pipe()
    shard = TarShard(pipe)
    for record in records:
        shard.add(record)
        yield pipe.take()
    shard.close()
    yield pipe.take()


def _store(archive: ZipFile, name: str, content: bytes) -> None:
    archive.writestr(_member(name, ZIP_STORED), content)


def _member(name: str, compression: int) -> ZipInfo:
    member = ZipInfo(name, time.localtime()[:6])
    member.compress_type = compression
    member.external_attr = 0o644 << 16
    return member
