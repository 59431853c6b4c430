"""Compare two captioners on the same held-out photos: improvement, and forgetting.

The output folder:

    comparison.json   scores and wrong nouns of both, and some photos with their captions and attention maps
    photos/           these photos
"""

import dataclasses
import io
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from captioner.caption_json import caption_json
from captioner.captioner import Caption, Captioner
from captioner.files import write_json
from captioner.images.photo import open_image
from captioner.model.weights import tensors_sha256
from training.confidence.rightness import Judge, words_of_references
from training.data.records import DataSet, ImageRecord
from training.data.training_data import training_splits
from training.evaluation.evaluate import PhotoBatch, check_captioned, read_batch
from training.evaluation.folder import make_folder
from training.evaluation.metrics import Scores, one_meteor, score_captions
from training.options import FitOptions
from training.progress import ReportProgress, ignore_progress
from training.random_streams import COMPARISON, sample, stream

BATCH = 32
"""Number of photos that are captioned together."""
PHOTOS = 12
"""Number of photos to show, from the largest gain to the largest loss."""
PHOTO_SIDE = 1024
"""Longest side of these photos, in pixels."""
REPLAY_IMAGES = 1000
"""Maximum number of photos of the earlier data to caption, drawn at random."""
ENOUGH_TO_TEST = 20
"""Minimum size of a test split to compare on."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Captions of both captioners for the same photos, and their scores."""

    records: Sequence[ImageRecord]
    captions: Mapping[str, Mapping[Hashable, Caption]]
    """"new" and "old" -> image id -> caption; the same images in both."""
    scores: Mapping[str, Scores]


def compare(
    captioners: Mapping[str, Captioner],
    data: DataSet,
    replay: DataSet | None,
    output: Path,
    seed: int = 0,
    on_progress: ReportProgress = ignore_progress,
) -> dict[str, Any]:
    """Score the captioners "new" and "old" on held-out photos of `data`, and on the val split of `replay`.

    Each decodes with its bundle's options, one caption per photo. -> the content of comparison.json. Raises DataError
    if there is no readable held-out photo, or the folder cannot be made.
    """
    records, split = held_out_photos(data, seed)
    make_folder(output / "photos")
    replay_comparison = None
    with one_meteor:
        one_meteor.start()  # while the photos are captioned
        comparison = _compare_on(captioners, records, on_progress)
        if replay is not None:
            replay_records = sample(replay.split("val"), REPLAY_IMAGES, stream(seed, COMPARISON))
            replay_comparison = _compare_on(captioners, replay_records, on_progress)
    result = {
        "scores": {
            "data": _collect_scores(comparison, split),
            "replay": None if replay_comparison is None else _collect_scores(replay_comparison, "val"),
        },
        "photos": _write_photos(comparison, output),
    }
    write_json(output / "comparison.json", result)
    on_progress("finished")
    return result


def held_out_photos(data: DataSet, seed: int) -> tuple[list[ImageRecord], str]:
    """Return the photos to compare on, and their split: test if it is large enough, else val.

    The val split also decided when training stopped, so its scores favour the new captioner a little.
    """
    test = [record for record in data.records if record.split == "test"]
    if len(test) >= ENOUGH_TO_TEST:
        return test, "test"
    return training_splits(data, FitOptions(seed=seed))[1], "val"


def count_photos(data: DataSet, replay: DataSet | None, seed: int) -> int:
    """Return the number of photos that each captioner captions in `compare`. Raises DataError."""
    earlier = 0 if replay is None else min(REPLAY_IMAGES, len(replay.split("val")))
    return len(held_out_photos(data, seed)[0]) + earlier


def _compare_on(
    captioners: Mapping[str, Captioner], records: Sequence[ImageRecord], on_progress: ReportProgress
) -> Comparison:
    captions: dict[str, dict[Hashable, Caption]] = {name: {} for name in captioners}
    unreadable: dict[Hashable, str] = {}
    encoders = {name: _encoder_key(captioner) for name, captioner in captioners.items()}
    for start in range(0, len(records), BATCH):
        on_progress("comparing", done=len(captioners) * start, total=len(captioners) * len(records))
        batches: dict[Hashable, tuple[PhotoBatch, Tensor | None]] = {}
        for name, captioner in captioners.items():
            if encoders[name] not in batches:
                batch = read_batch(captioner, records[start : start + BATCH])
                batches[encoders[name]] = batch, captioner.encode(batch.pixels) if batch.image_ids else None
                unreadable |= batch.unreadable
            batch, annotations = batches[encoders[name]]
            if annotations is not None:
                options = dataclasses.replace(captioner.decoding, captions_per_image=1)
                captions_by_photo = captioner.caption_annotations(annotations, batch.frames, options)
                best = (photo_captions[0] for photo_captions in captions_by_photo)
                captions[name] |= zip(batch.image_ids, best, strict=True)
    check_captioned(captions["new"], len(records), unreadable)
    references = {record.image_id: record.captions for record in records}
    scores = {
        name: score_captions({image_id: caption.text for image_id, caption in captions_by_id.items()}, references)
        for name, captions_by_id in captions.items()
    }
    return Comparison([record for record in records if record.image_id in captions["new"]], captions, scores)


def _encoder_key(captioner: Captioner) -> Hashable:
    """Return a key that is equal for captioners that encode photos to equal annotations."""
    config = captioner.bundle.config
    network = config.encoder, config.scales, tensors_sha256(captioner.model.encoder)
    return *network, config.image_size, config.fit, type(captioner.runtime), captioner.device


def _collect_scores(comparison: Comparison, split: str) -> dict[str, Any]:
    judge = Judge(words_of_references(comparison.records))
    values = {}
    for name, scores in comparison.scores.items():
        words = {image_id: caption.words for image_id, caption in comparison.captions[name].items()}
        values[name] = {**scores.overall, "hallucination": judge.hallucination(words).to_json()}
    return {**values, "images": len(comparison.records), "split": split}


def _write_photos(comparison: Comparison, output: Path) -> list[dict[str, Any]]:
    """Return photos spread evenly from the largest gain in CIDEr to the largest loss, with both captions."""

    def cider(record: ImageRecord) -> dict[str, float]:
        return {name: scores.per_image[record.image_id]["CIDEr"] for name, scores in comparison.scores.items()}

    def gain(record: ImageRecord) -> float:
        return cider(record)["new"] - cider(record)["old"]

    ranked_records = sorted(comparison.records, key=gain, reverse=True)
    last_rank, photo_count = len(ranked_records) - 1, min(PHOTOS, len(ranked_records))
    photos = []
    for number in range(photo_count):
        record = ranked_records[round(number * last_rank / max(1, photo_count - 1))]
        photo = open_image(record.path)
        name = f"photos/{number}.jpg"
        (output / name).write_bytes(_encode_jpeg(photo))
        both_captions = {
            captioner: _caption_values(captions_by_id[record.image_id])
            for captioner, captions_by_id in comparison.captions.items()
        }
        values = {"photo": name, "width": photo.width, "height": photo.height, "references": list(record.captions)}
        photos.append(values | {"cider": cider(record)} | both_captions)
    return photos


def _caption_values(caption: Caption) -> dict[str, Any]:
    grid, seen_box = list(caption.alphas.shape[1:]), list(caption.frame.seen_box)
    return {**caption_json(caption), "grid": grid, "seen_box": seen_box}


def _encode_jpeg(photo: Image.Image) -> bytes:
    photo = photo.convert("RGB")
    photo.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=85)
    return file.getvalue()
