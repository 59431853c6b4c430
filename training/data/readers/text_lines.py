"""Lines of a text file in UTF-8 or UTF-16, packed by gzip or not, each of bounded length."""

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

from captioner.errors import DataError
from training.data.readers.files import encoding_of
from training.data.readers.text_files import why_no_text

MAX_LINE = 100_000
"""Maximum number of characters of a line to read."""

_GZIP = b"\x1f\x8b"
_HEAD_BYTES = 1024


def text_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file, each cut to about `MAX_LINE` characters. Gzip is unpacked whatever the file's name.

    Raises DataError.
    """
    try:
        with open(path, "rb") as file:
            is_gzip = file.read(2) == _GZIP
        with gzip.open(path) if is_gzip else open(path, "rb") as stream:
            buffered = io.BufferedReader(stream, 1 << 16)
            head = buffered.peek(_HEAD_BYTES)[:_HEAD_BYTES]
            if reason := why_no_text(head):
                raise DataError(f"{path} {reason}, with one sentence a line")
            encoding, errors = encoding_of(head)
            with io.TextIOWrapper(buffered, encoding, errors) as text:
                yield from _limit_lines(text, utf16=encoding.startswith("utf-16"))
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path} is damaged or cut short ({error}): fetch or pack it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _limit_lines(text: io.TextIOWrapper, utf16: bool) -> Iterator[str]:
    """Yield lines, cut at `MAX_LINE`; invalid UTF-16 becomes characters that `is_text` refuses."""
    while line := text.readline(MAX_LINE + 1):
        rest = line
        while rest and not rest.endswith("\n") and len(rest) > MAX_LINE:
            rest = text.readline(MAX_LINE + 1)
        yield line.replace("\ufffd", "\0") if utf16 else line
