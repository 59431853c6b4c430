"""Progress of a run, in atomically written files for other programs."""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from captioner.captioner import Caption
from captioner.files import write_json
from training.data.mixing import Part, parts_of, spread
from training.data.records import ImageRecord

PROGRESS = "progress.json"
SAMPLES = "samples.json"

SAMPLE_PHOTOS = 6
"""Number of validation photos whose captions are kept for each epoch."""

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


def write_samples(
    output: Path,
    records: Sequence[ImageRecord],
    captions: Sequence[Caption],
    epoch: int,
    parts: Sequence[Part] | None = None,
) -> None:
    """Add an epoch's captions of some validation photos to `samples.json`, and drop those of later epochs.

    parts: slices of the data sets; with several, some photos of each are kept, with its name.
    """
    path = output / SAMPLES
    parts = parts or parts_of([""], [len(records)])
    has_several = len(parts) > 1
    names = {position: part.name for part in parts for position in part.positions}
    earlier = {}
    if path.exists():
        stored_photos = enumerate(json.loads(path.read_bytes())["photos"])
        earlier = {(number, photo["photo"]): photo["captions"] for number, photo in stored_photos}  # files repeat
    photos = []
    for number, position in enumerate(spread(parts, SAMPLE_PHOTOS)):
        record, name = records[position], os.fsdecode(os.path.abspath(records[position].path))
        earlier_captions = [caption for caption in earlier.get((number, name), []) if caption["epoch"] < epoch]
        sample = {"epoch": epoch, "text": captions[position].text}
        source = {"data": names[position]} if has_several else {}
        samples = {"references": list(record.captions), "captions": [*earlier_captions, sample]}
        photos.append({"photo": name, **source, **samples})
    write_json(path, {"photos": photos})
