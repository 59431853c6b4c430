"""Tiny box files in each supported form, for the tests of their readers."""

import gzip
import json

from tests.support.tiny_data_sets import write


def sentence(text, *phrases):
    """phrases: (chain, first token, words)."""
    return {
        "sentence": text,
        "phrases": [
            {"id": chain, "types": ["people"], "first_word_index": first, "phrase": words}
            for chain, first, words in phrases
        ],
    }


def entry(boxes, *sentences, width=100, height=50, **more):
    return {
        "width": width,
        "height": height,
        "boxes": boxes,
        "scene": [],
        "nobox": [],
        "sentences": [*sentences],
    } | more


def entities_file(path, photos):
    text = json.dumps(photos)
    return write(path, gzip.compress(text.encode()) if path.suffix == ".gz" else text)


def release(folder, name, objects, sentences, size=(100, 50)):
    """objects: the XML between <annotation> and </annotation> after the size."""
    width, height = size
    write(
        folder / "Annotations" / f"{name}.xml",
        f"<annotation><filename>{name}.jpg</filename>"
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>{objects}</annotation>",
    )
    write(folder / "Sentences" / f"{name}.txt", sentences)
    return folder


def bounded(corners, *chains):
    sides = "".join(
        f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"<object>{''.join(f'<name>{chain}</name>' for chain in chains)}<bndbox>{sides}</bndbox></object>"


def instances_file(path, images, categories, annotations):
    """images: (id, file name); categories: (id, name, supercategory); annotations: (image id, category id, bbox)."""
    content = {
        "images": [{"id": key, "file_name": name, "width": 100, "height": 50} for key, name in images],
        "categories": [{"id": key, "name": name, "supercategory": above} for key, name, above in categories],
        "annotations": [
            {"id": number, "image_id": image, "category_id": category, "bbox": bbox, "iscrowd": 0}
            for number, (image, category, bbox) in enumerate(annotations)
        ],
    }
    return write(path, json.dumps(content))
