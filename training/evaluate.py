"""A split of a data set -> captions, official scores, COCO's results format, and a page to look at.

The folder that comes out needs nothing beside it:

    metrics.json    the seven figures, and what they were measured on and with
    results.json    [{"image_id", "caption"}], as COCO's evaluation code reads it
    index.html      photos, captions and references, best and worst
    photos/         what the page shows
"""

import dataclasses
import hashlib
import io
import json
import os
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image
from tqdm import tqdm

from captioner.captioner import Caption, Captioner
from captioner.config import DecodingOptions
from captioner.errors import DataError, ImageError
from captioner.images import open_image
from captioner.overlays import figure_strip
from training.metrics import METRICS, Scores, check_references, score_captions
from training.records import ImageRecord

THUMBNAIL_SIDE = 320
"""Longest side of a photo on the page, in pixels."""
STRIP_SIDE = 1600
"""Longest side of a figure strip on the page, in pixels."""
CARDS = 1000
"""How many images the page shows: of a larger set the better half of them is the best, the other the worst."""
STRIPS = 48
"""For how many images the page shows where the model looked: half of them the best, half the worst."""


@dataclass(frozen=True)
class Card:
    """One image on the page. Paths are relative to the page; None where there is nothing to show."""

    rank: int
    image_id: Hashable
    caption: str
    references: tuple[str, ...]
    probability: float
    scores: Mapping[str, float]
    photo: str | None
    strip: str | None
    problem: str | None
    """Why there is no photo, or no strip where there could be one."""


def evaluate(
    captioner: Captioner,
    records: Iterable[ImageRecord],
    output: Path,
    options: DecodingOptions,
    batch_size: int = 32,
    progress: bool = True,
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Caption the photos of a split, score the captions, and write the folder described above.

    A photo that cannot be read is left out of the scores and named, with the reason, in metrics.json and on the page.
    records: the split's images with their captions. options: how to decode; one caption per image is scored.
    details: what else metrics.json should say, such as the name of the bundle.
    -> what metrics.json holds. Raises DataError where nothing can be scored, before anything is captioned if possible.
    """
    records = _checked(records)
    _make_folder(Path(output) / "photos")
    options = dataclasses.replace(options, captions_per_image=1)
    started = time.monotonic()
    captions, skipped = caption_records(captioner, records, options, batch_size, progress)
    details = {**(details or {}), "seconds": round(time.monotonic() - started, 1)}
    return write_evaluation(output, captions, records, options, details, skipped, progress)


def write_evaluation(
    output: Path,
    captions: Mapping[Hashable, Caption],
    records: Iterable[ImageRecord],
    options: DecodingOptions,
    details: Mapping[str, Any],
    skipped: Mapping[Hashable, str] | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Score captions that exist already, and write the folder described above.

    captions: image id -> its caption. records: every image of the split; those without a caption count as skipped.
    details: added to metrics.json as they are, and shown on the page ("bundle", "seconds", ...).
    skipped: image id -> a sentence that says why there is no caption.
    -> what metrics.json holds. Every file appears whole or not at all; those of an earlier run are replaced.
    Raises DataError where there is nothing to score, or a caption of an image that is not among the records.
    """
    records = _checked(records)
    output = Path(output)
    _make_folder(output / "photos")
    references = {record.image_id: record.captions for record in records}
    scores = score_captions({image_id: caption.text for image_id, caption in captions.items()}, references)
    metrics = _metrics(scores, captions, records, options, details, skipped or {})
    results = [
        {"image_id": record.image_id, "caption": captions[record.image_id].text}
        for record in records
        if record.image_id in captions
    ]
    files = {"results.json": _json(results, "results.json", None), "metrics.json": _json(metrics, "metrics.json", 2)}
    cards = _cards(output, captions, records, scores, progress)
    files = {"index.html": _page(metrics, cards).encode(errors="replace")} | files
    for name, content in files.items():  # metrics.json last: where it is, the rest is there, too
        _write(output / name, content)
    return metrics


def _checked(records: Iterable[ImageRecord]) -> list[ImageRecord]:
    records = list(records)
    references = {record.image_id: record.captions for record in records}
    if len(references) < len(records):
        seen: set[Hashable] = set()
        twice = next(r.image_id for r in records if r.image_id in seen or seen.add(r.image_id))
        raise DataError(f"image {twice!r} comes twice in the set to evaluate: put all of its captions in one record")
    check_references(dict.fromkeys(references, ""), references)
    return records


def caption_records(
    captioner: Captioner, records: Sequence[ImageRecord], options: DecodingOptions, batch_size: int, progress: bool
) -> tuple[dict[Hashable, Caption], dict[Hashable, str]]:
    """Caption in batches -> the captions and, of photos that cannot be read, the reasons; both by image id."""
    captions: dict[Hashable, Caption] = {}
    skipped: dict[Hashable, str] = {}
    with tqdm(total=len(records), desc="captioning", unit="photo", disable=not progress) as bar:
        for start in range(0, len(records), batch_size):
            batch = records[start : start + batch_size]
            prepared = {}
            for record in batch:
                try:
                    prepared[record.image_id] = captioner.prepare(record.path)
                except ImageError as error:
                    skipped[record.image_id] = str(error)
            if prepared:
                squares, frames = zip(*prepared.values(), strict=True)
                found = captioner.caption_pixels(np.stack(squares), frames, options)
                captions.update(zip(prepared, (best[0] for best in found), strict=True))
            bar.update(len(batch))
    if not captions:
        first = next(iter(skipped.values()))
        raise DataError(f"none of the {len(records)} photos could be captioned; the first: {first}")
    return captions, skipped


def _metrics(
    scores: Scores,
    captions: Mapping[Hashable, Caption],
    records: Sequence[ImageRecord],
    options: DecodingOptions,
    details: Mapping[str, Any],
    skipped: Mapping[Hashable, str],
) -> dict[str, Any]:
    splits = sorted({str(record.split) for record in records if record.split})
    missing = [record for record in records if record.image_id not in captions]
    measured = {
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
                "reason": skipped.get(record.image_id) or _why_no_caption(record.path),
            }
            for record in missing
        ],
    }
    # Figures first for who reads the file; details may add to what was measured here, never replace it.
    return measured | {key: value for key, value in details.items() if key not in measured}


def _why_no_caption(path: Path) -> str:
    try:
        open_image(path)
    except ImageError as error:
        return str(error)
    return "no caption was made for it"


def _cards(
    output: Path,
    captions: Mapping[Hashable, Caption],
    records: Sequence[ImageRecord],
    scores: Scores,
    progress: bool,
) -> list[Card]:
    """The best and the worst images by CIDEr, best first, with their photos and strips written."""
    by_id = {record.image_id: record for record in records}
    order = sorted(
        captions, key=lambda image_id: (scores.per_image[image_id]["CIDEr"], scores.per_image[image_id]["METEOR"])
    )[::-1]
    shown = _ends(len(order), CARDS)
    with_strip = set(_ends(len(order), STRIPS))
    cards = []
    for rank in tqdm(shown, desc="drawing the page", unit="photo", disable=not progress):
        image_id = order[rank]
        record, caption = by_id[image_id], captions[image_id]
        photo, strip, problem = _draw(output, record.path, caption, rank in with_strip)
        cards.append(
            Card(
                rank=rank + 1,
                image_id=image_id,
                caption=caption.text,
                references=tuple(record.captions),
                probability=caption.probability,
                scores=scores.per_image[image_id],
                photo=photo,
                strip=strip,
                problem=problem,
            )
        )
    return cards


def _ends(count: int, most: int) -> list[int]:
    """The first and last of `count` indices, `most` in all."""
    if count <= most:
        return list(range(count))
    return [*range(most - most // 2), *range(count - most // 2, count)]


def _draw(output: Path, path: Path, caption: Caption, with_strip: bool) -> tuple[str | None, str | None, str | None]:
    """Write one image's thumbnail and strip -> their paths in `output` as far as they can be drawn, and why not."""
    try:
        photo = open_image(path)
    except ImageError as error:
        return None, None, str(error)
    # Named by what they show: a page of an earlier run that is still there never shows another image's picture.
    name = hashlib.sha256(str(path).encode(errors="replace")).hexdigest()[:16]
    thumbnail = f"photos/{name}.jpg"
    _write(output / thumbnail, _jpeg(photo, THUMBNAIL_SIDE))
    if not (with_strip and caption.words):
        return thumbnail, None, None
    looked = hashlib.sha256(caption.text.encode(errors="replace") + caption.alphas.tobytes()).hexdigest()[:8]
    strip = f"photos/{name}-{looked}.jpg"
    try:
        figure = figure_strip(photo, caption)
    except ImageError as error:  # the photo is not the one that was captioned
        return thumbnail, None, str(error)
    _write(output / strip, _jpeg(figure, STRIP_SIDE))
    return thumbnail, strip, None


def _jpeg(image: Image.Image, longest_side: int) -> bytes:
    image = image.convert("RGB")
    image.thumbnail((longest_side, longest_side))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def _page(metrics: Mapping[str, Any], cards: Sequence[Card]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    named = {*METRICS, "skipped", "decoding", "images", "captions", "references", "split", "bundle"}
    return environment.get_template("evaluation.html").render(
        metrics=metrics,
        bundle=metrics.get("bundle"),
        figures={name: metrics[name] for name in METRICS},
        further={key: value for key, value in metrics.items() if key not in named},
        cards=cards,
    )


def _json(value: Any, name: str, indent: int | None) -> bytes:
    try:
        return (json.dumps(value, indent=indent, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} cannot be written: {error}; ids and details have to be texts and numbers") from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be made to hold the evaluation: {error.strerror}; choose another") from error


def _write(path: Path, content: bytes) -> None:
    """Write beside, then rename: who looks sees the old file or the new one, never half of one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise DataError(f"{path} cannot be written: {error.strerror}; make room or choose another folder") from error
