"""Reader of Parquet in Hugging Face's layouts: photos or their names in the file. Needs pyarrow, an optional extra."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from captioner.commands.extras import how_to_install
from captioner.errors import DataError
from training.data.readers.caption_files import CaptionFiles, with_splits
from training.data.readers.fields import Fields, explain_missing, find_fields
from training.data.readers.files import report_unused
from training.data.readers.listing import Listing
from training.data.readers.photos import PhotoFinder
from training.data.readers.rows import Rows
from training.data.readers.unpacked import PackedPhoto, unpack

LAYOUT = "Parquet with image and caption columns, the photos inside it or beside it (Hugging Face; needs pyarrow)"

INSTALL = f"pyarrow is not installed: {how_to_install('parquet', 'pyarrow')}"

_BATCH_ROWS = 64
_BATCH_PHOTOS = 4  # rows with photos that are in memory together
_MAX_FILES = 10_000


def files(caption_files: CaptionFiles, weak: bool = False) -> list[Path]:
    """Find the Parquet files of captions in a folder, or return the single file if it is one.

    weak: include files that name photos only by an id or a URL. Without pyarrow, every Parquet file counts as weak, so
    that `read` reports how to install it.
    """
    if caption_files.is_file:
        return [caption_files.path] if caption_files.path.suffix.lower() in (".parquet", ".pq") else []
    return caption_files.choose_first((".parquet", ".pq"), lambda file: _is_caption_file(file, weak), _MAX_FILES)


def read(path: Path, images: Path | None) -> Listing:
    """List the rows of a Parquet file, or of a folder's files; photos inside are unpacked beside the file.

    The split comes from a column, or from the file's name (train-00000-of-00002.parquet) or folder.
    Raises DataError if pyarrow is missing, for a file without such columns, and for files that may repeat others.
    """
    caption_files = CaptionFiles(path)
    used_files = [path] if caption_files.is_file else files(caption_files) or files(caption_files, weak=True)
    if not used_files:
        raise DataError(f"{path} holds no Parquet file of captions: this format is {LAYOUT}")
    root = path.parent if caption_files.is_file else path
    listing = Listing(root, PhotoFinder([root if images is None else images]))
    for file, split in with_splits(used_files, root):
        _read_file(file, split, images, listing)
    if not caption_files.is_file:
        report_unused(listing, root, used_files)
    return listing


def explain(file: Path) -> str:
    """Explain why a Parquet file is not read, as the rest of a sentence that starts with its name."""
    try:
        return explain_missing(_open(file).schema_arrow.names)
    except DataError as error:
        return str(error).removeprefix(f"{file}: ")


def _is_caption_file(file: Path, weak: bool) -> bool:
    try:
        fields = find_fields(_open(file).schema_arrow.names)
    except DataError:
        return weak
    return fields is not None and (weak or not fields.weak)


def _open(file: Path) -> Any:
    """Open a pyarrow.parquet.ParquetFile. Raises DataError."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(f"{file}: is Parquet, and {INSTALL}") from error
    try:
        return pyarrow.parquet.ParquetFile(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{file}: is not a readable Parquet file ({error}): fetch it again") from error


def _read_file(file: Path, split: str | None, images: Path | None, listing: Listing) -> None:
    table = _open(file)
    fields = find_fields(table.schema_arrow.names)
    if fields is None:
        raise DataError(f"{file}: {explain_missing(table.schema_arrow.names)}")
    names = table.schema_arrow.names
    if repeated_name := next((name for name in (*fields.image, *fields.captions) if names.count(name) > 1), None):
        raise DataError(
            f"{file} has {names.count(repeated_name)} columns named {repeated_name}: rename all but one of them"
        )
    rows = Rows(listing, file, split, images)
    if _holds_photos(table, fields.image[0]):
        for entry, photo, name, record in unpack(file, _photos(file, table, fields)):
            rows.add_unpacked(entry, record, fields, name, photo)
    else:
        for number, record in _rows(file, table, fields, _BATCH_ROWS):
            rows.add(f"row {number}", record, fields)
    rows.finish()


def _holds_photos(table: Any, column: str) -> bool:
    """Return whether a column holds the bytes of files, directly or as Hugging Face's {bytes, path}."""
    import pyarrow.types as types

    column_type = table.schema_arrow.field(column).type
    if types.is_struct(column_type):
        names = [column_type.field(index).name for index in range(column_type.num_fields)]
        return "bytes" in names and _is_bytes(column_type.field("bytes").type)
    return _is_bytes(column_type)


def _is_bytes(column_type: Any) -> bool:
    import pyarrow.types as types

    return types.is_binary(column_type) or types.is_large_binary(column_type)


def _rows(file: Path, table: Any, fields: Fields, batch_size: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number, from 1, and the needed columns of every row."""
    import pyarrow

    flags = (flag for flag, _ in fields.flags)
    columns = dict.fromkeys((*fields.image, *fields.captions, *flags, *([fields.split] if fields.split else ())))
    number = 0
    try:
        for batch in table.iter_batches(batch_size=batch_size, columns=list(columns)):
            for record in batch.to_pylist():
                number += 1
                yield number, record
    except (OSError, ValueError, pyarrow.ArrowException) as error:  # ValueError: text that is not UTF-8
        raise DataError(f"{file} is damaged after row {number} ({error}): fetch it again") from error


def _photos(file: Path, table: Any, fields: Fields) -> Iterator[PackedPhoto]:
    for number, record in _rows(file, table, fields, _BATCH_PHOTOS):
        value = record.pop(fields.image[0])
        content, name = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        name = name or next((record[key] for key in fields.image[1:] if isinstance(record.get(key), str)), None)
        # Names may repeat within a table, so the number of the row is part of the name.
        name = f"{number:06d}" + (f"-{name.replace('/', '-')}" if name else "")
        yield PackedPhoto(f"row {number}", name, content if isinstance(content, bytes) else None, record)
