"""Formats of exports, and their streams: one file, or one zip."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from captioner.config import SIDECAR_ENDINGS
from captioner.errors import ConfigError
from captioner.exports import texts
from captioner.exports.archives import tar_shard, zip_copies, zip_sidecars, zip_with_photos
from captioner.exports.names import UniqueNames, safe_name
from captioner.exports.records import ExportRecord

_CHUNK_BYTES = 1 << 16
_ZIP = "application/zip"


@dataclass(frozen=True)
class ExportFormat:
    """Format that captions can be written in."""

    description: str
    """A phrase for people who choose a format."""
    file_name: str
    """Usual name of its file."""
    media_type: str
    text: Callable[[texts.NamedRecords], Iterator[str]] | None = None
    """Function that yields its text; None for formats of many files."""
    errors: str = "strict"
    """Python's error handler for names of files that are not UTF-8."""
    has_photos: bool = False
    """Whether it always contains the photos."""


EXPORT_FORMATS = {
    "txt": ExportFormat("a .txt beside each photo, as most trainers of image generators read", "captions.zip", _ZIP),
    "caption": ExportFormat("a .caption beside each photo", "captions.zip", _ZIP),
    "metadata": ExportFormat(
        "metadata.jsonl of Hugging Face's imagefolder", "metadata.jsonl", "application/jsonl", texts.metadata_lines
    ),
    "csv": ExportFormat(
        "a table of image, caption and confidence", "captions.csv", "text/csv", texts.csv_rows, "surrogateescape"
    ),
    "jsonl": ExportFormat(
        "a line of JSON for each photo, with all details", "captions.jsonl", "application/jsonl", texts.json_lines
    ),
    "coco": ExportFormat(
        "COCO captions JSON, to train captioners on", "captions.json", "application/json", texts.coco_captions
    ),
    "webdataset": ExportFormat(
        "a tar of photos and texts, as WebDataset and img2dataset write it", "captions-000000.tar", "application/x-tar",
        has_photos=True,
    ),
    "html": ExportFormat(
        "a page of the photos with their alternative texts", "captions.html", "text/html", texts.html_page
    ),
    "xmp": ExportFormat(
        "copies of the photos that carry their captions as XMP and IPTC data", "photos.zip", _ZIP, has_photos=True
    ),
}  # fmt: skip
"""Name -> format."""


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export."""

    photos: bool = False
    """Whether to put the photos beside the captions, in one zip; webdataset and xmp always hold them."""
    prefix: str = ""
    """Text before each caption of a sidecar."""
    suffix: str = ""
    """Text after each caption of a sidecar."""


@dataclass(frozen=True)
class ExportFile:
    """Name and media type of an export's one file."""

    file_name: str
    media_type: str


def export_format(name: str) -> ExportFormat:
    """Return the format of a name. Raises ConfigError, with all names, if there is none."""
    if name not in EXPORT_FORMATS:
        raise ConfigError(f"there is no format {name!r}: name one of {', '.join(EXPORT_FORMATS)}")
    return EXPORT_FORMATS[name]


def export_file(name: str, options: ExportOptions = ExportOptions()) -> ExportFile:
    """Return the file name and media type of an export. Raises ConfigError as `export_format`."""
    form = export_format(name)
    if options.photos and not form.has_photos:
        return ExportFile("photos.zip", _ZIP)
    return ExportFile(form.file_name, form.media_type)


def write_export(
    name: str, records: Iterable[ExportRecord], file: BinaryIO, options: ExportOptions = ExportOptions()
) -> ExportFile:
    """Write records in a format as one file or one zip; return its name and media type.

    file: only its `write` is called. Records are read one after the other, and at most one photo is in memory.
    Raises ConfigError for an unknown format and for xmp without exiv2, DataError if a photo cannot be read.
    """
    for chunk in export_chunks(name, records, options):
        file.write(chunk)
    return export_file(name, options)


def export_chunks(
    name: str, records: Iterable[ExportRecord], options: ExportOptions = ExportOptions()
) -> Iterator[bytes]:
    """Yield what `write_export` writes, for an answer by HTTP. Raises ConfigError before the first chunk."""
    return _joined(_parts(name, export_format(name), records, options))


def _parts(name: str, form: ExportFormat, records: Iterable[ExportRecord], options: ExportOptions) -> Iterator[bytes]:
    if name in SIDECAR_ENDINGS:
        return zip_sidecars(records, SIDECAR_ENDINGS[name], options.prefix, options.suffix, options.photos)
    if name == "webdataset":
        return tar_shard(records)
    if name == "xmp":
        return zip_copies(records)
    if options.photos:
        return zip_with_photos(records, form.file_name, lambda photos: encoded_text(form, photos))
    return encoded_text(form, _named(records))


def encoded_text(form: ExportFormat, photos: texts.NamedRecords) -> Iterator[bytes]:
    """Yield the text of a format that is one text, in UTF-8. photos: paths relative to the text, and records."""
    return (part.encode("utf-8", form.errors) for part in form.text(photos))


def _named(records: Iterable[ExportRecord]) -> Iterator[tuple[str, ExportRecord]]:
    names = UniqueNames()
    for record in records:
        yield names.number(safe_name(record.name)), record


def _joined(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Join small parts into chunks of some 64 KB."""
    waiting: list[bytes] = []
    size = 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= _CHUNK_BYTES:
            yield b"".join(waiting)
            waiting.clear()
            size = 0
    if size:
        yield b"".join(waiting)
