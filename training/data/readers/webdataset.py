"""Reader of WebDataset: tar files with each photo followed by its caption, as img2dataset writes them."""

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from captioner.errors import DataError
from training.data.readers.caption_files import CaptionFiles, split_in_name
from training.data.readers.fields import find_fields, texts_of
from training.data.readers.files import decode_text, report_unused
from training.data.readers.folder import ENDINGS
from training.data.readers.listing import SPLIT_NAMES, Listing
from training.data.readers.photos import PhotoFinder, is_photo
from training.data.readers.rows import Rows
from training.data.readers.unpacked import PackedPhoto, unpack

LAYOUT = (
    "WebDataset .tar files of photos, each with a .txt or .json of the same name (img2dataset), by split if you like"
)

_PHOTO, _CAPTIONS = "image", "captions"
_MAX_TEXT_BYTES = 1 << 20
_MAX_PHOTO_BYTES = 1 << 30  # bytes; more than any readable photo
_MAX_MEMBERS = 50
_MAX_TARS = 100_000
_FIELDS = find_fields((_PHOTO, _CAPTIONS))
assert _FIELDS is not None


def files(caption_files: CaptionFiles) -> list[Path]:
    """Find the tars of photos and texts in a folder, or return the single file if it is one."""
    verdicts: dict[Path, bool] = {}  # the tars of a folder are alike, so only the first is opened

    def holds_captions(file: Path) -> bool:
        if file.parent not in verdicts:
            verdicts[file.parent] = explain(file) is None
        return verdicts[file.parent]

    return caption_files.choose_first((".tar",), holds_captions, _MAX_TARS)


def read(path: Path, images: Path | None) -> Listing:
    """List the photos of tars, and unpack them beside these. The split comes from a tar's name or folder.

    Raises DataError for a file that is not a tar, and if nothing can be unpacked.
    """
    caption_files = CaptionFiles(path)
    tars = [path] if caption_files.is_file else files(caption_files)
    if not tars:
        raise DataError(f"{path} holds no tar of photos and texts: this format is {LAYOUT}")
    root = path.parent if caption_files.is_file else path
    listing = Listing(root, PhotoFinder([root]))
    for tar in tars:
        split = None
        if not caption_files.is_file:
            split = SPLIT_NAMES.get(tar.parent.name.lower()) or (split_in_name(tar.stem) if len(tars) > 1 else None)
        rows = Rows(listing, tar, split, images)
        for entry, photo, name, record in unpack(tar, _samples(tar)):
            rows.add_unpacked(entry, {_PHOTO: name, **record}, _FIELDS, name, photo)
        rows.finish()
    if not caption_files.is_file:
        report_unused(listing, root, tars)
    return listing


def explain(file: Path) -> str | None:
    """Explain why a tar is not read, as the rest of a sentence; None if it holds photos with captions."""
    kinds: dict[str, set[str]] = {}
    try:
        with tarfile.open(file, "r:") as tar:
            for _, member in zip(range(_MAX_MEMBERS), tar, strict=False):
                if member.isfile():
                    key, ending = _split_name(member.name)
                    kinds.setdefault(key, set()).add("photo" if is_photo(f"a{ending}") else ending)
    except (tarfile.TarError, OSError, EOFError) as error:
        return f"is not a readable tar ({error}): decompress a compressed one first"
    if any("photo" in kind and kind & {*ENDINGS} for kind in kinds.values()):
        return None
    endings = sorted({ending for kind in kinds.values() for ending in kind})
    return (
        f"its first files ({', '.join(endings) or 'none'}) are not photos with a .txt or .json of the same name:"
        " unpack it, and give the folder"
    )


def _samples(path: Path) -> Iterator[PackedPhoto]:
    """Yield photos with their captions, in the order of the tar. Members of one sample are adjacent."""
    key, photo, texts = None, None, {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                # Skip links, devices, and sparse files, which claim to be larger than they are.
                if not member.isreg() or member.issparse():
                    continue
                member_key, ending = _split_name(member.name)
                if member_key != key:
                    yield from _sample(key, photo, texts)
                    key, photo, texts = member_key, None, {}
                if is_photo(f"a{ending}") and member.size <= _MAX_PHOTO_BYTES:
                    photo = photo or (member.name, tar.extractfile(member).read())
                elif ending in ENDINGS and member.size <= _MAX_TEXT_BYTES:
                    texts[ending] = decode_text(tar.extractfile(member).read())
            yield from _sample(key, photo, texts)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{path} is damaged or was cut short ({error}): fetch it again") from error


def _sample(key: str | None, photo: tuple[str, bytes] | None, texts: dict[str, str]) -> Iterator[PackedPhoto]:
    if key is None or photo is None and not texts:
        return
    captions: list[Any] = []
    for ending in sorted(texts, key=ENDINGS.index):
        captions = _parse_captions(texts[ending], ending)
        if captions:
            break
    name, content = photo or (key, None)
    yield PackedPhoto(name, name, content, {_CAPTIONS: captions})


def _parse_captions(text: str, ending: str) -> list[Any]:
    if ending != ".json":
        return [line for line in text.splitlines() if line.strip()]
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return []
    texts = list(texts_of(content)) if isinstance(content, dict) else []
    return [caption for caption in texts if isinstance(caption, str)]


def _split_name(name: str) -> tuple[str, str]:
    """Split a member's name into WebDataset's key, which ends at the first dot, and its last extension."""
    folder, base = os.path.split(name)
    return os.path.join(folder, base.partition(".")[0]), os.path.splitext(base)[1].lower()
