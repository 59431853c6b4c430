"""Mutations of bytes and JSON: accidental damage and typical attacks."""

import copy
import json
from collections.abc import Sequence
from random import Random
from typing import Any

_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
"""Limits of integer types."""

_TEXTS = (
    "", " ", "\0", "a\0b", "..", "../../../etc/passwd", "/etc/passwd", "C:\\x.jpg", "\ud800", "\u202e", "é" * 300,
    "x" * 5000, "%s%n", "<script>", "NaN", "-1", "1e999", "train", "<unk>", "timm:none", "hf-hub:a/b", "vgg16",
)  # fmt: skip
_VALUES = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, -(10**30), 0.5, -0.0, 1e308, 5e-324, float("nan"),
    float("inf"), float("-inf"), [], {}, [[]], [None] * 3, {"": None}, {"a": {"b": []}},
)  # fmt: skip

_DEEP = 100_000
"""Levels: more than any parser recurses into."""


def mutate_bytes(data: bytes, others: Sequence[bytes], rng: Random, most: int = 6) -> bytes:
    """Change, move, remove or add some bytes; `others`: files to mix in."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, most)):
        _mutate_once(changed, others, rng)
    return bytes(changed)


def _mutate_once(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    # Headers, with their sizes and counts, are a small part of a file: half of the changes go there.
    reach = min(len(data), 200) if rng.random() < 0.5 else len(data)
    start = rng.randrange(reach) if reach else 0
    end = min(len(data), start + rng.choice((1, 2, 4, 16, 64, 1024, len(data))))
    match rng.randrange(9):
        case 0 if data:
            data[min(start, len(data) - 1)] ^= 1 << rng.randrange(8)
        case 1:
            data[start : start + 1] = bytes([rng.randrange(256)])
        case 2 | 3:
            size = rng.choice((1, 2, 4, 8))
            number = rng.choice(_NUMBERS) % 256**size
            data[start : start + size] = number.to_bytes(size, rng.choice(("big", "little")))
        case 4:
            del data[start:end]
        case 5:
            data[start:start] = data[start:end] * rng.choice((1, 1, 2, 50))
        case 6:
            del data[start:]
        case 7:
            data[start:end] = bytes(end - start)
        case _:
            other = rng.choice(others) if others else b""
            data[start:] = other[rng.randrange(len(other) + 1) :]
    del data[2_000_000:]  # repeated doubling would only make the file large


def mutate_json(value: Any, rng: Random, most: int = 4) -> Any:
    """Return a copy with some values, keys or entries replaced, removed, doubled or moved."""
    whole = [copy.deepcopy(value)]
    for _ in range(rng.randint(1, most)):
        holder, key = rng.choice(_places(whole))
        match rng.randrange(6):
            case 0 if isinstance(holder, dict) or len(holder) > 1 and holder is not whole:
                del holder[key]
            case 1 if isinstance(holder, list) and holder is not whole:
                holder.insert(key, copy.deepcopy(holder[key]))
            case 2 if isinstance(holder, dict):
                holder[rng.choice(_TEXTS)] = holder.pop(key)
            case 3:
                other, at = rng.choice(_places(whole))
                holder[key] = copy.deepcopy(other[at])
            case _:
                holder[key] = copy.deepcopy(rng.choice((*_VALUES, *_TEXTS)))
    return whole[0]


def _places(whole: list[Any]) -> list[tuple[Any, Any]]:
    """Return every nested list or object with each of its indices or keys."""
    found, open_ = [], [whole]
    while open_:
        holder = open_.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            found.append((holder, key))
            if isinstance(holder[key], list | dict):
                open_.append(holder[key])
    return found


def json_bytes(value: Any, rng: Random) -> bytes:
    """Return JSON with wrong values, sometimes with wrong bytes, and occasionally no JSON."""
    match rng.randrange(20):
        case 0:
            return mutate_bytes(_dumped(value), (), rng)
        case 1:
            return rng.choice((b"[", b'{"a":', b'{"images": [')) * _DEEP
        case 2:
            encoding = rng.choice(("utf-16", "utf-32", "utf-8-sig", "latin-1"))
            return json.dumps(value).encode(encoding, "replace")
        case 3:
            return _dumped(value)[: rng.randrange(2000)]
        case _:
            return _dumped(mutate_json(value, rng))


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def mutate_text(text: str, rng: Random, most: int = 4) -> bytes:
    """Return a text with some lines or parts of them replaced, removed, doubled or moved, or with wrong bytes."""
    lines = text.split("\n")
    for _ in range(rng.randint(1, most)):
        place = rng.randrange(len(lines))
        line = lines[place]
        cut = rng.randrange(len(line) + 1)
        match rng.randrange(6):
            case 0:
                del lines[place]
            case 1:
                lines.insert(rng.randrange(len(lines)), line)
            case 2:
                lines[place] = line[:cut] + rng.choice(("\t", ",", '"', "'", "#", "\r", "\0", "\u2028", ";", "|"))
            case 3:
                lines[place] = line[:cut] + rng.choice(_TEXTS) + line[cut:]
            case 4:
                lines[place] = line[:cut]
            case _:
                lines[place] = rng.choice(_TEXTS)
        lines = lines or [""]
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    return mutate_bytes(data, (), rng) if rng.random() < 0.2 else data
