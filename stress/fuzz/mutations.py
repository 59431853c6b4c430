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

_DEPTH = 100_000
"""Levels: more than any parser recurses into."""


def mutate_bytes(data: bytes, others: Sequence[bytes], rng: Random, max_changes: int = 6) -> bytes:
    """Change, move, remove or add some bytes; `others`: files to mix in."""
    mutated = bytearray(data)
    for _ in range(rng.randint(1, max_changes)):
        _mutate_once(mutated, others, rng)
    return bytes(mutated)


def _mutate_once(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    # Headers, with their sizes and counts, are a small part of a file: half of the changes go there.
    start_limit = min(len(data), 200) if rng.random() < 0.5 else len(data)
    start = rng.randrange(start_limit) if start_limit else 0
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


def mutate_json(value: Any, rng: Random, max_changes: int = 4) -> Any:
    """Return a copy with some values, keys or entries replaced, removed, doubled or moved."""
    root = [copy.deepcopy(value)]
    for _ in range(rng.randint(1, max_changes)):
        holder, key = rng.choice(_locations(root))
        match rng.randrange(6):
            case 0 if isinstance(holder, dict) or len(holder) > 1 and holder is not root:
                del holder[key]
            case 1 if isinstance(holder, list) and holder is not root:
                holder.insert(key, copy.deepcopy(holder[key]))
            case 2 if isinstance(holder, dict):
                holder[rng.choice(_TEXTS)] = holder.pop(key)
            case 3:
                source, source_key = rng.choice(_locations(root))
                holder[key] = copy.deepcopy(source[source_key])
            case _:
                holder[key] = copy.deepcopy(rng.choice((*_VALUES, *_TEXTS)))
    return root[0]


def _locations(root: list[Any]) -> list[tuple[Any, Any]]:
    """Return every nested list or object with each of its indices or keys."""
    locations, pending = [], [root]
    while pending:
        holder = pending.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            locations.append((holder, key))
            if isinstance(holder[key], list | dict):
                pending.append(holder[key])
    return locations


def json_bytes(value: Any, rng: Random) -> bytes:
    """Return JSON with wrong values, sometimes with wrong bytes, and occasionally no JSON."""
    match rng.randrange(20):
        case 0:
            return mutate_bytes(_dump(value), (), rng)
        case 1:
            return rng.choice((b"[", b'{"a":', b'{"images": [')) * _DEPTH
        case 2:
            encoding = rng.choice(("utf-16", "utf-32", "utf-8-sig", "latin-1"))
            return json.dumps(value).encode(encoding, "replace")
        case 3:
            return _dump(value)[: rng.randrange(2000)]
        case _:
            return _dump(mutate_json(value, rng))


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def mutate_text(text: str, rng: Random, max_changes: int = 4) -> bytes:
    """Return a text with some lines or parts of them replaced, removed, doubled or moved, or with wrong bytes."""
    lines = text.split("\n")
    for _ in range(rng.randint(1, max_changes)):
        index = rng.randrange(len(lines))
        line = lines[index]
        cut = rng.randrange(len(line) + 1)
        match rng.randrange(6):
            case 0:
                del lines[index]
            case 1:
                lines.insert(rng.randrange(len(lines)), line)
            case 2:
                lines[index] = line[:cut] + rng.choice(("\t", ",", '"', "'", "#", "\r", "\0", "\u2028", ";", "|"))
            case 3:
                lines[index] = line[:cut] + rng.choice(_TEXTS) + line[cut:]
            case 4:
                lines[index] = line[:cut]
            case _:
                lines[index] = rng.choice(_TEXTS)
        lines = lines or [""]
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    return mutate_bytes(data, (), rng) if rng.random() < 0.2 else data
