"""Reader of COCO captions: annotations/captions_val2017.json with the photos in val2017/, and similar files."""

import os
import re
from pathlib import Path
from typing import Any

from captioner.errors import DataError
from captioner.text.counting import counted
from training.data.readers import table
from training.data.readers.caption_files import (
    CAPTION_FOLDERS,
    CaptionFiles,
    repeated_files_error,
    split_in_name,
    subfolders,
)
from training.data.readers.fields import FLAG_REASONS, FLAGS, flagged_problem, texts_of
from training.data.readers.files import read_json, report_unused
from training.data.readers.ids import ids_of_other_type
from training.data.readers.listing import SPLIT_NAMES, Listing
from training.data.readers.photos import PhotoFinder, photo_folders

LAYOUT = (
    "a folder with annotations/captions_train2017.json, captions_val2017.json, train2017/, val2017/; or JSON of that"
    " form under any name; VizWiz, nocaps, STAIR, Label Studio, Roboflow"
)

_FLAGS = tuple(FLAGS.items())


def files(caption_files: CaptionFiles) -> list[Path]:
    """Find caption files in COCO's form in a folder and its annotations/, else in its train/, val/ and test/.

    COCO 2014 and 2017 split the same photos in two ways; `read` uses the newer one.
    """
    if caption_files.is_file:
        file = caption_files.path
        return [file] if file.suffix.lower() == ".json" and _holds_captions(caption_files, file) else []
    for candidates in ([*caption_files.top_files(), *caption_files.annotation_files()], caption_files.split_files()):
        if matches := caption_files.choose(candidates, (".json",), lambda file: _holds_captions(caption_files, file)):
            return sorted(matches)
    return []


def subfolder_files(caption_files: CaptionFiles) -> list[Path]:
    """Find such files in subfolders of any name."""
    return caption_files.choose(
        caption_files.other_files(), (".json",), lambda file: _holds_captions(caption_files, file)
    )


def has_form(sample: Any) -> bool:
    """Return whether the content of a JSON file, or a sample, has COCO's lists of images and annotations."""
    images, annotations = (sample.get(key) if isinstance(sample, dict) else None for key in ("images", "annotations"))
    if not isinstance(images, list) or images and not isinstance(images[0], dict):
        return False
    if isinstance(annotations, list):
        return not annotations or isinstance(annotations[0], dict) and "image_id" in annotations[0]
    return bool(images) and "id" in images[0] and "info" in sample


def explain(sample: Any) -> str:
    """Explain why a file of COCO's form is not used, as the rest of a sentence that starts with its name."""
    annotations = sample.get("annotations")
    if isinstance(annotations, list) and annotations:
        if "caption" in annotations[0]:
            return "also holds captions in COCO's form: give its path to use it"
        keys = ", ".join(sorted(key for key in annotations[0] if key not in ("id", "image_id"))[:6])
        return f"has COCO's form, and its annotations hold no captions ({keys}): give the captions file of these photos"
    return "has COCO's form, and lists images without annotations, as files of test splits do: it holds no captions"


def read(path: Path, images: Path | None) -> Listing:
    """List the photos and captions of the captions files of a folder, or of one file.

    The split comes from a file's name (captions_val2017.json) or folder. Photos are searched for in the folder of the
    same name (val2017/) beside the annotations folder, then in folders named after the file's split, both also inside
    images/, then beside the file. `images` replaces the data set's folder.
    Raises DataError for a file that is not JSON or has no images and annotations, and if two files caption the same
    photos in one split.
    """
    caption_files = CaptionFiles(path)
    if caption_files.is_file:
        used_files, older_files = [path], []
        root = path.parent.parent if path.parent.name.lower() in CAPTION_FOLDERS else path.parent
    else:
        used_files, older_files = _separate_newest_year(files(caption_files) or subfolder_files(caption_files))
        if not used_files:
            raise DataError(f"{path} holds no captions_*.json or JSON like it: COCO's format is {LAYOUT}")
        root = path.parent if path.name.lower() in CAPTION_FOLDERS else path
        _refuse_repeated_files(caption_files, used_files)
    listing = Listing(root, PhotoFinder([images if images is not None else root]))
    for file in used_files:
        _read_file(file, images, listing)
    if not caption_files.is_file:
        report_unused(listing, root, [*used_files, *older_files])
        for file in older_files:
            newer = used_files[0].name
            message = f"is not used, because {newer} is newer and splits the same photos; give its path to use it"
            listing.add_problem("unused_file", file, None, message)
    return listing


def _holds_captions(caption_files: CaptionFiles, file: Path) -> bool:
    sample, error = caption_files.peek(file).sample, caption_files.peek(file).error
    annotations = sample.get("annotations") if has_form(sample) else None
    if isinstance(annotations, list) and annotations:
        return any(isinstance(annotation, dict) and "caption" in annotation for annotation in annotations)
    # A damaged captions file must not be ignored silently: `read` refuses it.
    damaged = error is not None and not table.is_table(file) or isinstance(sample, dict) and "images" in sample
    return damaged and file.name.lower().startswith("captions")


def _separate_newest_year(candidates: list[Path]) -> tuple[list[Path], list[Path]]:
    """Separate the files of the newest year: COCO 2014 and 2017 split the same photos in two ways."""
    years = {file: (re.findall(r"(20\d\d)", file.stem) or [""])[-1] for file in candidates}
    newest = max(years.values(), default="")
    newest_files = [file for file in candidates if years[file] == newest]
    return newest_files, [file for file in candidates if years[file] != newest]


def _refuse_repeated_files(caption_files: CaptionFiles, used_files: list[Path]) -> None:
    """Raise DataError if two files begin with the same photos in one split: tokenised twins, copies, versions."""
    first_files: dict[tuple[str | None, str, str], Path] = {}
    for file in used_files:
        sample = caption_files.peek(file).sample
        images = sample.get("images") if isinstance(sample, dict) else None
        for image in images if isinstance(images, list) else ():
            name = _parse_image(image)[1]
            key = _find_split(file), file.parent.name, name
            if name is not None and first_files.setdefault(key, file) != file:
                raise repeated_files_error([first_files[key], file], caption_files.path)


def _find_split(file: Path) -> str | None:
    return split_in_name(file.stem) or SPLIT_NAMES.get(file.parent.name.lower())


def _read_file(file: Path, images: Path | None, listing: Listing) -> None:
    content = read_json(file)
    entries, annotations = (
        content.get(key) if isinstance(content, dict) else None for key in ("images", "annotations")
    )
    if not isinstance(entries, list) or not isinstance(annotations, list):
        raise DataError(f"{file} is not a COCO captions file: it has no lists named images and annotations at its top")
    split = _find_split(file)
    base = images if images is not None else listing.root
    prefixes = [os.path.join(folder, "") for folder in _photo_folders(file, split, base)]
    image_ids: set[int | str] = set()
    source = str(file)  # a Path is slow as part of a key
    for index, image in enumerate(entries):
        image_id, name = _parse_image(image)
        if name is None or image_id is None:
            listing.add_problem("bad_entry", file, f"images[{index}]", "has no id and file_name")
        elif image_id in image_ids:
            listing.add_problem("repeated_entry", file, f"images[{index}]", f"repeats image id {image_id}")
        else:
            image_ids.add(image_id)
            names = (name,) if os.path.isabs(name) else (*[prefix + name for prefix in prefixes], name)
            listing.add_photo((source, image_id), image_id, names, split, file, f"image {image_id}")
    _read_annotations(file, annotations, image_ids, listing)


def _photo_folders(file: Path, split: str | None, base: Path) -> list[str]:
    """Return folders for a file's photos, relative to `base`, best guess first: val2017, images/val2017, images."""
    stem = file.stem.removeprefix("captions_")
    candidates = [stem]
    roots = photo_folders(base)
    own_folder = os.path.relpath(file.parent, base)
    if not own_folder.startswith(os.pardir) and file.parent.name.lower() not in CAPTION_FOLDERS:
        candidates.append(own_folder)
    for root in roots:
        for folder in subfolders(root):
            if folder.name == stem or split is not None and split_in_name(folder.name) == split:
                candidates.append(os.path.relpath(folder, base))
    candidates += [os.path.relpath(root, base) for root in roots[1:]]
    return [folder for folder in dict.fromkeys(candidates) if folder != os.curdir]


def _parse_image(image: Any) -> tuple[int | str | None, str | None]:
    if not isinstance(image, dict):
        return None, None
    image_id = _normalise_id(image.get("id"))
    name = image.get("file_name") or image.get("filename") or image.get("path")
    if name is None and image_id is not None:  # photos are often named after their ids
        name = str(image_id)
    return image_id, name if isinstance(name, str) else None


def _normalise_id(value: Any) -> int | str | None:
    """Normalise an id: pandas writes 7.0 for 7."""
    if type(value) is int or type(value) is str:
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def _read_annotations(file: Path, annotations: list[Any], image_ids: set[int | str], listing: Listing) -> None:
    converted_ids: dict[int | str, int | str] | None = None
    converted_count = 0
    source = str(file)
    for index, annotation in enumerate(annotations):
        image_id = annotation.get("image_id") if isinstance(annotation, dict) else None
        if type(image_id) is not int:
            image_id = _normalise_id(image_id)
        elif (
            image_id in image_ids
            and "id" in annotation
            and not ("is_precanned" in annotation or "is_rejected" in annotation)
        ):
            if listing.add_plain_caption((source, image_id), annotation.get("caption"), str(annotation["id"])):
                continue
        entry = f"annotations[{index}]"
        if image_id is None or "caption" not in annotation:
            listing.add_problem("bad_entry", file, entry, "has no image_id and caption")
            continue
        if image_id not in image_ids:
            if converted_ids is None:
                converted_ids = ids_of_other_type(image_ids)
            if image_id not in converted_ids:
                message = f"captions image {image_id}, which is not among the images"
                listing.add_problem("unknown_image", file, entry, message)
                continue
            image_id = converted_ids[image_id]
            converted_count += 1
        is_flagged = "is_precanned" in annotation or "is_rejected" in annotation
        if is_flagged and (kind := flagged_problem(annotation, _FLAGS)):
            listing.add_problem(kind, file, entry, f"the caption of image {image_id} {FLAG_REASONS[kind]}")
            continue
        identity = annotation.get("id", entry)
        for text in texts_of(annotation["caption"]):
            listing.add_caption((source, image_id), text, file, entry, identity=str(identity))
    if converted_count:
        message = (
            f"has {counted(converted_count, 'annotation')} with a number as image id where the image has text, or the"
            " other way round: used as the same ids"
        )
        listing.add_problem("other_id_type", file, None, message)
