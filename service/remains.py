"""What processes that were killed leave behind."""

import shutil
import time
from pathlib import Path

ABANDONED_SECONDS = 3600
"""Age of a file or folder from which nobody is at work on it any more: longer than a request can take."""


def remove_abandoned(folder: Path) -> None:
    """Delete the hidden folders in a folder, in which others are made, that nobody is at work on."""
    latest = time.time() - ABANDONED_SECONDS
    for path in folder.glob(".*"):
        if path.is_dir() and path.stat().st_mtime < latest:
            shutil.rmtree(path, ignore_errors=True)
