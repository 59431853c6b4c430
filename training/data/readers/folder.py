"""A folder of photos, each with a text file of the same name (a.txt, a.jpg.txt, a.caption); its lines are captions."""

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from captioner.errors import DataError
from training.data.readers.fields import texts_of
from training.data.readers.files import first_line, numbered_lines, read_json
from training.data.readers.listing import SPLIT_NAMES, Listing
from training.data.readers.photos import PhotoFinder, is_photo, normal_name, walk_files

ENDINGS = (".caption", ".captions", ".cap", ".txt", ".text", ".json", ".tags", ".tag")
"""Extensions of sidecars. If a photo has several, the first in this order is read, tags last. A .json holds an object
with a caption, as img2dataset writes it."""

ABOUT = frozenset("readme license licence copying notice changelog citation classes requirements".split())
"""Names, lower case, of texts about a data set."""

_BOX = re.compile(r"\s*\d+(?:\s+-?\d*\.?\d+(?:[eE][+-]?\d+)?){4,}\s*")

LAYOUT = (
    "a folder of photos with a text file of the same name for each (.txt, .caption, .cap, ...), in train/, val/ and"
    " test/ or in no such folders"
)


def claims(path: Path) -> bool:
    """Return whether a folder holds, at any depth, photos and text files of the same names, in any of its folders."""
    if not path.is_dir():
        return False
    stems: dict[str, bool] = {}  # path without its extension -> whether that extension is a sidecar's
    for file in walk_files(path):
        stem, ending = _split_extension(file)
        if ending and is_photo(stem):  # a.jpg.txt
            stem = os.path.splitext(stem)[0]
        stem = _fold_name(stem)
        if not ending and not is_photo(file) or ending and not _may_hold_captions(Path(file)):
            continue
        if stems.setdefault(stem, ending != "") != (ending != ""):
            return True
    photos, texts = (
        {os.path.basename(stem) for stem, is_text in stems.items() if is_text is expected} for expected in (False, True)
    )
    return 2 * len(photos & texts) > len(texts) > 0


def read(path: Path, images: Path | None) -> Listing:
    """List the photos and sidecars below a folder; train, val, test (or valid, dev, ...) at its top are the splits.

    A sidecar in another folder than its photo (captions/a.txt, images/a.jpg) is used if only one photo has its name.
    images: folder of the photos, with the same subfolders as `path`, if they are not beside their sidecars.
    Raises DataError for a path that is not a folder.
    """
    if not path.is_dir():
        raise DataError(f"{path} is not a folder: this format is {LAYOUT}")
    photo_root = images if images is not None else path
    listing = Listing(path, PhotoFinder([photo_root]))
    photos: dict[str, list[str]] = {}  # relative path without its ending -> relative paths
    for file in walk_files(photo_root):
        if is_photo(file):
            name = os.path.relpath(file, photo_root)
            photos.setdefault(os.path.splitext(name)[0], []).append(name)
            listing.add_photo(name, name.replace(os.sep, "/"), (name,), _find_split(name), Path(file), None)
    names = {name for group in photos.values() for name in group}
    sidecars: dict[tuple[str, ...], dict[str, list[Path]]] = {}  # photos -> ending -> sidecars
    unmatched_sidecars: list[tuple[str, str, Path]] = []
    own_sidecars: set[str] = set()  # photos with a text of their whole name: a.png.txt
    for file in walk_files(path):
        name = os.path.relpath(file, path)
        stem, ending = _split_extension(name)
        if ending and stem in names:
            own_sidecars.add(stem)
        if group := ending and ([stem] if stem in names else photos.get(stem)):
            sidecars.setdefault(tuple(group), {}).setdefault(ending, []).append(Path(file))
        elif ending and ending != ".json" and os.path.basename(stem).lower() not in ABOUT:
            unmatched_sidecars.append((stem, ending, Path(file)))
        elif not is_photo(name):
            listing.add_problem("unused_file", file, None, "is neither a photo nor a text with captions")
    sidecars = _divide_shared(sidecars, own_sidecars)
    _pair_unmatched(unmatched_sidecars, names, sidecars, listing)
    _read_sidecars(sidecars, listing)
    return listing


def _fold_name(stem: str) -> str:
    """Return a name in lower case and with normal accents, because systems differ in both."""
    return normal_name(normal_name(stem).casefold())


def _split_extension(name: str) -> tuple[str, str]:
    """Split a path into stem and extension; the extension is empty unless it is a sidecar's."""
    stem, ending = os.path.splitext(name)
    stem = stem.removesuffix(".supplemental-metadata")  # Google Takeout's a.jpg.supplemental-metadata.json
    return stem, ending.lower() if ending.lower() in ENDINGS else ""


def _find_split(name: str) -> str | None:
    top, _, rest = name.partition(os.sep)
    return SPLIT_NAMES.get(top.lower()) if rest else None


def _divide_shared(
    sidecars: dict[tuple[str, ...], dict[str, list[Path]]], own_sidecars: set[str]
) -> dict[tuple[str, ...], dict[str, list[Path]]]:
    """Take photos with a text of their whole name (a.png.txt) out of the groups that share a text (a.txt)."""
    divided: dict[tuple[str, ...], dict[str, list[Path]]] = {}
    for group, by_ending in sidecars.items():
        others = tuple(name for name in group if name not in own_sidecars) or group
        for ending, files in by_ending.items():
            divided.setdefault(others, {}).setdefault(ending, []).extend(files)
    return divided


def _pair_unmatched(
    unmatched_sidecars: list[tuple[str, str, Path]],
    names: set[str],
    sidecars: dict[tuple[str, ...], dict[str, list[Path]]],
    listing: Listing,
) -> None:
    """Assign sidecars to photos that have none, by names in other capitals or in other folders."""
    paired_photos = {name for group in sidecars for name in group}
    by_stem: dict[str, list[str]] = defaultdict(list)
    by_path: dict[str, list[str]] = defaultdict(list)
    for name in names:
        stem = _fold_name(os.path.splitext(name)[0])
        by_path[stem].append(name)
        by_stem[os.path.basename(stem)].append(name)
    for stem, ending, file in unmatched_sidecars:
        stem = _fold_name(os.path.splitext(stem)[0] if is_photo(stem) else stem)
        candidates = by_path.get(stem) or by_stem.get(os.path.basename(stem), [])
        if len(candidates) == 1 and candidates[0] not in paired_photos:
            sidecars.setdefault((candidates[0],), {}).setdefault(ending, []).append(file)
        else:
            message = "has no photo of the same name, so its captions are not used"
            listing.add_problem("stray_sidecar", file, None, message)


def _read_sidecars(sidecars: dict[tuple[str, ...], dict[str, list[Path]]], listing: Listing) -> None:
    skipped_files: dict[tuple[str, str], list[Path]] = defaultdict(list)  # extension, extension read instead -> files
    for photos, by_ending in sidecars.items():
        used_ending = ""
        for ending in sorted(by_ending, key=ENDINGS.index):
            if used_ending:
                skipped_files[ending, used_ending] += by_ending[ending]
            elif any([_read_sidecar(file, list(photos), listing) for file in by_ending[ending]]):
                used_ending = ending
    for (ending, used_ending), files in skipped_files.items():
        others = f", nor are {len(files) - 1:,} more {ending}" if len(files) > 1 else ""
        message = f"is not used{others}: for a photo with both, {used_ending} is read before {ending}"
        listing.add_problem("unused_file", files[0], None, message)


def _read_sidecar(sidecar: Path, photos: list[str], listing: Listing) -> bool:
    """Add a sidecar's captions to the first photo of its name. Return whether it holds any."""
    if sidecar.suffix.lower() == ".json":
        captions = _json_captions(sidecar)
        if captions is None:
            listing.add_problem("unused_file", sidecar, None, "holds no object with a caption of its photo")
            return False
        lines: list[tuple[int | None, Any]] = [(None, caption) for caption in captions]
    else:
        lines = numbered_lines(sidecar, listing)
        if lines and _BOX.fullmatch(lines[0][1]):
            listing.add_problem("unused_file", sidecar, None, "holds boxes in YOLO's format instead of captions")
            return False
    for line, text in lines:
        listing.add_caption(photos[0], text, sidecar, line)
    for photo in photos[1:]:
        listing.add_problem(
            "stray_sidecar", sidecar, None, f"captions {photos[0]}, not also {photo}: keep one of the two"
        )
    return bool(lines)


def holds_boxes(sidecar: Path) -> bool:
    """Return whether a text begins with a class and the numbers of a box, as in YOLO's format."""
    return _BOX.fullmatch(first_line(sidecar)) is not None


def _may_hold_captions(sidecar: Path) -> bool:
    if sidecar.suffix.lower() == ".json":
        return _json_captions(sidecar) is not None
    return not holds_boxes(sidecar)


def _json_captions(file: Path) -> list[Any] | None:
    """Return the captions of the object in a JSON file; None if it has none."""
    try:
        content = read_json(file)
    except DataError:
        return None
    captions = list(texts_of(content)) if isinstance(content, dict) else []
    return captions if captions and not any(isinstance(caption, dict) for caption in captions) else None
