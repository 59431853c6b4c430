"""JSON files of records with a photo and its captions: a list, a list in an object, or an object of photo names."""

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from captioner.errors import DataError
from training.data.boxes.readers import entities
from training.data.readers import coco, karpathy
from training.data.readers.caption_files import CaptionFiles, with_splits
from training.data.readers.fields import explain_missing, find_fields, texts_of
from training.data.readers.files import read_json, report_unused
from training.data.readers.listing import SPLIT_NAMES, Listing
from training.data.readers.photos import PhotoFinder, is_photo, photo_folders
from training.data.readers.rows import Rows

LAYOUT = (
    'a .json with a list of {"image": ..., "caption": ...}, alone, as "data" or by split, or with {"photo.jpg":'
    " caption or captions}; BLIP's, TextCaps', kohya's, Label Studio's"
)

_NAME, _TEXT = "image", "caption"
"""Keys of the records made from an object of photo names."""


def files(caption_files: CaptionFiles, weak: bool = False) -> list[Path]:
    """Find the JSON files of records in a folder, or the named file if it is one.

    weak: include files that name photos only by an id or a URL.
    """
    return caption_files.choose_first(
        (".json", ".jsonl"), partial(_is_record_file, caption_files, weak=weak or caption_files.is_file)
    )


def subfolder_files(caption_files: CaptionFiles) -> list[Path]:
    """Find such files in subfolders of any name."""
    return caption_files.choose(
        caption_files.other_files(), (".json",), partial(_is_record_file, caption_files, weak=False)
    )


def read(path: Path, images: Path | None) -> Listing:
    """List the records of a file, or of a folder's files.

    The split comes from the record, from the list's name ({"train": [...]}), or, with several files, from the file's
    name. Photos are searched for relative to the file's folder, to the data set's, and to images/ in either; or in
    `images`.
    Raises DataError for a file that is not JSON or holds no such records, and for files that may repeat each other.
    """
    caption_files = CaptionFiles(path)
    used_files = (
        [path]
        if caption_files.is_file
        else files(caption_files) or files(caption_files, weak=True) or subfolder_files(caption_files)
    )
    if not used_files:
        raise DataError(f"{path} holds no JSON of captions: this format is {LAYOUT}")
    root = path.parent if caption_files.is_file else path
    listing = Listing(root, PhotoFinder([images if images is not None else root]))
    for file, split in with_splits(used_files, root):
        _read_file(file, split, images, listing)
    if not caption_files.is_file:
        report_unused(listing, root, used_files)
    return listing


def explain(caption_files: CaptionFiles, file: Path) -> str:
    """Explain why a JSON file is not read as records, as the rest of a sentence that starts with its name."""
    sample = caption_files.peek(file).sample
    if karpathy.has_form(sample):
        return "also holds captions in Karpathy's form: give its path to use it"
    if caption_files.peek(file).error:
        return caption_files.peek(file).error
    record = next((record for _, _, record in _records(sample, file.parent)), None)
    if isinstance(record, Mapping):
        reason = explain_missing(record, "key")
        return reason if find_fields(record) else f"records with {reason}"
    if isinstance(sample, list):
        return f"a list of {type(sample[0]).__name__}, not of objects" if sample else "an empty list"
    if not isinstance(sample, dict):
        return f"a {type(sample).__name__}, neither a list nor an object"
    name, value = next(iter(sample.items()), ("", None))
    if is_photo(name) and isinstance(value, Mapping):
        return f"names photos ({name}), and their records have {explain_missing((*value, _NAME), 'key')}"
    keys = ", ".join(str(key)[:40] for key in islice(sample, 8))
    return f"an object with the keys {keys or '(none)'}; neither a list of records nor names of photos"


def _is_record_file(caption_files: CaptionFiles, file: Path, weak: bool) -> bool:
    sample = caption_files.peek(file).sample
    if coco.has_form(sample) or karpathy.has_form(sample) or is_sidecar(file) or not weak and entities.claims(sample):
        return False
    for _, _, record in _records(sample, file.parent):
        fields = find_fields(record) if isinstance(record, Mapping) else None
        if fields is not None and (weak or not fields.weak):
            return True
    return False


def is_sidecar(file: Path) -> bool:
    """Return whether a JSON file belongs to a single photo of its name."""
    stem = file.with_suffix("")
    return is_photo(stem.name) or any(
        stem.with_suffix(ending).exists() for ending in (".jpg", ".png", ".jpeg", ".webp")
    )


def _read_file(file: Path, split: str | None, images: Path | None, listing: Listing) -> None:
    content = read_json(file)
    rows = Rows(listing, file, split, images)
    by_split: dict[str, Rows] = {}
    count = 0
    for entry, record_split, record in _records(content, file.parent):
        count += 1
        fields = find_fields(record) if isinstance(record, Mapping) else None
        if fields is None:
            reason = explain_missing(record, "key") if isinstance(record, Mapping) else "it is not an object"
            listing.add_problem("bad_entry", file, entry, f"names no image with a caption: {reason}")
        elif record_split is None:
            rows.add(entry, record, fields)
        else:
            by_split.setdefault(record_split, Rows(listing, file, record_split, images)).add(entry, record, fields)
    if not count:
        raise DataError(f"{file} holds no records of photos and captions: this format is {LAYOUT}")
    for split_rows in (rows, *by_split.values()):
        split_rows.finish()


def _records(content: Any, folder: Path) -> Iterator[tuple[str, str | None, Any]]:
    """Yield position, split and content of every record of a JSON file; nothing if its form is unknown.

    folder: folder of the file; keys of an object may name its photos without their extension.
    """
    if isinstance(content, list):
        yield from _list_records("", content, None)
    elif not isinstance(content, dict) or not content:
        return
    elif _is_columns(content):
        yield from _column_records(content)
    elif isinstance(content.get("columns"), list) and isinstance(content.get("data"), list):  # pandas' orient="split"
        names = [str(name) for name in content["columns"]]
        for index, row in enumerate(content["data"]):
            yield f"data[{index}]", None, dict(zip(names, row, strict=False)) if type(row) is list else row
    elif _holds_records(content):
        for key, record in content.items():
            yield key, None, record
    elif _names_photos(content, folder):
        for name, value in content.items():
            yield name, None, {**value, _NAME: name} if _has_captions(value) else {_NAME: name, _TEXT: value}
    else:
        for key, value in content.items():
            split = SPLIT_NAMES.get(key.lower())
            if isinstance(value, list) and value and isinstance(value[0], dict):
                yield from _list_records(key, value, split)
            elif isinstance(value, dict) and value and _names_photos(value, folder):
                yield from ((f"{key}.{position}", split, record) for position, _, record in _records(value, folder))


def _list_records(key: str, records: Iterable[Any], split: str | None) -> Iterator[tuple[str, str | None, Any]]:
    for index, record in enumerate(records):
        yield f"{key}[{index}]", split, _flatten_label_studio(record)


def _holds_records(content: dict[str, Any]) -> bool:
    """Return whether most values of an object are records with a photo: {"17": {"image": ..., "caption": ...}}."""
    sample = list(islice(content.values(), 20))
    return 2 * sum(isinstance(value, dict) and find_fields(value) is not None for value in sample) > len(sample)


def _has_captions(value: Any) -> bool:
    return isinstance(value, Mapping) and find_fields((*value, _NAME)) is not None


def _names_photos(content: dict[str, Any], folder: Path) -> bool:
    """Return whether the keys of an object are photos and its values are captions or objects with captions."""
    sample = list(islice(content.items(), 20))
    if 2 * sum(all(isinstance(text, str) for text in texts_of(value)) for _, value in sample) <= len(sample):
        return False
    if 2 * sum(is_photo(key) for key, _ in sample) > len(sample):
        return True
    stems = _photo_stems(folder)
    names = [key.replace("\\", "/").rpartition("/")[2] for key, _ in sample]  # also with Windows separators
    return 2 * sum(name in stems for name in names) > len(sample)


def _photo_stems(folder: Path) -> set[str]:
    stems = set()
    for photo_folder in photo_folders(folder):
        with os.scandir(photo_folder) as entries:
            stems.update(os.path.splitext(entry.name)[0] for entry in entries if is_photo(entry.name))
    return stems


def _is_columns(content: dict[str, Any]) -> bool:
    """Return whether content has pandas' columns: {"image": {"0": ...}, "caption": {"0": ...}}, or lists."""
    fields = find_fields(content)
    values = [content[key] for key in (*fields.image, *fields.captions)] if fields else []
    return bool(values) and (
        all(isinstance(value, dict) for value in values)
        or all(isinstance(value, list) and value and not isinstance(value[0], dict) for value in values)
    )


def _column_records(content: dict[str, Any]) -> Iterator[tuple[str, str | None, Any]]:
    columns = {key: value for key, value in content.items() if isinstance(value, dict | list)}
    rows = {key: value if isinstance(value, dict) else dict(enumerate(value)) for key, value in columns.items()}
    for index in next(iter(rows.values())):
        yield f"row {index}", None, {key: values.get(index) for key, values in rows.items()}


def _flatten_label_studio(record: Any) -> Any:
    """Flatten Label Studio's full JSON: the photo under "data", texts in the results of annotations."""
    data = record.get("data") if isinstance(record, Mapping) else None
    annotations = record.get("annotations") if isinstance(data, Mapping) else None
    if not isinstance(annotations, list):
        return record
    valid_annotations = [
        annotation
        for annotation in annotations
        if isinstance(annotation, Mapping) and not annotation.get("was_cancelled")
    ]
    texts = [
        text
        for results in (annotation.get("result") for annotation in valid_annotations)
        if isinstance(results, list)
        for result in results
        if isinstance(result, Mapping) and isinstance(result.get("value"), Mapping)
        for text in texts_of(result["value"].get("text", []))
    ]
    return {**data, _TEXT: texts or data.get(_TEXT, [])}
