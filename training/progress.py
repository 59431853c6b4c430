"""Progress of a run, in atomically written files for other programs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from captioner.files import write_json

PROGRESS = "progress.json"

_MIN_INTERVAL = 0.5
"""Minimum time between two writes of the same stage."""

ReportProgress = Callable[..., None]
"""Called with a stage (encoding, training, validating, calibrating, comparing, finished) and its values."""


def ignore_progress(stage: str, **values: Any) -> None:
    """Ignore progress."""


class ProgressFile:
    """Writer of the latest stage and its values to `progress.json` in a folder."""

    def __init__(self, folder: Path) -> None:
        """The folder is created at the first stage, so that a refused run leaves nothing."""
        self._path = folder / PROGRESS
        self._stage, self._written_at = "", 0.0

    def __call__(self, stage: str, **values: Any) -> None:
        """Write a stage; at most twice a second while the stage is the same."""
        now = time.monotonic()
        if stage == self._stage and now - self._written_at < _MIN_INTERVAL:
            return
        self._stage, self._written_at = stage, now
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, {"stage": stage, **values}, durable=False)
