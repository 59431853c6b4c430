"""Reader of COCO's instances: annotations/instances_val2017.json and similar files, with boxes by category."""

import contextlib
import io
from typing import Any

from pycocotools.coco import COCO

from captioner.text.json_values import is_number
from training.data.boxes.box_set import BoxSet, PhotoBoxes, Thing
from training.data.boxes.readers.category_words import names_of
from training.data.boxes.readers.shares import NOT_NUMBERS, Tally, box_share, is_size
from training.data.readers.ids import ids_of_other_type

LAYOUT = "COCO's instances as one .json or .json.gz: lists named images, annotations and categories"


def claims(content: Any) -> bool:
    """Return whether the content of a JSON file has this format."""
    return isinstance(content, dict) and all(
        isinstance(content.get(key), list) for key in ("images", "annotations", "categories")
    )


def read_content(content: dict[str, list[Any]], name: str) -> BoxSet:
    """Read the content of an instances file: boxes of every photo, without phrases, as it has no sentences.

    A photo has one object for each category, with all its boxes, including those of crowds. Malformed entries are
    counted.
    """
    tally = Tally()
    coco = _build_index(content, tally)
    names = {category: names_of(entry["name"]) for category, entry in coco.cats.items()}
    photos = {}
    for key, image in coco.imgs.items():
        photo = image["file_name"]
        if photo in photos:
            tally.add_problem("photos that are listed twice", photo)
            continue
        photos[photo] = PhotoBoxes({}, _build_things(coco, key, names, tally), has_sentences=False)
        tally.add("photos")
        if not photos[photo].things:
            tally.add_problem("photos without boxes", photo)
    return BoxSet(name, photos, tally.counts, tally.examples)


def _build_index(content: dict[str, list[Any]], tally: Tally) -> COCO:
    """Index the well-formed entries with pycocotools, which assumes complete entries and prints its progress."""
    images = _usable_images(content["images"], tally)
    categories = _usable_categories(content["categories"], tally)
    annotations = _usable_annotations(content["annotations"], images, categories, tally)
    coco = COCO()
    coco.dataset = {
        "images": list(images.values()),
        "categories": list(categories.values()),
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _usable_images(images: list[Any], tally: Tally) -> dict[int | str, dict[str, Any]]:
    usable: dict[int | str, dict[str, Any]] = {}
    for index, image in enumerate(images):
        position = f"images[{index}]"
        if not _has_value(image, "id", int | str) or not _has_value(image, "file_name", str) or not image["file_name"]:
            tally.add_problem("images without id and file_name", position)
        elif not is_size(image.get("width"), image.get("height")):
            size = f"{image.get('width')} x {image.get('height')} pixels"
            tally.add_problem("photos without a size", f"{position}, {image['file_name']}: {size}")
        elif image["id"] in usable:
            tally.add_problem("images that repeat an id", f"{position}, {image['file_name']}")
        else:
            usable[image["id"]] = image
    return usable


def _usable_categories(categories: list[Any], tally: Tally) -> dict[int | str, dict[str, Any]]:
    usable = {}
    for index, category in enumerate(categories):
        if (
            not _has_value(category, "id", int | str)
            or not _has_value(category, "name", str)
            or not names_of(category["name"])
        ):
            tally.add_problem("categories without id and name", f"categories[{index}]")
        else:
            usable[category["id"]] = category
    return usable


def _usable_annotations(
    annotations: list[Any], images: dict[int | str, Any], categories: dict[int | str, Any], tally: Tally
) -> list[dict[str, Any]]:
    """Return annotations of known photos and categories, with new ids, as theirs may be missing or not unique."""
    image_aliases, category_aliases = ids_of_other_type(images), ids_of_other_type(categories)
    usable = []
    for index, annotation in enumerate(annotations):
        position = f"annotations[{index}]"
        if not _has_value(annotation, "image_id", int | str) or not _has_value(annotation, "category_id", int | str):
            tally.add_problem("annotations without image_id and category_id", position)
            continue
        image_id, category_id = annotation["image_id"], annotation["category_id"]
        image_id = image_id if image_id in images else image_aliases.get(image_id)
        category_id = category_id if category_id in categories else category_aliases.get(category_id)
        if image_id is None:
            tally.add_problem("annotations of no photo in the file", f"{position}: image {annotation['image_id']}")
        elif category_id is None:
            tally.add_problem(
                "annotations of no category in the file", f"{position}: category {annotation['category_id']}"
            )
        else:
            bbox = annotation.get("bbox")
            usable.append({"image_id": image_id, "category_id": category_id, "bbox": bbox, "id": index})
    return usable


def _has_value(entry: Any, key: str, types: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get(key), types) and not isinstance(entry[key], bool)


def _build_things(coco: COCO, key: int | str, names: dict[int | str, frozenset[str]], tally: Tally) -> list[Thing]:
    image = coco.imgs[key]
    boxes: dict[int | str, dict] = {}
    for annotation in coco.imgToAnns.get(key, ()):
        position = f"{image['file_name']}, annotations[{annotation['id']}]"
        corners = _convert_corners(annotation["bbox"], tally, position)
        box = corners and box_share(corners, image["width"], image["height"], tally, position)
        if box:
            tally.add("boxes")
            boxes.setdefault(annotation["category_id"], {})[box] = None
    return [
        Thing(names[category], tuple(category_boxes), _object_types(coco.cats[category]))
        for category, category_boxes in boxes.items()
    ]


def _object_types(category: dict[str, Any]) -> tuple[str, ...]:
    supercategory = category.get("supercategory")
    return (supercategory if isinstance(supercategory, str) and supercategory else category["name"],)


def _convert_corners(bbox: Any, tally: Tally, position: str) -> list[float] | None:
    """Convert left, top, width, height to left, top, right, bottom, in pixels."""
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(is_number, bbox)):
        return tally.add_problem(NOT_NUMBERS, f"{position}: {str(bbox)[:80]}")
    left, top, width, height = bbox
    return [left, top, left + width, top + height]
