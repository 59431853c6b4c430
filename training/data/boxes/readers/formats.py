"""Read boxes of photos in any known format, which is detected."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from captioner.errors import DataError
from training.data.boxes.box_set import BoxSet
from training.data.boxes.readers import entities, entities_release, instances
from training.data.boxes.readers.shares import Tally
from training.data.readers.files import read_json

_GZIP = b"\x1f\x8b"


def read_boxes(path: str | Path) -> BoxSet:
    """Read boxes: Flickr30k Entities as JSON or as released, or COCO's instances. Count unusable ones.

    Raises DataError if the path is missing, has none of these formats, or is wholly malformed.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist: give a file or folder of boxes. {_describe_formats()}")
    try:
        return _read_folder(path) if path.is_dir() else _read_file(path)
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error


def _read_folder(path: Path) -> BoxSet:
    if not entities_release.claims(path):
        raise DataError(f"{path} is a folder without Annotations/ and Sentences/. {_describe_formats()}")
    return entities_release.read(path)


def _read_file(path: Path) -> BoxSet:
    content, name = _read_content(path), path.name.split(".json")[0]
    if instances.claims(content):
        return instances.read_content(content, name)
    if entities.claims(content):
        return entities.read_photos(content.items(), name, Tally())
    raise DataError(f"{path} is JSON, but holds no boxes in a known format. {_describe_formats()}")


def _read_content(path: Path) -> Any:
    with open(path, "rb") as stream:
        is_gzip = stream.read(len(_GZIP)) == _GZIP
    if not is_gzip:
        return read_json(path)
    try:
        with gzip.open(path) as stream:
            return json.loads(stream.read())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is a damaged .gz file ({error}): fetch it again") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} unpacks to something that is not JSON: {error}") from error


def _describe_formats() -> str:
    return "Known formats:\n" + "\n".join(f"  {reader.LAYOUT}" for reader in (entities, entities_release, instances))
