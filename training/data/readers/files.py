"""Read text and JSON files from any source: unreadable lines are reported with their positions, the rest is used."""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from captioner.errors import DataError
from captioner.text.half_characters import has_half_character
from training.data.readers.listing import Listing
from training.data.readers.photos import is_photo
from training.data.readers.text_files import why_no_json, why_no_text

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_lines(path: Path) -> list[str]:
    """Read the lines of a UTF-8 file, with or without byte order mark, or of UTF-16; other lines fail `is_text`.

    Only line feeds and carriage returns end a line, so that line numbers are those of an editor.
    Raises DataError if the file cannot be opened.
    """
    return lines_of(decode_text(_read(path)))


def lines_of(text: str) -> list[str]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def is_text(line: str) -> bool:
    """Return whether a line of `read_lines`, or a text of JSON, is valid text, which can be written as UTF-8."""
    return "\0" not in line and not has_half_character(line)


def numbered_lines(path: Path, listing: Listing) -> list[tuple[int, str]]:
    """Return the number (from 1) and text of every non-blank line; lines that are not UTF-8 become problems.

    A file that is not text at all (rich text, a spreadsheet, a web page) is one problem without lines.
    """
    if reason := why_no_text(head_bytes(path, 1024)):
        listing.add_problem("bad_entry", path, None, reason)
        return []
    lines = []
    for number, line in enumerate(read_lines(path), start=1):
        if not is_text(line):
            refuse_encoding(listing, path, number)
        elif line.strip():
            lines.append((number, line))
    return lines


def refuse_encoding(listing: Listing, path: Path, number: int) -> None:
    listing.add_problem("bad_entry", path, number, f"{NOT_UTF8}: save the file as UTF-8")


def first_line(path: Path) -> str:
    """Return the first line, at most 4096 bytes of it; empty if the file cannot be read as text."""
    head = re.split("[\r\n]", head_of(path, 4096), maxsplit=1)[0]
    return head if is_text(head) else ""


def head_of(path: Path, size: int) -> str:
    """Return the first `size` bytes as text; empty if the file cannot be opened."""
    return decode_text(head_bytes(path, size))


def head_bytes(path: Path, size: int) -> bytes:
    """Return the first `size` bytes; empty if the file cannot be opened."""
    try:
        with open(path, "rb") as stream:
            return stream.read(size)
    except OSError:
        return b""


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises DataError, with line and column, if it is not JSON."""
    content = _read(path)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}{_line_suffix(error)}: {explain_json(content, error)}") from error


def explain_json(content: bytes, error: Exception) -> str:
    """Explain why content is not JSON, given the error of json.loads, as the rest of a sentence."""
    if isinstance(error, json.JSONDecodeError):
        return why_no_json(content, error.doc, error)
    if isinstance(error, UnicodeDecodeError):
        reason = why_no_text(content)
        return f"is not JSON: it {reason}" if reason else f"{NOT_UTF8} (byte {error.start + 1:,}): save it as UTF-8"
    if isinstance(error, RecursionError):
        return "is not JSON that can be read: its lists and objects are nested too deeply"
    if "digits" in str(error):
        return "is not JSON that can be read: it holds a number of more than 4,300 digits"
    return f"is not JSON that can be read: {error}"


def _line_suffix(error: Exception) -> str:
    return f":{error.lineno}" if isinstance(error, json.JSONDecodeError) and error.doc.strip() else ""


NOT_UTF8 = "is not UTF-8 text"
UNUSED = "is not part of this format, and not used"


def report_unused(listing: Listing, root: Path, used_files: Iterable[Path]) -> None:
    """Report unused files, except photos and hidden ones, in the data set's folder and in those of used files."""
    used_files = list(used_files)
    used_paths = {os.path.abspath(path) for path in used_files}
    for folder in dict.fromkeys([root, *(path.parent for path in used_files)]):
        with os.scandir(folder) as entries:
            files = sorted((entry.name, entry.path) for entry in entries if entry.is_file())
        for name, path in files:
            if not name.startswith(".") and not is_photo(name) and os.path.abspath(path) not in used_paths:
                listing.add_problem("unused_file", path, None, UNUSED)


def decode_text(content: bytes) -> str:
    """Decode a text; invalid bytes become characters that `is_text` refuses."""
    text = content.decode(*encoding_of(content))
    return text.replace("\ufffd", "\0") if content.startswith(_UTF16_MARKS) else text


def encoding_of(head: bytes) -> tuple[str, str]:
    """Return the encoding of a text with these first bytes, and Python's error handler for it."""
    if head.startswith(_UTF16_MARKS):
        return "utf-16", "replace"
    if b"\0" in head[:2]:  # without byte order mark, for a text that begins with an ASCII letter
        return "utf-16-be" if head[:1] == b"\0" else "utf-16-le", "replace"
    return "utf-8-sig", "surrogateescape"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
