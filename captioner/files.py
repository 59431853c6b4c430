"""JSON files that are there whole at any moment, also if the machine stops."""

import json
import os
import uuid
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Write beside, then rename: who reads sees the old file or the new one. indent: for people, spaces of a level."""
    beside = path.with_name(f".{path.name}-{uuid.uuid4().hex}.part")
    try:
        with open(beside, "x", encoding="utf-8") as file:
            json.dump(value, file, ensure_ascii=False, indent=indent)
            file.flush()
            os.fsync(file.fileno())  # else a power cut could leave the name without the content
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def read_json(path: Path, if_missing: Any = None) -> Any:
    """What `write_json` wrote; `if_missing` where there is no such file. Raises ValueError for what is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return if_missing
