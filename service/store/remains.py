"""What processes that were killed leave behind."""

import re
import shutil
import time
from collections.abc import Container, Iterable
from pathlib import Path

ABANDONED_SECONDS = 3600
"""Age of a file or folder from which nobody is at work on it any more: longer than a request can take."""

_PATTERNS = (".add-*", ".gone-*", ".bundle-*", ".*.part")
"""Names under which others are made, or go."""


def remove_abandoned(folder: Path) -> None:
    """Delete the hidden files and folders in a folder, in which others are made, that nobody is at work on."""
    _remove_old(path for pattern in _PATTERNS for path in folder.glob(pattern))


def remove_unknown(folder: Path, name: re.Pattern, known: Container[str]) -> None:
    """Delete the folders in a folder with such names that the database knows nothing of, nor is about to be told of."""
    _remove_old(path for path in folder.iterdir() if name.fullmatch(path.name) and path.name not in known)


def _remove_old(paths: Iterable[Path]) -> None:
    latest = time.time() - ABANDONED_SECONDS
    for path in paths:
        try:
            if path.lstat().st_mtime > latest:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        except FileNotFoundError:  # another process was first
            continue
