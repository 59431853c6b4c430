"""What processes that were killed leave behind."""

import shutil
import time
from pathlib import Path

ABANDONED_SECONDS = 3600
"""Age of a file or folder from which nobody is at work on it any more: longer than a request can take."""

_PATTERNS = (".add-*", ".gone-*", ".bundle-*", ".*.part")
"""Names under which others are made, or go."""


def remove_abandoned(folder: Path) -> None:
    """Delete the hidden files and folders in a folder, in which others are made, that nobody is at work on."""
    latest = time.time() - ABANDONED_SECONDS
    for path in (path for pattern in _PATTERNS for path in folder.glob(pattern)):
        try:
            if path.lstat().st_mtime > latest:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        except FileNotFoundError:  # another process was first
            continue
