"""Rows of delimited tables, quoted or not. A malformed row does not affect the others."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from captioner.errors import DataError
from captioner.text.counting import counted
from training.data.readers.fields import Fields, explain_missing, find_fields, is_address, normal_key
from training.data.readers.files import head_bytes, head_of, is_text, lines_of, read_lines, refuse_encoding
from training.data.readers.listing import Listing
from training.data.readers.photos import is_photo
from training.data.readers.text_files import why_no_text

_DELIMITERS = "\t,;|"
_UNQUOTED = "\t|"
"""Separators of tables that are often written without quotes."""
_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "|"}
_MAX_QUOTED_LINES = 100
"""Maximum number of lines of a quoted text."""
_MAX_LINES_ABOVE = 10
"""Maximum number of lines above the header: Excel's sep=, a title, a comment, empty lines."""
_TOP_BYTES = 1 << 14
_SEPARATOR_LINE = re.compile(r'"?sep=.?"?', re.IGNORECASE)


@dataclass(frozen=True)
class Header:
    """Columns of a table and their separator."""

    delimiter: str
    names: tuple[str, ...]
    """Column names; repeated ones are numbered."""
    fields: Fields

    @property
    def image(self) -> int:
        """Index of the photo's column."""
        return self.names.index(self.fields.image[0])


def top_line(table: Path) -> str:
    """Return the line that should be the header; empty if the file cannot be read as text."""
    lines = lines_of(head_of(table, _TOP_BYTES))
    line = lines[_header_index(lines)] if lines else ""
    return line if is_text(line) else ""


def _header_index(lines: list[str]) -> int:
    """Return the index of the header, below lines outside the table; that of the first line if there is no header."""
    for index, line in enumerate(lines[:_MAX_LINES_ABOVE]):
        cells = [cell for cell in line.strip("\t,;| ").replace("\t", ";").split(";") if cell.strip()]
        if not cells or _SEPARATOR_LINE.fullmatch(line.strip()) or line.lstrip().startswith("#"):
            continue
        if find_header(line) is not None:
            return index
        if len(cells) > 1 or "," in cells[0] or "|" in cells[0]:
            break
    non_blank = (index for index, line in enumerate(lines[:_MAX_LINES_ABOVE]) if line.strip())
    return next(non_blank, 0)


def find_header(line: str) -> Header | None:
    """Parse a first line as a header; return None if no column is a photo or a caption."""
    for delimiter in _DELIMITERS:
        names = _number_repeats(_split_cells(line, delimiter))
        if (fields := find_fields(names)) is not None:
            return Header(delimiter, names, fields)
    return None


def may_be_row(line: str) -> bool:
    """Return whether a line has columns, a photo's name or a URL, and is not a sentence."""
    return any(delimiter in line for delimiter in "\t;|") or any(
        is_photo(word) or is_address(word) for word in re.split("[ ,]", line)
    )


def explain(line: str) -> str:
    """Explain why a first line is not the header of a table of captions, as the rest of a sentence."""
    if not line.strip():
        return "its first line is empty or not text"
    cells = max((_split_cells(line, delimiter) for delimiter in _DELIMITERS), key=len)
    if address := next((cell for cell in cells if is_address(cell)), None):
        return (
            f"its first line is no header, and its photos are addresses ({address[:80]}), which are not fetched:"
            " download them (img2dataset does), and write a table of file names and captions"
        )
    if any(is_photo(cell) for cell in cells):
        delimiter = max(_DELIMITERS, key=lambda candidate: len(_split_cells(line, candidate)))
        names = "image<tab>caption" if delimiter == "\t" else f"image{delimiter}caption"
        return f"its first line is no header: write the names of the columns above it ({names}); it holds {line[:80]!a}"
    if len(cells) == 1 and is_photo(line.split()[0]):
        return (
            "its photos and captions are separated by a space: write a tab between them, and image<tab>caption above"
            f" them; its first line holds {line[:80]!a}"
        )
    return explain_missing(cells)


def read_rows(table: Path, listing: Listing) -> Iterator[tuple[int, dict[str, str], Header]]:
    """Yield the line number, cells by column, and header of every valid row; other rows become problems.

    Raises DataError if the header has no photo or caption column.
    """
    if reason := why_no_text(head_bytes(table, 1024)):
        raise DataError(f"{table}: {reason}")
    lines = read_lines(table)
    header_index = _header_index(lines)
    header = find_header(lines[header_index]) if lines else None
    if header is None:
        raise DataError(
            f"{table}:{header_index + 1}: the first line must name the columns, among them image (or file_name, path,"
            f" ...) and caption (or text, title, ...): {explain(lines[header_index] if lines else '')}"
        )
    width = len(header.names)
    index = header_index + 1
    while index < len(lines):
        start = index
        row, index = _assemble(lines, start, header)
        if isinstance(row, list):
            if not any(cell.strip() for cell in row):
                continue
            while len(row) > width and not row[-1].strip():  # spreadsheets add empty columns at the end
                row.pop()
        if not all(is_text(line) for line in lines[start:index]):
            refuse_encoding(listing, table, start + 1)
        elif isinstance(row, str):
            listing.add_problem("bad_entry", table, start + 1, row)
        elif len(row) != width:
            listing.add_problem("bad_entry", table, start + 1, _explain_width(row, width, header.delimiter))
        else:
            yield start + 1, dict(zip(header.names, row, strict=True)), header


def _split_cells(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]
    except csv.Error:
        return []


def _number_repeats(names: list[str]) -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    unique_names = []
    for name in names:
        counts[normal_key(name)] += 1
        count = counts[normal_key(name)]
        unique_names.append(name if count == 1 else f"{name}_{count}")
    return tuple(unique_names)


def _explain_width(row: list[str], width: int, delimiter: str) -> str:
    name = _NAMES[delimiter]
    problem = f"has {counted(len(row), 'column')} where the header has {width}"
    if len(row) < width:
        return f"{problem}: a separator ({name}) is missing in {delimiter.join(row)[:80]!a}"
    return f"{problem}: its text holds the separator ({name}), so put quotes around the text"


def _assemble(lines: list[str], start: int, header: Header) -> tuple[list[str] | str, int]:
    """Assemble the row that starts in a line. Return it, or its error, and the index of the next line.

    A quoted text may span several lines. An unclosed quote must not swallow the rows below it, so the row ends before a
    line that is a whole row. A line with as many separators as the header is split as it is if its quotes are invalid:
    captions may begin with a quotation, and many tables are written without quotes.
    """
    delimiter, width = header.delimiter, len(header.names)
    text = lines[start]
    unquoted = text.split(delimiter) if text.count(delimiter) == width - 1 else None
    end = start + 1
    while True:
        try:
            stream = io.StringIO(text, newline="")
            row = next(csv.reader(stream, delimiter=delimiter, strict=True, skipinitialspace=True), [])
            return (unquoted, start + 1) if unquoted and len(row) != width else (row, end)
        except csv.Error as error:
            if "unexpected end of data" not in str(error):
                if unquoted:
                    return unquoted, start + 1
                if cells := _split_escaped(text, delimiter, width):
                    return cells, start + 1
                return f"cannot be read ({error}): put quotes around the text, and double those in it", start + 1
        if end == len(lines) or end - start > _MAX_QUOTED_LINES or _is_row(lines[end], lines[start], header):
            if unquoted and delimiter in _UNQUOTED:
                return unquoted, start + 1
            return "opens a quote that is not closed: close it, or double it where the text begins with one", start + 1
        text += "\n" + lines[end]
        end += 1


def _split_escaped(line: str, delimiter: str, width: int) -> list[str] | None:
    r"""Split a row whose quotes are escaped as \", as databases write them; return None if it is not one."""
    if '\\"' not in line:
        return None
    reader = csv.reader(
        [line], delimiter=delimiter, escapechar="\\", doublequote=False, strict=True, skipinitialspace=True
    )
    try:
        row = next(reader)
    except csv.Error:
        return None
    return row if len(row) == width else None


def _is_row(line: str, previous_line: str, header: Header) -> bool:
    """Return whether a line is a separate row, given the row before it, whose photo may have no extension."""
    cells, previous_cells = _split_cells(line, header.delimiter), _split_cells(previous_line, header.delimiter)
    if len(cells) != len(header.names):
        return False
    name = cells[header.image]
    previous_name = previous_cells[header.image] if len(previous_cells) > header.image else ""
    if is_photo(name):
        return True
    if '"' in name:  # the end of a quoted name with a line break
        return False
    return not is_photo(previous_name) and name != "" and len(name.split()) == len(previous_name.split()) == 1
