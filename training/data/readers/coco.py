"""Reader of COCO captions: annotations/captions_val2017.json with the photos in val2017/, and similar files."""

import os
import re
from pathlib import Path
from typing import Any

from captioner.counting import counted
from captioner.errors import DataError
from training.data.readers import table
from training.data.readers.caption_files import CAPTION_FOLDERS, CaptionFiles, repeating, split_in_name, subfolders
from training.data.readers.fields import FLAG_REASONS, FLAGS, flagged, texts_of
from training.data.readers.files import read_json, report_unused
from training.data.readers.ids import ids_of_other_type
from training.data.readers.listing import SPLIT_NAMES, Listing
from training.data.readers.photos import PhotoFinder, photo_folders

LAYOUT = (
    "a folder with annotations/captions_train2017.json, captions_val2017.json, train2017/, val2017/; or JSON of that"
    " form under any name; VizWiz, nocaps, STAIR, Label Studio, Roboflow"
)

_FLAGS = tuple(FLAGS.items())


def files(found: CaptionFiles) -> list[Path]:
    """Find caption files in COCO's form in a folder and its annotations/, else in its train/, val/ and test/.

    COCO 2014 and 2017 split the same photos in two ways; `read` uses the newer one.
    """
    if found.is_file:
        return [found.path] if found.path.suffix.lower() == ".json" and _holds_captions(found, found.path) else []
    for place in ([*found.own(), *found.apart()], found.in_splits()):
        if chosen := found.choose(place, (".json",), lambda file: _holds_captions(found, file)):
            return sorted(chosen)
    return []


def elsewhere(found: CaptionFiles) -> list[Path]:
    """Find such files in subfolders of any name."""
    return found.choose(found.elsewhere(), (".json",), lambda file: _holds_captions(found, file))


def has_form(sample: Any) -> bool:
    """Return whether the content of a JSON file, or a sample, has COCO's lists of images and annotations."""
    images, annotations = (sample.get(key) if isinstance(sample, dict) else None for key in ("images", "annotations"))
    if not isinstance(images, list) or images and not isinstance(images[0], dict):
        return False
    if isinstance(annotations, list):
        return not annotations or isinstance(annotations[0], dict) and "image_id" in annotations[0]
    return bool(images) and "id" in images[0] and "info" in sample


def explain(sample: Any) -> str:
    """Say why a file of COCO's form is not used, as the rest of a sentence that starts with its name."""
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
    found = CaptionFiles(path)
    if found.is_file:
        chosen, left = [path], []
        root = path.parent.parent if path.parent.name.lower() in CAPTION_FOLDERS else path.parent
    else:
        chosen, left = _newest_year(files(found) or elsewhere(found))
        if not chosen:
            raise DataError(f"{path} holds no captions_*.json or JSON like it: COCO's format is {LAYOUT}")
        root = path.parent if path.name.lower() in CAPTION_FOLDERS else path
        _refuse_repeating(found, chosen)
    listing = Listing(root, PhotoFinder([images if images is not None else root]))
    for file in chosen:
        _read_file(file, images, listing)
    if not found.is_file:
        report_unused(listing, root, [*chosen, *left])
        for file in left:
            message = (
                f"is not used, because {chosen[0].name} is newer and splits the same photos; give its path to use it"
            )
            listing.refuse("unused_file", file, None, message)
    return listing


def _holds_captions(found: CaptionFiles, file: Path) -> bool:
    sample, error = found.peek(file).sample, found.peek(file).error
    annotations = sample.get("annotations") if has_form(sample) else None
    if isinstance(annotations, list) and annotations:
        return any(isinstance(annotation, dict) and "caption" in annotation for annotation in annotations)
    # A damaged captions file must not be ignored silently: `read` refuses it.
    damaged = error is not None and not table.is_table(file) or isinstance(sample, dict) and "images" in sample
    return damaged and file.name.lower().startswith("captions")


def _newest_year(found: list[Path]) -> tuple[list[Path], list[Path]]:
    """Separate the files of the newest year: COCO 2014 and 2017 split the same photos in two ways."""
    years = {file: (re.findall(r"(20\d\d)", file.stem) or [""])[-1] for file in found}
    newest = max(years.values(), default="")
    return [file for file in found if years[file] == newest], [file for file in found if years[file] != newest]


def _refuse_repeating(found: CaptionFiles, chosen: list[Path]) -> None:
    """Raise DataError if two files begin with the same photos in one split: tokenised twins, copies, versions."""
    first_of: dict[tuple[str | None, str], Path] = {}
    for file in chosen:
        sample = found.peek(file).sample
        images = sample.get("images") if isinstance(sample, dict) else None
        for image in images if isinstance(images, list) else ():
            name = _image_of(image)[1]
            if name is not None and first_of.setdefault((_split_of(file), file.parent.name, name), file) != file:
                raise repeating([first_of[_split_of(file), file.parent.name, name], file], found.path)


def _split_of(file: Path) -> str | None:
    return split_in_name(file.stem) or SPLIT_NAMES.get(file.parent.name.lower())


def _read_file(file: Path, images: Path | None, listing: Listing) -> None:
    content = read_json(file)
    entries, annotations = (
        content.get(key) if isinstance(content, dict) else None for key in ("images", "annotations")
    )
    if not isinstance(entries, list) or not isinstance(annotations, list):
        raise DataError(f"{file} is not a COCO captions file: it has no lists named images and annotations at its top")
    split = _split_of(file)
    base = images if images is not None else listing.root
    prefixes = [os.path.join(folder, "") for folder in _photo_folders(file, split, base)]
    known: set[int | str] = set()
    place = str(file)  # a Path is slow as part of a key
    for index, image in enumerate(entries):
        image_id, name = _image_of(image)
        if name is None or image_id is None:
            listing.refuse("bad_entry", file, f"images[{index}]", "has no id and file_name")
        elif image_id in known:
            listing.refuse("repeated_entry", file, f"images[{index}]", f"repeats image id {image_id}")
        else:
            known.add(image_id)
            names = (name,) if os.path.isabs(name) else (*[prefix + name for prefix in prefixes], name)
            listing.add_photo((place, image_id), image_id, names, split, file, f"image {image_id}")
    _read_annotations(file, annotations, known, listing)


def _photo_folders(file: Path, split: str | None, base: Path) -> list[str]:
    """Return folders for a file's photos, relative to `base`, best guess first: val2017, images/val2017, images."""
    named = file.stem.removeprefix("captions_")
    likely = [named]
    roots = photo_folders(base)
    inside = os.path.relpath(file.parent, base)
    if not inside.startswith(os.pardir) and file.parent.name.lower() not in CAPTION_FOLDERS:
        likely.append(inside)
    for root in roots:
        for folder in subfolders(root):
            if folder.name == named or split is not None and split_in_name(folder.name) == split:
                likely.append(os.path.relpath(folder, base))
    likely += [os.path.relpath(root, base) for root in roots[1:]]
    return [folder for folder in dict.fromkeys(likely) if folder != os.curdir]


def _image_of(image: Any) -> tuple[int | str | None, str | None]:
    if not isinstance(image, dict):
        return None, None
    image_id = _id_of(image.get("id"))
    name = image.get("file_name") or image.get("filename") or image.get("path")
    if name is None and image_id is not None:  # photos are often named after their ids
        name = str(image_id)
    return image_id, name if isinstance(name, str) else None


def _id_of(value: Any) -> int | str | None:
    """Normalise an id: pandas writes 7.0 for 7."""
    if type(value) is int or type(value) is str:
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def _read_annotations(file: Path, annotations: list[Any], known: set[int | str], listing: Listing) -> None:
    other_type: dict[int | str, int | str] | None = None
    converted = 0
    place = str(file)
    for index, annotation in enumerate(annotations):
        image_id = annotation.get("image_id") if isinstance(annotation, dict) else None
        if type(image_id) is not int:
            image_id = _id_of(image_id)
        elif (
            image_id in known
            and "id" in annotation
            and not ("is_precanned" in annotation or "is_rejected" in annotation)
        ):
            if listing.add_plain_caption((place, image_id), annotation.get("caption"), str(annotation["id"])):
                continue
        entry = f"annotations[{index}]"
        if image_id is None or "caption" not in annotation:
            listing.refuse("bad_entry", file, entry, "has no image_id and caption")
            continue
        if image_id not in known:
            if other_type is None:
                other_type = ids_of_other_type(known)
            if image_id not in other_type:
                message = f"captions image {image_id}, which is not among the images"
                listing.refuse("unknown_image", file, entry, message)
                continue
            image_id = other_type[image_id]
            converted += 1
        if ("is_precanned" in annotation or "is_rejected" in annotation) and (kind := flagged(annotation, _FLAGS)):
            listing.refuse(kind, file, entry, f"the caption of image {image_id} {FLAG_REASONS[kind]}")
            continue
        identity = annotation.get("id", entry)
        for text in texts_of(annotation["caption"]):
            listing.add_caption((place, image_id), text, file, entry, identity=str(identity))
    if converted:
        message = (
            f"has {counted(converted, 'annotation')} with a number as image id where the image has text, or the other"
            " way round: used as the same ids"
        )
        listing.refuse("other_id_type", file, None, message)
