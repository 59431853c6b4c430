"""Thumbnails of a few photos of a data set with their captions, for review."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from captioner.errors import ImageError
from captioner.images.photo import open_image
from training.data.records import DataSet
from training.inspection.images import display_path

SAMPLES = 8
SIDE = 320
"""Longest side of a thumbnail, in pixels."""


def write_samples(data: DataSet, folder: Path, leave_out: Collection[str] = ()) -> list[dict[str, Any]]:
    """Write thumbnails of evenly spaced photos to `folder` -> photo, split, captions and thumbnail of each.

    leave_out: unreadable photos, by their names in the report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = [record for record in data.records if display_path(record.path, data.root) not in leave_out]
    indices = sorted({number * len(records) // SAMPLES for number in range(SAMPLES)}) if records else []
    samples = []
    for number, record in enumerate(records[index] for index in indices):
        try:
            photo = open_image(record.path)
        except ImageError:  # changed meanwhile
            continue
        photo.thumbnail((SIDE, SIDE))
        name = f"{number}.jpg"
        photo.save(folder / name, "JPEG", quality=85)
        path = display_path(record.path, data.root)
        captions = [caption[:300] for caption in record.captions[:5]]
        samples.append({"photo": path, "split": record.split, "captions": captions, "thumbnail": name})
    return samples
