"""Where a run stands, in files that other programs read while it goes on: each is there whole at any moment."""

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
"""Validation photos whose captions are kept from epoch to epoch."""

_SECONDS = 0.5
"""Between two writes of the same stage."""

ReportProgress = Callable[..., None]
"""Called with a stage (encoding, training, validating, calibrating, comparing, finished) and what is known of it."""


def unwatched(stage: str, **values: Any) -> None:
    """For runs that nobody follows."""


class ProgressFile:
    """Keeps the latest stage and its numbers in `progress.json` of a folder."""

    def __init__(self, folder: Path) -> None:
        """The folder is made at the first stage: a run that is refused leaves nothing."""
        self._path = folder / PROGRESS
        self._stage, self._written = "", 0.0

    def __call__(self, stage: str, **values: Any) -> None:
        """Write it; at most twice a second while the stage stays the same."""
        now = time.monotonic()
        if stage == self._stage and now - self._written < _SECONDS:
            return
        self._stage, self._written = stage, now
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, {"stage": stage, **values}, durable=False)


def write_samples(
    output: Path,
    records: Sequence[ImageRecord],
    captions: Sequence[Caption],
    epoch: int,
    parts: Sequence[Part] | None = None,
) -> None:
    """Add what an epoch says of some validation photos to `samples.json`; what it said of later epochs goes.

    parts: photos of each data set; of several, some of each are kept, with its name.
    """
    path = output / SAMPLES
    parts = parts or parts_of([""], [len(records)])
    several = len(parts) > 1
    names = {position: part.name for part in parts for position in part.positions}
    earlier = {}
    if path.exists():
        known = enumerate(json.loads(path.read_bytes())["photos"])
        earlier = {(number, photo["photo"]): photo["captions"] for number, photo in known}  # two may show one file
    photos = []
    for number, position in enumerate(spread(parts, SAMPLE_PHOTOS)):
        record, name = records[position], os.fsdecode(os.path.abspath(records[position].path))
        kept = [caption for caption in earlier.get((number, name), []) if caption["epoch"] < epoch]
        said = {"epoch": epoch, "text": captions[position].text}
        source = {"data": names[position]} if several else {}
        photos.append({"photo": name, **source, "references": list(record.captions), "captions": [*kept, said]})
    write_json(path, {"photos": photos})
