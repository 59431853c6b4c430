"""Rows of tables with separators, quoted or not: one broken row never takes others with it."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from captioner.errors import DataError
from training.readers.fields import Fields, explain_missing, find_fields, is_address, normal_key
from training.readers.files import is_text, read_lines, refuse_encoding
from training.readers.listing import Listing
from training.readers.photos import is_photo

_DELIMITERS = "\t,;|"
_UNQUOTED = "\t|"
"""Separators of tables that are often written without any quoting."""
_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "|"}
_MOST_LINES = 100
"""Lines of one quoted text."""


@dataclass(frozen=True)
class Header:
    """The columns of a table, and what separates them."""

    delimiter: str
    names: tuple[str, ...]
    """Repeated names are numbered."""
    fields: Fields

    @property
    def image(self) -> int:
        """The column of the photo."""
        return self.names.index(self.fields.image[0])


def find_header(line: str) -> Header | None:
    """Read a first line as names of columns; None where these name no photo or no caption."""
    for delimiter in _DELIMITERS:
        names = _numbered(_cells(line, delimiter))
        if (fields := find_fields(names)) is not None:
            return Header(delimiter, names, fields)
    return None


def explain(line: str) -> str:
    """Why a first line is no header of a table of captions, as the rest of a sentence."""
    if not line.strip():
        return "its first line is empty or no text"
    cells = max((_cells(line, delimiter) for delimiter in _DELIMITERS), key=len)
    if address := next((cell for cell in cells if is_address(cell)), None):
        return (
            f"its first line is no header, and its photos are addresses ({address[:80]}), which are not fetched:"
            " download them (img2dataset does), and write a table of file names and captions"
        )
    if any(is_photo(cell) for cell in cells):
        return (
            "its first line is no header: write the names of the columns above it (image,caption); it holds"
            f" {line[:80]!a}"
        )
    return explain_missing(cells)


def read_rows(table: Path, listing: Listing) -> Iterator[tuple[int, dict[str, str], Header]]:
    """Line number, cells by column, and the header, for every whole row; others become problems of the listing.

    Raises DataError where the first line names no photo or no captions.
    """
    lines = read_lines(table)
    header = find_header(lines[0]) if lines else None
    if header is None:
        raise DataError(
            f"{table}:1: the first line must name the columns, among them image (or file_name, path, ...) and caption"
            f" (or text, title, ...): {explain(lines[0] if lines else '')}"
        )
    width = len(header.names)
    index = 1
    while index < len(lines):
        start = index
        row, index = _assemble(lines, start, header)
        if not any(line.strip() for line in lines[start:index]):
            continue
        if not all(is_text(line) for line in lines[start:index]):
            refuse_encoding(listing, table, start + 1)
        elif isinstance(row, str):
            listing.refuse("bad_entry", table, start + 1, row)
        elif len(row) != width:
            listing.refuse("bad_entry", table, start + 1, _explain_width(row, width, header.delimiter))
        else:
            yield start + 1, dict(zip(header.names, row, strict=True)), header


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]
    except csv.Error:
        return []


def _numbered(names: list[str]) -> tuple[str, ...]:
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        seen[normal_key(name)] += 1
        count = seen[normal_key(name)]
        numbered.append(name if count == 1 else f"{name}_{count}")
    return tuple(numbered)


def _explain_width(row: list[str], width: int, delimiter: str) -> str:
    name = _NAMES[delimiter]
    found = f"has {len(row)} column{'s' if len(row) != 1 else ''} where the header has {width}"
    if len(row) < width:
        return f"{found}: a separator ({name}) is missing in {delimiter.join(row)[:80]!a}"
    return f"{found}: its text holds the separator ({name}), so put quotes around the text"


def _assemble(lines: list[str], start: int, header: Header) -> tuple[list[str] | str, int]:
    """The row that starts in a line, or what is wrong with it; and the line after it.

    A quoted text may go over several lines. A quote that is never closed must not swallow the rows below: where the
    next line is a whole row of its own, the row ends here. A line with as many separators as the header is taken as it
    stands where its quotes make no sense: captions begin with a quotation, and much is written without quoting.
    """
    delimiter, width = header.delimiter, len(header.names)
    text = lines[start]
    plain = text.split(delimiter) if text.count(delimiter) == width - 1 else None
    end = start + 1
    while True:
        try:
            stream = io.StringIO(text, newline="")
            row = next(csv.reader(stream, delimiter=delimiter, strict=True, skipinitialspace=True), [])
            return (plain, start + 1) if plain and len(row) != width else (row, end)
        except csv.Error as error:
            if "unexpected end of data" not in str(error):
                if plain:
                    return plain, start + 1
                return f"cannot be read ({error}): put quotes around the text, and double those in it", start + 1
        if end == len(lines) or end - start > _MOST_LINES or _is_row(lines[end], lines[start], header):
            if plain and delimiter in _UNQUOTED:
                return plain, start + 1
            return "opens a quote that is not closed: close it, or double it where the text begins with one", start + 1
        text += "\n" + lines[end]
        end += 1


def _is_row(line: str, before: str, header: Header) -> bool:
    """Whether a line is a row of its own, beside a row before it whose photo may have a name without extension."""
    cells, earlier = _cells(line, header.delimiter), _cells(before, header.delimiter)
    if len(cells) != len(header.names):
        return False
    name, like = cells[header.image], earlier[header.image] if len(earlier) > header.image else ""
    return is_photo(name) or not is_photo(like) and name != "" and len(name.split()) == len(like.split()) == 1
