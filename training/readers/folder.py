"""A folder of photos, each with a text file of the same name (a.txt or a.jpg.txt); its lines are captions."""

import os
from pathlib import Path

from captioner.errors import DataError
from training.readers.files import numbered_lines
from training.readers.listing import SPLIT_NAMES, Listing
from training.readers.photos import PhotoFinder, is_photo, walk_files

LAYOUT = "a folder of photos with a .txt of the same name for each, in train/, val/ and test/ or in no such folders"


def claims(path: Path) -> bool:
    """Whether a folder holds, at any depth, a photo with a text file of the same name."""
    if not path.is_dir():
        return False
    stems: dict[str, bool] = {}  # path without its end -> whether that end was .txt
    for file in walk_files(path):
        stem, sidecar = _stem(file)
        if sidecar and is_photo(stem):  # a.jpg.txt
            stem = _stem(stem)[0]
        if (sidecar or is_photo(file)) and stems.setdefault(stem, sidecar) != sidecar:
            return True
    return False


def read(path: Path, images: Path | None) -> Listing:
    """List the photos and sidecars below a folder; train, val, test (or valid, dev, ...) at its top are the splits.

    images: where the photos lie, in the same subfolders as their sidecars below `path`, if not beside these.
    Raises DataError for a path that is not a folder.
    """
    if not path.is_dir():
        raise DataError(f"{path} is not a folder: this format is {LAYOUT}")
    photo_root = images if images is not None else path
    listing = Listing(path, PhotoFinder([photo_root]))
    photos: dict[str, list[str]] = {}  # relative path without its end -> relative paths
    for file in walk_files(photo_root):
        if is_photo(file):
            name = os.path.relpath(file, photo_root)
            photos.setdefault(_stem(name)[0], []).append(name)
            listing.add_photo(name, name.replace(os.sep, "/"), (name,), _split_of(name), Path(file), None)
    names = {name for sharing in photos.values() for name in sharing}
    for file in walk_files(path):
        name = os.path.relpath(file, path)
        stem, is_sidecar = _stem(name)
        if is_sidecar:
            _read_sidecar(Path(file), [stem] if stem in names else photos.get(stem, []), listing)
        elif not is_photo(name):
            listing.refuse("unused_file", file, None, "is neither a photo nor a .txt with captions")
    return listing


def _stem(name: str) -> tuple[str, bool]:
    stem, end = os.path.splitext(name)
    return stem, end.lower() == ".txt"


def _split_of(name: str) -> str | None:
    top, _, rest = name.partition(os.sep)
    return SPLIT_NAMES.get(top.lower()) if rest else None


def _read_sidecar(sidecar: Path, photos: list[str], listing: Listing) -> None:
    if not photos:
        listing.refuse("stray_sidecar", sidecar, None, "has no photo of the same name, so its captions are not used")
        return
    for line, text in numbered_lines(sidecar, listing):
        listing.add_caption(photos[0], text, sidecar, line)
    for other in photos[1:]:
        listing.refuse("stray_sidecar", sidecar, None, f"captions {photos[0]}, not also {other}: keep one of the two")
