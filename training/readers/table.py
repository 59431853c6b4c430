"""Tables of image and caption: CSV, TSV and JSON lines, one caption a row (or a list of them in JSON)."""

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from captioner.errors import DataError
from training.readers.files import first_line, is_text, numbered_lines, read_lines, refuse_encoding, report_unused
from training.readers.listing import SPLIT_NAMES, Listing
from training.readers.photos import PhotoFinder, is_photo, photo_folders

LAYOUT = (
    "a .csv, .tsv or .jsonl with image and caption (and split, if you like), and the photos beside it or in images/"
)

_IMAGE = tuple(
    "image image_path image_file image_name img img_path file_name filename filepath file_path file path photo".split()
)
_CAPTION = tuple("caption captions text sentence sentences description comment".split())
_SPLIT = ("split", "set", "subset")
_JSON_LINES = (".jsonl", ".ndjson")
_SUFFIXES = (".csv", ".tsv", *_JSON_LINES)
_DELIMITERS = "\t,;|"


def claims(path: Path) -> bool:
    """Whether this is named like a table, or is a folder with one table, or with one for each split."""
    if path.is_dir():
        return bool(_tables(path))
    suffix = path.suffix.lower()
    return suffix in _SUFFIXES or suffix == ".txt" and _is_table(path)


def read(path: Path, images: Path | None) -> Listing:
    """List the rows of a table, or of a folder's tables.

    Columns are told by the header (or JSON keys): image, file_name, path, ...; caption, text, ...; split. Without a
    split column the split is that of the table's name or folder (train.csv, train/metadata.csv), or of the folder that
    an image path starts with. Image paths are relative to the table's folder, or to images/ in it, or to `images`.
    Raises DataError for a table without such columns.
    """
    tables = _tables(path) if path.is_dir() else [(path, None)]
    if not tables:
        raise DataError(f"{path} holds neither one table nor one named after each split: give the path of {LAYOUT}")
    root = path if path.is_dir() else path.parent
    listing = Listing(root, PhotoFinder([images if images is not None else root]))
    for table, split in tables:
        folders = [os.path.relpath(folder, root) for folder in photo_folders(table.parent)]
        if images is not None:
            folders = list(dict.fromkeys([folders[0], "."]))
        rows = _json_rows(table, listing) if table.suffix.lower() in _JSON_LINES else _csv_rows(table, listing)
        for line, image, captions, row_split in rows:
            _add_row(listing, table, line, image, captions, row_split, split, folders)
    if path.is_dir():
        report_unused(listing, root, [table for table, _ in tables])
    return listing


def _tables(root: Path) -> list[tuple[Path, str | None]]:
    """The one table of a folder, or those named after splits, or those in folders named so; with their splits."""
    own = [file for file in sorted(root.iterdir()) if _may_be_table(file) and _is_table(file)]
    if len(own) == 1:
        return [(own[0], None)]
    if own:
        splits = [SPLIT_NAMES.get(file.stem.lower()) for file in own]
        return list(zip(own, splits, strict=True)) if None not in splits else []
    inner = []
    for folder in sorted(root.iterdir()):
        if folder.name.lower() in SPLIT_NAMES and folder.is_dir():
            found = [file for file in sorted(folder.iterdir()) if _may_be_table(file) and _is_table(file)]
            if len(found) > 1:
                return []
            inner += [(file, SPLIT_NAMES[folder.name.lower()]) for file in found]
    return inner


def _may_be_table(file: Path) -> bool:
    # Only captions.txt (Kaggle's Flickr8k) of all .txt files: a folder may hold a hundred thousand sidecars.
    return not file.name.startswith(".") and (file.suffix.lower() in _SUFFIXES or file.name.lower() == "captions.txt")


def _is_table(file: Path) -> bool:
    line = first_line(file)
    if file.suffix.lower() not in _JSON_LINES:
        return _columns(line) is not None
    return any(f'"{key}"' in line for key in _IMAGE) and any(f'"{key}"' in line for key in _CAPTION)


def _columns(header: str) -> tuple[str, int, int, int | None, int] | None:
    """Delimiter, columns of image, caption and split, number of columns; None where the header does not name them."""
    for delimiter in _DELIMITERS:
        try:
            cells = next(csv.reader([header], delimiter=delimiter, skipinitialspace=True), [])
        except csv.Error:
            continue
        names = [cell.strip().lower().replace(" ", "_") for cell in cells]
        image, caption, split = (_first_of(wanted, names) for wanted in (_IMAGE, _CAPTION, _SPLIT))
        if image is not None and caption is not None:
            places = (names.index(name) if name else None for name in (image, caption, split))
            return delimiter, *places, len(names)
    return None


def _first_of(wanted: tuple[str, ...], names: Any) -> str | None:
    return next((name for name in wanted if name in names), None)


def _csv_rows(table: Path, listing: Listing) -> Iterator[tuple[int, Any, list[Any], Any]]:
    """Line, image, captions and split of each row."""
    lines = read_lines(table)
    columns = _columns(lines[0]) if lines else None
    if columns is None:
        found = lines[0][:120] if lines else "nothing"
        raise DataError(
            f"{table}:1: the first line must name the columns, among them image (or file_name, path, ...) and caption"
            f" (or text, ...); it holds: {found!a}"
        )
    delimiter, image, caption, split, width = columns
    index = 1
    while index < len(lines):
        start = index
        row, index = _assemble(lines, start, delimiter, image, width)
        if not any(line.strip() for line in lines[start:index]):
            continue
        if not all(is_text(line) for line in lines[start:index]):
            refuse_encoding(listing, table, start + 1)
        elif isinstance(row, str):
            listing.refuse("bad_entry", table, start + 1, row)
        elif len(row) != width:
            message = f"has {len(row)} columns where the header has {width}: put quotes around the text"
            listing.refuse("bad_entry", table, start + 1, message)
        else:
            yield start + 1, row[image].strip(), [row[caption]], row[split] if split is not None else None


def _assemble(lines: list[str], start: int, delimiter: str, image: int, width: int) -> tuple[list[str] | str, int]:
    """The row that starts in a line, or what is wrong with it; and the line after it.

    A quoted text may go over several lines. A quote that is never closed must not swallow the rows below: where the
    next line is a whole row of its own, the row ends here.
    """
    text = lines[start]
    end = start + 1
    while True:
        try:
            stream = io.StringIO(text, newline="")
            return next(csv.reader(stream, delimiter=delimiter, strict=True, skipinitialspace=True), []), end
        except csv.Error as error:
            if delimiter == "\t" and end == start + 1 and text.count("\t") == width - 1:
                return text.split("\t"), end  # TSV is often written without any quoting
            if "unexpected end of data" not in str(error):
                return f"cannot be read: {error}", start + 1
        if end == len(lines) or end - start > 100 or _is_row(lines[end], delimiter, image, width):
            return "opens a quote that is not closed", start + 1
        text += "\n" + lines[end]
        end += 1


def _is_row(line: str, delimiter: str, image: int, width: int) -> bool:
    try:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return False
    return len(cells) == width and is_photo(cells[image].strip())


def _json_rows(table: Path, listing: Listing) -> Iterator[tuple[int, Any, list[Any], Any]]:
    """Line, image, captions and split of each row."""
    for number, line in numbered_lines(table, listing):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            listing.refuse("bad_entry", table, number, f"is not JSON: {error}")
            continue
        keys = row if isinstance(row, dict) else ()
        image, caption, split = (_first_of(wanted, keys) for wanted in (_IMAGE, _CAPTION, _SPLIT))
        if image is None or caption is None:
            listing.refuse("bad_entry", table, number, 'is not an object with "image" and "caption"')
            continue
        captions = row[caption] if isinstance(row[caption], list) else [row[caption]]
        yield number, row[image], captions, row[split] if split else None


def _add_row(
    listing: Listing,
    table: Path,
    line: int,
    image: Any,
    captions: list[Any],
    row_split: Any,
    table_split: str | None,
    folders: list[str],
) -> None:
    """folders: where, below the finder's folder, the photo may lie; the first tells equal names of two tables apart."""
    if not isinstance(image, str) or not image:
        listing.refuse("bad_entry", table, line, "names no image")
        return
    split = table_split or SPLIT_NAMES.get(image.replace("\\", "/").partition("/")[0].lower())
    named = str(row_split).strip() if row_split is not None else ""
    if named:
        if named.lower() not in SPLIT_NAMES:
            listing.refuse("bad_entry", table, line, f"puts {image} into {named!r}: that is no train, val or test")
            return
        split = SPLIT_NAMES[named.lower()]
    names = tuple(os.path.normpath(os.path.join(folder, image)) for folder in folders)
    listing.add_photo(names[0], names[0], names, split, table, line)
    for caption in captions:
        listing.add_caption(names[0], caption, table, line)
