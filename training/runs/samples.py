"""Captions of some validation photos after each epoch, for people."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from captioner.captioner import Caption
from captioner.files import write_json
from training.data.mixing import Part, parts_of, spread
from training.data.records import ImageRecord

SAMPLES = "samples.json"

SAMPLE_PHOTOS = 6
"""Number of validation photos whose captions are kept for each epoch."""


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
