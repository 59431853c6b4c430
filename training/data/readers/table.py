"""Reader of tables of photos and captions: CSV, TSV and JSON lines."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from captioner.errors import DataError
from training.data.readers import table_rows
from training.data.readers.caption_files import CaptionFiles, with_splits
from training.data.readers.fields import Fields, explain_missing, find_fields
from training.data.readers.files import head_bytes, head_of, numbered_lines, report_unused
from training.data.readers.listing import Listing
from training.data.readers.photos import PhotoFinder
from training.data.readers.rows import Rows
from training.data.readers.text_files import why_no_text

LAYOUT = (
    "a .csv, .tsv or .jsonl with columns such as image and caption (and split), or one for each split, and the photos"
    " beside it or in images/"
)

_JSON_LINES = (".jsonl", ".ndjson")
_CELLS = (".csv", ".tsv")
_LINE_BYTES = 1 << 18
"""Maximum length of the first line of a JSON lines file."""


def files(caption_files: CaptionFiles, weak: bool = False) -> list[Path]:
    """Find the tables of a folder, or return the single file if it is one.

    weak: include tables that name photos only by an id or a URL.
    """
    if caption_files.is_file and caption_files.path.suffix.lower() in _CELLS:
        return [caption_files.path]  # `read` reports a missing header
    accepts = partial(is_table, weak=weak)
    # A folder may hold a hundred thousand sidecars, so only a few .txt and .json files are opened.
    return caption_files.choose_first((*_CELLS, *_JSON_LINES, ".txt", ".json"), accepts) or (
        [caption_files.path]
        if caption_files.is_file
        and caption_files.path.suffix.lower() in _JSON_LINES
        and _head_fields(caption_files.path)
        else []
    )


def read(path: Path, images: Path | None) -> Listing:
    """List the rows of a table, or of a folder's tables.

    Columns are recognised by the header or the keys of JSON lines (fields.py). Without a split column, the split comes
    from the table's name or folder (captions_train.csv, train/metadata.csv), or from the first folder of an image path.
    Photos are searched for relative to the table's folder, to the data set's, and to images/ in either; or in `images`.
    Raises DataError for a table without such columns, and for tables that may repeat each other.
    """
    caption_files = CaptionFiles(path)
    tables = (
        [path]
        if caption_files.is_file
        else files(caption_files) or files(caption_files, weak=True) or subfolder_files(caption_files)
    )
    if not tables:
        raise DataError(f"{path} holds no table: this format is {LAYOUT}")
    root = path.parent if caption_files.is_file else path
    listing = Listing(root, PhotoFinder([images if images is not None else root]))
    for table, split in with_splits(tables, root):
        rows = Rows(listing, table, split, images)
        problem_count, line = len(listing.problems), None
        for line, record, fields in _json_rows(table, listing) if _is_json(table) else _cell_rows(table, listing):
            rows.add(line, record, fields)
        if line is None and len(listing.problems) == problem_count:
            listing.add_problem("unused_file", table, None, "has a header but no rows: add a row for each caption")
        rows.finish()
    if not caption_files.is_file:
        report_unused(listing, root, tables)
    return listing


def subfolder_files(caption_files: CaptionFiles) -> list[Path]:
    """Find the tables in subfolders of any name."""
    return caption_files.choose(caption_files.other_files(), (*_CELLS, *_JSON_LINES), is_table)


def is_table(file: Path, weak: bool = False) -> bool:
    """Return whether the first line names a photo and captions."""
    fields = _head_fields(file)
    return fields is not None and (weak or not fields.weak)


def explain(file: Path) -> str:
    """Explain why a file is not a table of captions, as the rest of a sentence that starts with its name."""
    if reason := why_no_text(head_bytes(file, 1024)):
        return reason
    if not _is_json(file):
        return table_rows.explain(table_rows.top_line(file))
    keys = _first_record(file)
    return explain_missing(keys, "key") if keys is not None else "its first line is not a JSON object"


def _head_fields(file: Path) -> Fields | None:
    if _is_json(file):
        record = _first_record(file)
        return find_fields(record) if record is not None else None
    header = table_rows.find_header(table_rows.top_line(file))
    return header and header.fields


def _is_json(file: Path) -> bool:
    return file.suffix.lower() in (*_JSON_LINES, ".json")


def _first_record(file: Path) -> dict[str, Any] | None:
    """Return the object in the first line of JSON lines; None for other JSON."""
    line, _, rest = head_of(file, _LINE_BYTES).lstrip().partition("\n")
    if file.suffix.lower() == ".json" and not rest.lstrip().startswith("{"):
        return None
    try:
        record = json.loads(_strip_comma(line))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _strip_comma(line: str) -> str:
    """Remove the comma after a JSON object that was copied from a list."""
    return line.rstrip().removesuffix(",")


def _cell_rows(table: Path, listing: Listing) -> Iterator[tuple[int, dict[str, str], Fields]]:
    for line, record, header in table_rows.read_rows(table, listing):
        yield line, record, header.fields


def _json_rows(table: Path, listing: Listing) -> Iterator[tuple[int, dict[str, Any], Fields]]:
    for number, line in numbered_lines(table, listing):
        try:
            record = json.loads(_strip_comma(line))
        except (ValueError, RecursionError) as error:
            listing.add_problem("bad_entry", table, number, f"is not JSON: {error}")
            continue
        fields = find_fields(record) if isinstance(record, dict) else None
        if fields is None:
            reason = explain_missing(record, "key") if isinstance(record, dict) else "it is not an object"
            listing.add_problem("bad_entry", table, number, f'is not an object with "image" and "caption": {reason}')
        else:
            yield number, record, fields
