"""HTML page of an evaluation: photos, captions and references, best and worst, with attention strips."""

import hashlib
import io
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image
from tqdm import tqdm

from captioner.captioner import Caption
from captioner.errors import DataError, ImageError
from captioner.figures import figure_strip
from captioner.files import write_atomically
from captioner.images.photo import open_image
from captioner.text.counting import counted
from training.confidence.plots import Plot
from training.confidence.rightness import Judge
from training.data.boxes.box_set import Box, BoxSet
from training.data.records import ImageRecord
from training.evaluation.metrics import METRICS, Scores
from training.grounding.measure import outlines_of

THUMBNAIL_SIDE = 320
"""Longest side of a photo on the page, in pixels."""
STRIP_SIDE = 1600
"""Longest side of a figure strip on the page, in pixels."""
CARDS = 1000
"""Maximum number of images on the page; of a larger set, the best and the worst, half each."""
STRIPS = 48
"""Maximum number of images with attention strips: the best and the worst, half each."""


FIGURES = {"attention_correctness": "attention correctness", "pointing": "pointing"}
"""Grounding scores in metrics.json -> names on the page."""
MAPS = {"head": "head word", "best_word": "best word", "uniform": "uniform", "centre_gaussian": "centre"}
"""Maps that have these scores -> names on the page."""


@dataclass(frozen=True)
class Card:
    """Image on the page. Paths are relative to the page; None if there is no picture."""

    rank: int
    image_id: Hashable
    caption: str
    references: tuple[str, ...]
    probability: float
    confidence: float | None
    scores: Mapping[str, float]
    wrong_nouns: tuple[str, ...]
    """Nouns of the caption that no person used."""
    photo: str | None
    strip: str | None
    problem: str | None
    """Reason for a missing photo, or a missing strip."""


@dataclass(frozen=True)
class GroundingRow:
    """Means over a group of phrases."""

    name: str
    phrases: int
    values: tuple[float, ...]
    """For each score of FIGURES, the value of each map of MAPS."""


@dataclass(frozen=True)
class GroundingTable:
    """Grounding scores: over all phrases, by the type of the object, and by the size of its boxes."""

    title: str
    rows: tuple[GroundingRow, ...]
    """Empty if nothing could be measured."""


def draw_cards(
    output: Path,
    captions: Mapping[Hashable, Caption],
    records: Sequence[ImageRecord],
    scores: Scores,
    judge: Judge,
    progress: bool,
    boxes: BoxSet | None = None,
) -> list[Card]:
    """Draw the best and the worst images by CIDEr, best first; write their photos and strips to output/photos.

    judge: judge of the photos' references. boxes: boxes of objects; a word's panel shows those that it names.
    """
    by_id = {record.image_id: record for record in records}
    ordered_ids = sorted(
        captions, key=lambda image_id: (scores.per_image[image_id]["CIDEr"], scores.per_image[image_id]["METEOR"])
    )[::-1]
    ranks = _first_and_last(len(ordered_ids), CARDS)
    with_strip = set(_first_and_last(len(ordered_ids), STRIPS))
    cards = []
    for rank in tqdm(ranks, desc="drawing the page", unit="photo", disable=not progress):
        image_id = ordered_ids[rank]
        record, caption = by_id[image_id], captions[image_id]
        photo_boxes = boxes.of(record.path) if boxes else None
        outlines = outlines_of(caption, photo_boxes) if photo_boxes else {}
        photo, strip, problem = _draw_photo(output, record.path, caption, rank in with_strip, outlines)
        cards.append(
            Card(
                rank=rank + 1,
                image_id=image_id,
                caption=caption.text,
                references=tuple(record.captions),
                probability=caption.probability,
                confidence=caption.confidence,
                scores=scores.per_image[image_id],
                wrong_nouns=judge.wrong_nouns(image_id, caption.words),
                photo=photo,
                strip=strip,
                problem=problem,
            )
        )
    return cards


def _first_and_last(count: int, max_count: int) -> list[int]:
    """Return the first and last of `count` indices, `max_count` in total."""
    if count <= max_count:
        return list(range(count))
    return [*range(max_count - max_count // 2), *range(count - max_count // 2, count)]


def _draw_photo(
    output: Path, path: Path, caption: Caption, with_strip: bool, outlines: Mapping[int, Sequence[Box]]
) -> tuple[str | None, str | None, str | None]:
    """Write one image's thumbnail and strip -> their paths in `output`, None if not drawn, and the reason."""
    try:
        photo = open_image(path)
    except ImageError as error:
        return None, None, str(error)
    # Named by content, so that an old page never shows another image's picture.
    name = hashlib.sha256(str(path).encode(errors="replace")).hexdigest()[:16]
    thumbnail = f"photos/{name}.jpg"
    write_file(output / thumbnail, _encode_jpeg(photo, THUMBNAIL_SIDE))
    if not (with_strip and caption.words):
        return thumbnail, None, None
    strip_content = caption.text.encode(errors="replace") + caption.alphas.tobytes() + repr(outlines).encode()
    strip = f"photos/{name}-{hashlib.sha256(strip_content).hexdigest()[:8]}.jpg"
    try:
        figure = figure_strip(photo, caption, outlines=outlines)
    except ImageError as error:  # the photo is not the one that was captioned
        return thumbnail, None, str(error)
    write_file(output / strip, _encode_jpeg(figure, STRIP_SIDE))
    return thumbnail, strip, None


def _encode_jpeg(image: Image.Image, longest_side: int) -> bytes:
    image = image.convert("RGB")
    image.thumbnail((longest_side, longest_side))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def render_page(metrics: Mapping[str, Any], cards: Sequence[Card], plots: Sequence[Plot] = ()) -> str:
    """Render the page as HTML. metrics: content of metrics.json. plots: plots of the confidence."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    shown_keys = {*METRICS, "skipped", "decoding", "images", "captions", "references", "split", "bundle"}
    shown_keys |= {"grounding", "hallucination", "confidence"}
    grounding = metrics.get("grounding")
    return environment.get_template("evaluation.html").render(
        metrics=metrics,
        bundle=metrics.get("bundle"),
        figures={name: metrics[name] for name in METRICS},
        further={key: value for key, value in metrics.items() if key not in shown_keys},
        hallucination=metrics.get("hallucination"),
        confidence=metrics.get("confidence"),
        plots=plots,
        grounding=grounding,
        tables=grounding_tables(grounding) if grounding else [],
        figures_of_maps=FIGURES,
        maps=MAPS,
        cards=cards,
    )


def grounding_tables(grounding: Mapping[str, Any]) -> list[GroundingTable]:
    """Convert the grounding scores in metrics.json to the page's tables."""
    tables = {
        "Phrases of the references (teacher-forced)": grounding["references"],
        "Names in the generated captions": grounding["captions"],
    }
    if "evidence" in grounding:
        occlusion = grounding["evidence"]
        scope = f"names in the captions of {counted(occlusion['photos'], 'photo')}"
        tables[f"Occlusion maps (why this word), {scope}"] = occlusion["evidence"]
        tables[f"Attention, {scope}"] = occlusion["attention"]
    return [GroundingTable(title, tuple(_grounding_rows(scores))) for title, scores in tables.items()]


def _grounding_rows(scores: Mapping[str, Any]) -> Iterator[GroundingRow]:
    sizes = ((f"{size} boxes", group) for size, group in scores["by_size"].items())
    for name, group in [("all", scores), *scores["by_type"].items(), *sizes]:
        if group["phrases"]:
            values = tuple(group[key][figure] for figure in FIGURES for key in MAPS)
            yield GroundingRow(name, group["phrases"], values)


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically. Raises DataError."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}; make room or choose another folder") from error
