"""Reader of Karpathy's JSON with his splits: dataset_coco.json, dataset_flickr8k.json, dataset_flickr30k.json."""

from pathlib import Path
from typing import Any

from captioner.errors import DataError
from training.data.readers.caption_files import CAPTION_FOLDERS, CaptionFiles, repeated_files_error
from training.data.readers.files import read_json, report_unused
from training.data.readers.listing import SPLIT_NAMES, Listing
from training.data.readers.photos import PhotoFinder, photo_folders

LAYOUT = "Karpathy's dataset_coco.json, dataset_flickr8k.json or the like, with the photos beside it or in images/"


def files(caption_files: CaptionFiles) -> list[Path]:
    """Find files of this form in a folder and its annotations/, or return the single file if it is one."""
    candidates = [*caption_files.top_files(), *caption_files.annotation_files()]
    return caption_files.choose(candidates, (".json",), lambda file: has_form(caption_files.peek(file).sample))


def subfolder_files(caption_files: CaptionFiles) -> list[Path]:
    """Find such files in subfolders of any name."""
    return caption_files.choose(
        caption_files.other_files(), (".json",), lambda file: has_form(caption_files.peek(file).sample)
    )


def has_form(sample: Any) -> bool:
    """Return whether the content of a JSON file, or a sample of it, has a list of images with sentences."""
    entries = sample.get("images") if isinstance(sample, dict) else None
    return isinstance(entries, list) and any(isinstance(image, dict) and "sentences" in image for image in entries)


def read(path: Path, images: Path | None) -> Listing:
    """List the photos and captions of the file; restval counts as train.

    Photos are searched for as filepath/filename and as filename, beside the file and in images/, or in `images`.
    Raises DataError for a file that is not JSON or has no images with sentences, and for a folder with several files.
    """
    file = path
    if path.is_dir():
        caption_files = CaptionFiles(path)
        matches = files(caption_files) or subfolder_files(caption_files)
        if len(matches) > 1:
            raise repeated_files_error(matches, path)
        if not matches:
            raise DataError(f"{path} holds no file in Karpathy's format: it is {LAYOUT}")
        file = matches[0]
    root = path
    if not path.is_dir():
        root = file.parent.parent if file.parent.name.lower() in CAPTION_FOLDERS else file.parent
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


def _read_image(file: Path, index: int, image: Any, listing: Listing) -> None:
    entry = f"images[{index}]"
    name = image.get("filename") if isinstance(image, dict) else None
    sentences = image.get("sentences") if isinstance(image, dict) else None
    if not isinstance(name, str) or not name or not isinstance(sentences, list):
        listing.add_problem("bad_entry", file, entry, "has no filename and list of sentences")
        return
    split = image.get("split")
    if split is not None:
        split = SPLIT_NAMES.get(str(split).lower())
        if split is None:
            listing.add_problem(
                "bad_entry", file, entry, f"puts {name} into {image['split']!r}: that is no train, val or test"
            )
            return
    folder = image.get("filepath")
    names = (f"{folder}/{name}", name) if isinstance(folder, str) and folder else (name,)
    image_id = next((image[key] for key in ("cocoid", "imgid") if type(image.get(key)) in (int, str)), name)
    listing.add_photo(index, image_id, names, split, file, entry)
    for number, sentence in enumerate(sentences):
        position = f"{entry}.sentences[{number}]"
        raw = sentence.get("raw") or _join_tokens(sentence.get("tokens")) if isinstance(sentence, dict) else None
        if raw is None:
            listing.add_problem("bad_entry", file, position, f"holds no raw caption of {name}")
        else:
            listing.add_caption(index, raw, file, position, identity=str(sentence.get("sentid", position)))


def _join_tokens(tokens: Any) -> str | None:
    """Join the tokens of a sentence that has no raw text; None if there are none."""
    return " ".join(map(str, tokens)) if isinstance(tokens, list) and tokens else None
