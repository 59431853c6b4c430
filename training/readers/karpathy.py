"""Karpathy's JSON: dataset_coco.json, dataset_flickr8k.json, dataset_flickr30k.json, with his splits."""

from pathlib import Path
from typing import Any

from captioner.errors import DataError
from training.readers.files import head_of, read_json, report_unused
from training.readers.listing import SPLIT_NAMES, Listing
from training.readers.photos import PhotoFinder, photo_folders

LAYOUT = "Karpathy's dataset_coco.json or dataset_flickr8k.json, with the photos beside it or in images/"

_HEAD_BYTES = 1 << 16


def claims(path: Path) -> bool:
    """Whether this is such a file, or a folder that holds one."""
    if path.is_dir():
        return bool(_dataset_files(path))
    head = head_of(path, _HEAD_BYTES) if path.suffix.lower() == ".json" else ""
    return '"images"' in head and '"sentences"' in head


def read(path: Path, images: Path | None) -> Listing:
    """List what the file holds; restval counts as train.

    Photos are looked for as filepath/filename and as filename, beside the file and in images/, or in `images`.
    Raises DataError for a file that is not JSON or holds no images with sentences, and for a folder with several files.
    """
    file = path
    if path.is_dir():
        files = _dataset_files(path)
        if len(files) != 1:
            raise DataError(f"{path} holds {len(files)} files in Karpathy's format, not one: give the path of one")
        file = files[0]
    root = file.parent.parent if file.parent.name == "annotations" else file.parent
    listing = Listing(root, PhotoFinder([images] if images is not None else photo_folders(root)))
    content = read_json(file)
    entries = content.get("images") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DataError(f"{file} is not in Karpathy's format: it has no list named images at its top")
    for index, image in enumerate(entries):
        _read_image(file, index, image, listing)
    if path.is_dir():
        report_unused(listing, path, [file])
    return listing


def _dataset_files(root: Path) -> list[Path]:
    files = [*root.glob("dataset*.json"), *root.glob("annotations/dataset*.json")]
    return [file for file in sorted(files) if claims(file)]


def _read_image(file: Path, index: int, image: Any, listing: Listing) -> None:
    entry = f"images[{index}]"
    name = image.get("filename") if isinstance(image, dict) else None
    sentences = image.get("sentences") if isinstance(image, dict) else None
    if not isinstance(name, str) or not name or not isinstance(sentences, list):
        listing.refuse("bad_entry", file, entry, "has no filename and list of sentences")
        return
    split = image.get("split")
    if split is not None:
        split = SPLIT_NAMES.get(str(split).lower())
        if split is None:
            listing.refuse(
                "bad_entry", file, entry, f"puts {name} into {image['split']!r}: that is no train, val or test"
            )
            return
    folder = image.get("filepath")
    names = (f"{folder}/{name}", name) if isinstance(folder, str) and folder else (name,)
    image_id = next((image[key] for key in ("cocoid", "imgid") if type(image.get(key)) in (int, str)), name)
    listing.add_photo(index, image_id, names, split, file, entry)
    for number, sentence in enumerate(sentences):
        place = f"{entry}.sentences[{number}]"
        if not isinstance(sentence, dict) or "raw" not in sentence:
            listing.refuse("bad_entry", file, place, f"holds no raw caption of {name}")
        else:
            listing.add_caption(index, sentence["raw"], file, place, identity=str(sentence.get("sentid", place)))
