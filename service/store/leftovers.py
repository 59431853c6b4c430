"""Removal of files left by killed processes."""

import re
import shutil
import time
from collections.abc import Container, Iterable
from pathlib import Path

ABANDONED_SECONDS = 3600
"""Age from which a temporary file is abandoned; longer than any request."""

_PATTERNS = (".add-*", ".gone-*", ".bundle-*", ".*.part")
"""Names of temporary files and folders."""


def remove_abandoned(folder: Path) -> None:
    """Delete the abandoned temporary files and folders in a folder."""
    _remove_old(path for pattern in _PATTERNS for path in folder.glob(pattern))


def remove_unknown(folder: Path, pattern: re.Pattern, known_names: Container[str]) -> None:
    """Delete old files and folders in a folder that match `pattern` and are not in `known_names`."""
    _remove_old(path for path in folder.iterdir() if pattern.fullmatch(path.name) and path.name not in known_names)


def _remove_old(paths: Iterable[Path]) -> None:
    cutoff = time.time() - ABANDONED_SECONDS
    for path in paths:
        try:
            if path.lstat().st_mtime > cutoff:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        except FileNotFoundError:  # another process deleted it
            continue
