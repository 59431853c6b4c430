"""Evaluate a captioner on a split: captions, official scores, COCO results, and an HTML page.

The output folder is self-contained:

    metrics.json    the seven scores, wrong nouns (`training.confidence.rightness`), and the data and options; with
    boxes, grounding scores; with a confidence model, its calibration
    results.json    [{"image_id", "caption"}], the format of COCO's evaluation code
    index.html      photos, captions and references, best and worst
    photos/         pictures of the page
"""

import dataclasses
import json
import math
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from captioner.captioner import Caption, Captioner
from captioner.config import DecodingOptions
from captioner.errors import DataError, ImageError
from captioner.images.fitting import ImageFrame
from captioner.images.photo import open_image
from captioner.ranks import ALONE, Ranks
from captioner.text.counting import counted
from training.confidence.plots import confidence_plots
from training.confidence.rightness import Judge, words_of_references
from training.confidence.scores import score_confidences
from training.data.boxes.box_set import BoxSet, without_ambiguous_names
from training.data.records import ImageRecord
from training.evaluation.folder import make_folder
from training.evaluation.metrics import METRICS, Scores, check_references, score_captions
from training.evaluation.page import draw_cards, render_page, write_file
from training.grounding.measure import ground_captions, ground_occlusion_maps, ground_references
from training.grounding.scores import Grounding


def evaluate(
    captioner: Captioner,
    records: Iterable[ImageRecord],
    output: Path,
    options: DecodingOptions,
    batch_size: int = 32,
    progress: bool = True,
    details: Mapping[str, Any] | None = None,
    boxes: BoxSet | None = None,
    occlusion_photos: int = 0,
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Caption the photos of a split, score the captions, and write the folder described above.

    An unreadable photo is not scored; metrics.json and the page list it with the reason.
    records: the split's images with their captions. options: decoding options; one caption per image is scored.
    details: further entries of metrics.json, such as the name of the bundle.
    boxes: boxes of the objects in the photos, to measure grounding as well.
    occlusion_photos: number of photos whose occlusion maps are measured as well, which takes longer.
    ranks: process group that shares the photos; the first rank scores and writes, which the others do not wait for.
    -> the content of metrics.json; {} on the other ranks. Raises DataError if nothing can be scored, before captioning
    if possible.
    """
    records = _check_records(records)
    boxes = without_ambiguous_names(boxes, [record.path for record in records]) if boxes else None
    if ranks.leads:
        make_folder(Path(output) / "photos")
    progress = progress and ranks.leads
    options = dataclasses.replace(options, captions_per_image=1)
    reference_scores = ground_references(captioner, records, boxes, batch_size, progress, ranks) if boxes else None
    started_at = time.monotonic()
    captions, skipped = caption_records(captioner, records, options, batch_size, progress, ranks)
    details = {**(details or {}), "seconds": round(time.monotonic() - started_at, 1)}
    occlusion_scores = None
    if boxes and occlusion_photos:
        occlusion_scores = ground_occlusion_maps(
            captioner, captions, records, boxes, options, occlusion_photos, progress, ranks
        )

    if not ranks.leads:
        return {}
    grounding = None
    if reference_scores:
        grounding = Grounding(reference_scores, ground_captions(captions, records, boxes), boxes, occlusion_scores)
    return write_evaluation(output, captions, records, options, details, skipped, progress, grounding)


def write_evaluation(
    output: Path,
    captions: Mapping[Hashable, Caption],
    records: Iterable[ImageRecord],
    options: DecodingOptions,
    details: Mapping[str, Any],
    skipped: Mapping[Hashable, str] | None = None,
    progress: bool = False,
    grounding: Grounding | None = None,
) -> dict[str, Any]:
    """Score existing captions, and write the folder described above.

    captions: image id -> its caption. records: every image of the split; those without a caption count as skipped.
    details: added to metrics.json unchanged, and shown on the page ("bundle", "seconds", ...).
    skipped: image id -> a sentence with the reason why there is no caption.
    grounding: grounding scores; their boxes are drawn on the strips.
    -> the content of metrics.json. Every file is written atomically and replaces that of an earlier run.
    Raises DataError if there is nothing to score, or a caption's image is not among the records.
    """
    records = _check_records(records)
    output = Path(output)
    make_folder(output / "photos")
    references = {record.image_id: record.captions for record in records}
    scores = score_captions({image_id: caption.text for image_id, caption in captions.items()}, references)
    judge = Judge(words_of_references(records))
    caption_words = {image_id: caption.words for image_id, caption in captions.items()}
    measurements = {"hallucination": judge.hallucination(caption_words).to_json()}
    if grounding:
        measurements["grounding"] = grounding.to_json()
    confidences = score_confidences(captions, judge)
    if confidences:
        measurements["confidence"] = {
            name: confidence_scores.to_json() | {"risk_coverage": confidence_scores.curve()}
            for name, confidence_scores in confidences.items()
        }
    metrics = _collect_metrics(scores, captions, records, options, {**details, **measurements}, skipped or {})
    results = [
        {"image_id": record.image_id, "caption": captions[record.image_id].text}
        for record in records
        if record.image_id in captions
    ]
    files = {
        "results.json": _encode_json(results, "results.json", None),
        "metrics.json": _encode_json(metrics, "metrics.json", 2),
    }
    cards = draw_cards(output, captions, records, scores, judge, progress, grounding.boxes if grounding else None)
    page = render_page(metrics, cards, confidence_plots(confidences))
    files = {"index.html": page.encode(errors="replace")} | files
    for name, content in files.items():  # metrics.json last: it implies that the rest is complete
        write_file(output / name, content)
    return metrics


def _check_records(records: Iterable[ImageRecord]) -> list[ImageRecord]:
    records = list(records)
    references = {record.image_id: record.captions for record in records}
    if len(references) < len(records):
        seen_ids: set[Hashable] = set()
        image_ids = (record.image_id for record in records)
        duplicate = next(image_id for image_id in image_ids if image_id in seen_ids or seen_ids.add(image_id))
        raise DataError(
            f"image {duplicate!r} occurs twice in the set to evaluate: put all of its captions in one record"
        )
    check_references(dict.fromkeys(references, ""), references)
    return records


@dataclasses.dataclass(frozen=True)
class PhotoBatch:
    """Photos prepared for a captioner."""

    image_ids: list[Hashable]
    """Of the photos that can be read."""
    pixels: np.ndarray
    """[B, S, S, 3]"""
    frames: list[ImageFrame]
    unreadable: dict[Hashable, str]
    """Reasons why others cannot be read, by image id."""


def read_batch(captioner: Captioner, records: Sequence[ImageRecord]) -> PhotoBatch:
    """Read the photos of records, and prepare them for a captioner."""
    inputs, unreadable = {}, {}
    for record in records:
        try:
            inputs[record.image_id] = captioner.prepare(record.path)
        except ImageError as error:
            unreadable[record.image_id] = str(error)
    squares = [pixels for pixels, _ in inputs.values()]
    pixels = np.stack(squares) if squares else np.empty((0, 0, 0, 3), np.uint8)
    return PhotoBatch(list(inputs), pixels, [frame for _, frame in inputs.values()], unreadable)


def check_captioned(captions: Mapping[Hashable, Caption], photos: int, unreadable: Mapping[Hashable, str]) -> None:
    """Raise DataError if no photo has a caption, with the reason for the first one."""
    if not captions:
        reason = next(iter(unreadable.values()))
        raise DataError(f"none of the {counted(photos, 'photo')} could be captioned; the first: {reason}")


def caption_records(
    captioner: Captioner,
    records: Sequence[ImageRecord],
    options: DecodingOptions,
    batch_size: int,
    progress: bool,
    ranks: Ranks = ALONE,
) -> tuple[dict[Hashable, Caption], dict[Hashable, str]]:
    """Caption in batches -> captions, and reasons for unreadable photos; both by image id.

    Each rank captions a share of the batches; the first rank returns all captions, the others none.
    """
    captions: dict[Hashable, Caption] = {}
    skipped: dict[Hashable, str] = {}

    def caption_batch(number: int) -> tuple[dict[Hashable, Caption], dict[Hashable, str]]:
        batch = read_batch(captioner, records[number * batch_size : (number + 1) * batch_size])
        if not batch.image_ids:
            return {}, batch.unreadable
        captions_by_photo = captioner.caption_pixels(batch.pixels, batch.frames, options)
        best = (photo_captions[0] for photo_captions in captions_by_photo)
        return dict(zip(batch.image_ids, best, strict=True)), batch.unreadable

    with tqdm(total=len(records), desc="captioning", unit="photo", disable=not progress) as bar:
        for batch_captions, unreadable in ranks.map(caption_batch, math.ceil(len(records) / batch_size)):
            captions |= batch_captions
            skipped |= unreadable
            bar.update(len(batch_captions) + len(unreadable))
    if ranks.leads:
        check_captioned(captions, len(records), skipped)
    return captions, skipped


def _collect_metrics(
    scores: Scores,
    captions: Mapping[Hashable, Caption],
    records: Sequence[ImageRecord],
    options: DecodingOptions,
    details: Mapping[str, Any],
    skipped: Mapping[Hashable, str],
) -> dict[str, Any]:
    splits = sorted({str(record.split) for record in records if record.split})
    uncaptioned = [record for record in records if record.image_id not in captions]
    values = {
        **{name: scores.overall[name] for name in METRICS},
        "split": ", ".join(splits) or None,
        "images": len(records),
        "captions": len(captions),
        "references": sum(len(record.captions) for record in records if record.image_id in captions),
        "decoding": options.to_json(),
        "skipped": [
            {
                "image_id": record.image_id,
                "path": str(record.path),
                "reason": skipped.get(record.image_id) or _skip_reason(record.path),
            }
            for record in uncaptioned
        ],
    }
    # Scores first, for readers of the file; details may add to the measured values but never replace them.
    return values | {key: value for key, value in details.items() if key not in values}


def _skip_reason(path: Path) -> str:
    try:
        open_image(path)
    except ImageError as error:
        return str(error)
    return "it was not captioned"


def _encode_json(value: Any, name: str, indent: int | None) -> bytes:
    try:
        return (json.dumps(value, indent=indent, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} cannot be written: {error}; ids and details must be texts and numbers") from error
