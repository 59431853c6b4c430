"""Sample JSON files of any size, to detect their form before they are read."""

import json
import mmap
import re
from dataclasses import dataclass
from itertools import islice
from json.decoder import WHITESPACE
from pathlib import Path
from typing import Any

from training.data.readers.files import decode_text, explain_json

_WHOLE_BYTES = 1 << 18
"""Files up to this size are parsed whole."""
_HEAD_BYTES = 1 << 18
_WINDOW_BYTES = 1 << 17
_MAX_ELEMENTS = 25
"""Maximum number of elements kept of a list; objects keep ten times as many entries."""
_LATE_KEYS = ("annotations", "images")
"""Keys of long lists (COCO's) that may come after the head of a file."""
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Peek:
    """Sample of a JSON file."""

    sample: Any
    """Content, with the first elements of lists at the top level and one level below; None if unknown."""
    error: str | None
    """Why the part that was parsed is not JSON."""


def peek(path: Path) -> Peek:
    """Sample a JSON file; the sample of one that cannot be opened or parsed has an error."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as stream:
            head = stream.read(_HEAD_BYTES)
            if size <= _WHOLE_BYTES:
                return _peek_whole(head)
            sample = _sample_head(decode_text(head))
            if isinstance(sample, dict):
                sample |= _sample_late_lists(stream, [key for key in _LATE_KEYS if key not in sample])
            return Peek(sample, None)
    except OSError as error:
        return Peek(None, f"cannot be read: {error.strerror or error}")
    except json.JSONDecodeError as error:
        return Peek(None, f"is not JSON ({error.msg} in line {error.lineno}, column {error.colno})")
    except (ValueError, RecursionError) as error:
        return Peek(None, f"is not JSON text in UTF-8 ({error})")


def _peek_whole(content: bytes) -> Peek:
    try:
        return Peek(_truncate(json.loads(decode_text(content))), None)
    except (ValueError, RecursionError) as error:
        return Peek(None, explain_json(content, error))


def _truncate(content: Any, depth: int = 2) -> Any:
    if isinstance(content, list):
        return content[:_MAX_ELEMENTS]
    if isinstance(content, dict) and depth:
        return {key: _truncate(value, depth - 1) for key, value in islice(content.items(), 10 * _MAX_ELEMENTS)}
    return content


def _sample_head(text: str) -> Any:
    """Parse the first elements or entries of a truncated text. Raises JSONDecodeError if it is not JSON."""
    start = WHITESPACE.match(text, 0).end()
    if text[start : start + 1] == "[":
        return _parse_elements(text, start + 1)[0]
    if text[start : start + 1] != "{":
        raise json.JSONDecodeError("Expecting a list or an object", text, start)
    entries: dict[str, Any] = {}
    position = start + 1
    while len(entries) < 10 * _MAX_ELEMENTS:
        try:
            key, position = _DECODER.raw_decode(text, WHITESPACE.match(text, position).end())
        except json.JSONDecodeError:
            break
        position = WHITESPACE.match(text, position).end()
        if not isinstance(key, str) or text[position : position + 1] != ":":
            break
        position = WHITESPACE.match(text, position + 1).end()
        if text[position : position + 1] == "[":
            entries[key], position = _parse_elements(text, position + 1)
            if position is None:  # the list continues after the head
                break
        else:
            try:
                value, position = _DECODER.raw_decode(text, position)
            except json.JSONDecodeError:
                break
            entries[key] = _truncate(value, 1)
        position = WHITESPACE.match(text, position).end()
        if text[position : position + 1] != ",":
            break
        position += 1
    if not entries:
        raise json.JSONDecodeError("Expecting a key and its value", text, position)
    return entries


def _parse_elements(text: str, position: int) -> tuple[list[Any], int | None]:
    """Parse the first elements of a list. Return them and the end of the list; None if the text ends first."""
    elements: list[Any] = []
    while True:
        position = WHITESPACE.match(text, position).end()
        if text[position : position + 1] == "]":
            return elements, position + 1
        try:
            element, position = _DECODER.raw_decode(text, position)
        except json.JSONDecodeError:
            if not elements and position < len(text) - _WINDOW_BYTES:
                raise
            return elements, None
        if len(elements) < _MAX_ELEMENTS:
            elements.append(element)
        position = WHITESPACE.match(text, position).end()
        if text[position : position + 1] == ",":
            position += 1


def _sample_late_lists(stream: Any, keys: list[str]) -> dict[str, Any]:
    """Find the first elements of lists with these names after the head."""
    samples = {}
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for key in keys:
            quoted, offset = f'"{key}"'.encode(), -1
            while (offset := content.find(quoted, offset + 1)) >= 0:
                window = content[offset + len(quoted) : offset + len(quoted) + _WINDOW_BYTES].decode("utf-8", "replace")
                if match := re.match(r"\s*:\s*\[", window):
                    samples[key] = _parse_elements(window, match.end())[0]
                    break
    return samples
