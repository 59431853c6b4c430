"""Find the keys of photos and captions in records of tables, JSON and Parquet, and read their values.

Keys are compared in lower case with underscores between words: `Image Path`, `imagePath` and `image-path` are the same.
"""

import ast
import functools
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from training.data.readers.photos import is_photo

IMAGE_KEYS = tuple(
    "image image_path image_file image_filename image_file_name image_name img img_path img_file img_name img_filename"
    " file_name filename filepath file_path path photo photo_path photo_file photo_name picture picture_path"
    " picture_name imagename imagepath relative_path rel_path local_path full_path images image_paths file"
    " captioning".split()  # the photo in Label Studio's caption template
)
"""Keys of a photo's file, most probable first."""

ID_KEYS = tuple("image_id img_id imageid photo_id name id key".split())
"""Keys that name a photo if no key of a file exists: photos are often named after their ids."""

ADDRESS_KEYS = tuple(
    "image_url image_urls img_url photo_url picture_url url urls uri image_uri coco_url flickr_url link src".split()
)

CAPTION_KEYS = tuple(
    "caption captions caption_str caption_text text texts sentence sentences sentences_raw raw raw_caption raw_captions"
    " comment comments description descriptions prompt prompts title titles alt alt_text alttext report reference"
    " references reference_strs tags".split()
)
"""Keys of captions, most probable first; each may be numbered (caption_0 to caption_4)."""

SPLIT_KEYS = ("split", "set", "subset", "set_name", "partition")

FLAGS = {"is_precanned": "precanned_caption", "is_rejected": "rejected_caption"}
"""VizWiz's flags of captions that do not describe the photo -> kind of problem."""

FLAG_REASONS = {
    "rejected_caption": "is marked is_rejected: not used",
    "precanned_caption": "is marked is_precanned (a sentence chosen because the photo shows too little): not used",
}

_NUMBERED = re.compile(r"(.+?)_?(\d{1,3})")
_NOT_CAPTIONS = frozenset(
    "id ids index idx number num no count length len tokens tokenized tokenised score scores url path file lang"
    " language source type model date time author embedding features".split()
)
"""Words in names of columns that refer to a caption but do not hold it (caption_id, caption_tokens)."""
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_LIST = re.compile(r"\s*\[\s*(['\"].*['\"])?\s*\]\s*", re.DOTALL)
_MAX_LIST_LENGTH = 100_000  # characters of a cell that is parsed as a list
_MAX_DEPTH = 8  # levels of nested objects to search for captions


@dataclass(frozen=True)
class Fields:
    """Keys of a record, in their original spelling."""

    image: tuple[str, ...]
    """Keys that name the photo, most probable first."""
    captions: tuple[str, ...]
    split: str | None
    flags: tuple[tuple[str, str], ...]
    """Key and kind of problem of each flag for unusable captions."""
    others: tuple[str, ...]
    """Unused keys that could also be captions."""
    weak: bool
    """Whether only an id or a URL names the photo."""


def normal_key(key: str) -> str:
    """Spell a key in lower case with underscores."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key.strip())
    return re.sub(r"[\s.\-]+", "_", words).strip("_").lower()


def find_fields(keys: Iterable[str]) -> Fields | None:
    """Find the fields of a record with these keys; None if no key names a photo, or none a caption."""
    return _find_fields(tuple(keys))


@functools.lru_cache(maxsize=1024)
def _find_fields(keys: tuple[str, ...]) -> Fields | None:
    spellings = {normal_key(key): key for key in reversed(keys) if isinstance(key, str)}
    image = [spellings[key] for key in IMAGE_KEYS if key in spellings][:2]
    weak = not image
    if weak:
        image = [spellings[key] for key in (*ID_KEYS, *ADDRESS_KEYS) if key in spellings][:2]
    groups = _caption_groups([key for key in spellings if spellings[key] not in image])
    if not image or not groups:
        return None
    captions, *others = ([spellings[key] for key in group] for group in groups)
    return Fields(
        tuple(image),
        tuple(captions),
        next((spellings[key] for key in SPLIT_KEYS if key in spellings), None),
        tuple((spellings[key], kind) for key, kind in FLAGS.items() if key in spellings),
        tuple(key for group in others for key in group),
        weak,
    )


def _caption_groups(keys: list[str]) -> list[list[str]]:
    """Group the keys of captions with their numbered companions: [[caption, caption_1, caption_2], [title]]."""
    numbered: dict[str, list[tuple[int, str]]] = {}
    for key in keys:
        if (match := _NUMBERED.fullmatch(key)) and match[1] in CAPTION_KEYS:
            numbered.setdefault(match[1], []).append((int(match[2]), key))
    groups = []
    for name in CAPTION_KEYS:
        group = [name] if name in keys else []
        group += [key for _, key in sorted(numbered.get(name, ()))]
        if group:
            groups.append(group)
    if groups:
        return groups
    candidates = _find_caption_like(keys)
    return [candidates] if len(candidates) == 1 else []


def _find_caption_like(keys: list[str]) -> list[str]:
    """Return keys like image_caption, caption_en, blip_caption: a single one is clear, several are ambiguous."""
    return [
        key for key in keys if (words := set(key.split("_"))) & {"caption", "captions"} and not words & _NOT_CAPTIONS
    ]


def explain_missing(keys: Iterable[str], noun: str = "column") -> str:
    """Explain what is missing if `find_fields` finds nothing: "columns filepath, size; no caption column (...)"."""
    keys = [key for key in keys if isinstance(key, str)]
    key_list = ", ".join(key.strip()[:40] or "(no name)" for key in keys[:12]) + (", ..." if len(keys) > 12 else "")
    normal_keys = [normal_key(key) for key in keys]
    missing = []
    if not any(key in normal_keys for key in (*IMAGE_KEYS, *ID_KEYS)):
        if address := next((key for key in normal_keys if key in ADDRESS_KEYS), None):
            missing.append(
                f"the photos are addresses ({address}), which are not fetched: download them, and name the files"
            )
        else:
            missing.append(f"no image {noun} (image, file_name, path, ...)")
    if not _caption_groups(normal_keys):
        if candidates := [
            key.strip() for key, normal in zip(keys, normal_keys, strict=True) if _find_caption_like([normal])
        ]:
            missing.append(
                f"no caption {noun} is certain: of {', '.join(candidates[:6])}, call the one to learn caption"
            )
        else:
            missing.append(f"no caption {noun} (caption, title, text, ...)")
    if not missing:
        return f"also holds captions ({noun}s {key_list}): give its path to use it"
    return f"{noun}s {key_list}; {' and '.join(missing)}" if key_list else f"no {noun}s"


def photo_names(record: Mapping[str, Any], fields: Fields) -> list[str]:
    """Return the names of a record's photo, most probable first; empty if it has none."""
    values = [_read_image_value(record.get(key)) for key in fields.image]
    names = [name for value in values if value is not None for name in _spellings(value, fields.weak)]
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) == 2 and is_photo(texts[0]) and not is_photo(texts[1]):
        names.insert(0, f"{texts[1].rstrip('/')}/{texts[0]}")  # Karpathy's filepath is the folder of its filename
    return list(dict.fromkeys(names))


def is_address(value: Any) -> bool:
    return isinstance(value, str) and _ADDRESS.match(value.strip()) is not None


def captions_of(record: Mapping[str, Any], fields: Fields) -> list[Any]:
    """Return every caption of a record. Values that are not text stay unchanged, for the listing to refuse."""
    values = [record.get(key) for key in fields.captions]
    if len(values) > 1:  # rows with fewer captions leave columns empty
        non_empty = [value for value in values if value is not None and str(value).strip()]
        values = non_empty or values[:1]
    return [text for value in values for text in texts_of(value)]


def texts_of(value: Any, depth: int = _MAX_DEPTH) -> Iterator[Any]:
    """Yield the captions in a value: a text, a list, a list as text, or objects with a caption key.

    depth: levels of objects to search; deeper values are yielded as they are.
    """
    if isinstance(value, str) and _LIST.fullmatch(value[:_MAX_LIST_LENGTH]):
        value = _parse_list(value)
    if isinstance(value, Mapping) and depth:
        groups = _caption_groups([key for key in value if isinstance(key, str)])
        if groups:
            for key in groups[0]:
                yield from texts_of(value[key], depth - 1)
            return
    if isinstance(value, list | tuple):
        for element in value:
            if isinstance(element, Mapping):
                yield from texts_of(element, depth)
            else:
                yield element
    else:
        yield value


def flagged_problem(record: Mapping[str, Any], flags: Iterable[tuple[str, str]]) -> str | None:
    """Return the kind of problem that a record's flags mark; None if its caption can be used.

    flags: keys and kinds, as in `Fields.flags`.
    """
    return next((kind for key, kind in flags if is_set(record.get(key))), None)


def is_set(value: Any) -> bool:
    """Return whether a flag is true, in the spellings of JSON and tables."""
    return value.strip().lower() in ("true", "1", "yes", "t") if isinstance(value, str) else value is True or value == 1


def _read_image_value(value: Any) -> str | int | None:
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, Mapping):  # datasets of Hugging Face: {"bytes": ..., "path": ...}
        value = next((value[key] for key in ("path", "file_name", "filename", "url", "src") if value.get(key)), None)
    if isinstance(value, str):
        return value.strip() or None
    return value if type(value) is int else None


def _spellings(value: str | int, weak: bool) -> list[str]:
    if isinstance(value, int):
        return [str(value), f"{value:012d}"] if weak else []
    names = [value]
    if "?d=" in value:  # Label Studio's /data/local-files/?d=folder/photo.jpg
        names = [unquote(value.partition("?d=")[2])]
    elif "%" in value and not is_address(value):
        names.append(unquote(value))
    return names


def _parse_list(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings():  # Python warns of unknown escapes, such as \d
            warnings.simplefilter("ignore")
            content = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text
    return content if isinstance(content, list) else text
