"""COCO captions: annotations/captions_val2017.json with the photos in val2017/, and files of the same form."""

import os
import re
from pathlib import Path
from typing import Any

from captioner.errors import DataError
from training.readers.files import head_of, read_json, report_unused
from training.readers.listing import SPLIT_NAMES, Listing
from training.readers.photos import PhotoFinder, photo_folders

LAYOUT = (
    "a folder with annotations/captions_train2017.json, captions_val2017.json, train2017/, val2017/; or one such JSON"
)

_HEAD_BYTES = 1 << 20


def claims(path: Path) -> bool:
    """Whether this is a COCO captions file, or a folder that holds some."""
    if path.is_dir():
        return bool(_caption_files(path))
    head = head_of(path, _HEAD_BYTES) if path.suffix.lower() == ".json" else ""
    is_coco = head.lstrip().startswith("{") and re.search(r'"(images|annotations)"', head) is not None
    return is_coco and '"sentences"' not in head  # those are Karpathy's


def read(path: Path, images: Path | None) -> Listing:
    """List what the captions files of a folder, or one file, hold.

    The split is read from a file's name (captions_val2017.json). Photos are looked for in the folder of the same name
    (val2017/) beside the annotations folder, in images/val2017/, then beside it without that; or so in `images`.
    Raises DataError for a file that is not JSON or holds no images and annotations.
    """
    if path.is_dir():
        files, left = _newest_year(_caption_files(path))
        if not files:
            raise DataError(f"{path} holds no captions_*.json, nor does its annotations/: COCO's format is {LAYOUT}")
        root = path
    else:
        files, left = [path], []
        root = path.parent.parent if path.parent.name == "annotations" else path.parent
    listing = Listing(root, PhotoFinder([images] if images is not None else photo_folders(root)))
    for file in files:
        _read_file(file, listing)
    if path.is_dir():
        for folder in dict.fromkeys([path, *(file.parent for file in files)]):
            report_unused(listing, folder, [*files, *left])
        for file in left:
            message = (
                f"is not used, because {files[0].name} is newer and splits the same photos; give its path to use it"
            )
            listing.refuse("unused_file", file, None, message)
    return listing


def _caption_files(root: Path) -> list[Path]:
    return sorted([*root.glob("annotations/captions*.json"), *root.glob("captions*.json")])


def _newest_year(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """COCO 2014 and 2017 are the same photos split in two ways: mixed, they would put photos into two splits."""
    years = {file: (re.findall(r"(20\d\d)", file.stem) or [""])[-1] for file in files}
    newest = max(years.values(), default="")
    return [file for file in files if years[file] == newest], [file for file in files if years[file] != newest]


def _split_of(file: Path) -> str | None:
    for word in re.findall(r"[a-z]+", file.stem.lower()):
        if word in SPLIT_NAMES:
            return SPLIT_NAMES[word]
    return None


def _read_file(file: Path, listing: Listing) -> None:
    content = read_json(file)
    images, annotations = (content.get(key) if isinstance(content, dict) else None for key in ("images", "annotations"))
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise DataError(f"{file} is not a COCO captions file: it has no lists named images and annotations at its top")
    split = _split_of(file)
    folder = file.stem.removeprefix("captions_")
    known = set()
    for index, image in enumerate(images):
        image_id, name = _image_of(image)
        if name is None or image_id is None:
            listing.refuse("bad_entry", file, f"images[{index}]", "has no id and file_name")
        elif image_id in known:
            listing.refuse("repeated_entry", file, f"images[{index}]", f"repeats image id {image_id}")
        else:
            known.add(image_id)
            names = (os.path.join(folder, name), name)
            listing.add_photo((file, image_id), image_id, names, split, file, f"image {image_id}")
    _read_annotations(file, annotations, known, listing)


def _image_of(image: Any) -> tuple[int | str | None, str | None]:
    if not isinstance(image, dict):
        return None, None
    image_id, name = image.get("id"), image.get("file_name")
    return image_id if type(image_id) in (int, str) else None, name if isinstance(name, str) and name else None


def _read_annotations(file: Path, annotations: list[Any], known: set[int | str], listing: Listing) -> None:
    for index, annotation in enumerate(annotations):
        entry = f"annotations[{index}]"
        image_id = annotation.get("image_id") if isinstance(annotation, dict) else None
        if type(image_id) not in (int, str) or "caption" not in annotation:
            listing.refuse("bad_entry", file, entry, "has no image_id and caption")
        elif image_id not in known:
            listing.refuse("unknown_image", file, entry, f"captions image {image_id}, which is not among the images")
        else:
            identity = annotation.get("id", entry)
            listing.add_caption((file, image_id), annotation["caption"], file, entry, identity=str(identity))
