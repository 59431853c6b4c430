"""Listing: the photos and captions that a reader collects, and every unusable line with its reason."""

import os
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from training.data.readers.caption_text import doubt_about, is_placeholder, plain_caption, read_caption
from training.data.readers.heic_photos import why_unreadable
from training.data.readers.near_photos import skip_reason
from training.data.readers.photo_search import PhotoSearch
from training.data.readers.photos import (
    PhotoFinder,
    differs_in_case,
    files_in,
    folders_beside,
    is_photo,
    normal_name,
    walk_files,
)
from training.data.readers.splits import SPLIT_NAMES, SPLITS

__all__ = ["SPLITS", "SPLIT_NAMES", "ImageRecord", "Listing", "Problem"]

_LOSES_A_CAPTION = frozenset(
    "bad_entry empty_caption no_caption repeated_entry unknown_image stray_sidecar rejected_caption"
    " precanned_caption".split()
)
"""Kinds of problems that usually cost one caption."""


@dataclass(frozen=True)
class ImageRecord:
    """Existing photo with its captions."""

    image_id: str | int
    """Unique id in its data set: the data set's own id if it has one (COCO), else the photo's name."""
    path: Path
    captions: tuple[str, ...]
    """Captions without surrounding white space; at least one."""
    split: str | None
    """train, val or test; None if the data set's splits do not include the photo."""


@dataclass(frozen=True)
class Problem:
    """Part of a data set that is not used, or not unchanged."""

    kind: str
    """Key of `training.inspection.report.HEADINGS`, which explains each kind."""
    file: str
    """Path of the file, relative to the data set if it lies inside."""
    entry: int | str | None
    """Line number (from 1), or position in a JSON file; None for the whole file."""
    message: str
    """The problem, as the rest of a sentence that starts with the position."""
    lost: int = 0
    """Number of captions that it makes unusable."""

    @property
    def position(self) -> str:
        if self.entry is None:
            return self.file
        return f"{self.file}:{self.entry}" if isinstance(self.entry, int) else f"{self.file} {self.entry}"

    def __str__(self) -> str:
        return f"{self.position}: {self.message}"


@dataclass(slots=True)
class _Photo:
    image_id: str | int
    names: tuple[str, ...]
    split: str | None
    file: Path
    entry: int | str | None
    captions: list[str] = field(default_factory=list)
    identities: set[Hashable] = field(default_factory=set)


class Listing:
    """Collection of photos and captions in the order of the files, converted to records at the end.

    root: folder that paths in problems are relative to. finder: finds a photo by its name.
    """

    def __init__(self, root: Path, finder: PhotoFinder) -> None:
        self.root = root
        self.finder = finder
        self.problems: list[Problem] = []
        self._photos: dict[Hashable, _Photo] = {}
        self._image_ids: set[str | int] = set()
        self._wider_search: PhotoSearch | None = None

    @property
    def has_splits(self) -> bool:
        """Whether the data set itself assigns any photo, present or missing, to a split."""
        return any(photo.split is not None for photo in self._photos.values())

    def add_problem(
        self, kind: str, file: str | os.PathLike, entry: int | str | None, message: str, lost: int | None = None
    ) -> None:
        """Record a problem. lost: number of unusable captions; the default depends on the kind."""
        path = self._relative_path(os.path.abspath(file))
        entry = printable(entry) if isinstance(entry, str) else entry
        lost = int(kind in _LOSES_A_CAPTION) if lost is None else lost
        self.problems.append(Problem(kind, printable(path), entry, printable(message), lost))

    def add_photo(
        self,
        key: Hashable,
        image_id: str | int,
        names: tuple[str, ...],
        split: str | None,
        file: Path,
        entry: int | str | None,
    ) -> None:
        """Register a photo under `key`; a second call with that key changes nothing, and must have the same split.

        names: paths to search for the photo, most probable first.
        """
        existing = self._photos.get(key)
        if existing is None:
            self._photos[key] = _Photo(self._assign_unique_id(image_id, split, file, entry), names, split, file, entry)
        elif split != existing.split:
            self.add_problem(
                "two_splits",
                file,
                entry,
                f"puts {names[0]} into {_split_label(split)}, but it stays in {_split_label(existing.split)},"
                f" where {existing.file.name} {existing.entry} put it",
            )

    def add_caption(
        self, key: Hashable, text: Any, file: Path, entry: int | str | None, identity: Hashable = None
    ) -> None:
        """Add a caption to a known photo; refuse values that are not text, placeholders and repetitions.

        HTML and other additions to the sentence are removed and reported.

        identity: identifies, with the text, a repeated entry of this photo; by default only the text does. If the
        format numbers its captions, the same sentence by two people is no repetition.
        """
        if self.add_plain_caption(key, text, identity):
            return
        photo = self._photos[key]
        name = photo.names[0]
        if is_placeholder(text, photo.names):
            message = f"{_format_placeholder(text)} is no caption of {name} but a placeholder: left out"
            self.add_problem("no_caption", file, entry, message)
            return
        if not isinstance(text, str) or printable(text) != text:
            self.add_problem("bad_entry", file, entry, f"the caption of {name} is not text")
            return
        caption = read_caption(text)
        text = caption.text
        if not any(character.isalnum() for character in text):
            self.add_problem("empty_caption", file, entry, f"the caption of {name} holds no word")
            return
        if is_placeholder(text, photo.names):  # <p>n/a</p>
            self.add_problem("no_caption", file, entry, f"{text} is no caption of {name} but a placeholder: left out")
            return
        identity = text if identity is None else (identity, text)
        if identity in photo.identities:
            self.add_problem("repeated_entry", file, entry, f"repeats an earlier caption of {name}: {text}")
            return
        if caption.removed_traces:
            message = f"cleaned of {' and '.join(caption.removed_traces)}: {text}"
            self.add_problem("cleaned_caption", file, entry, message)
        if doubt := doubt_about(text):
            self.add_problem("doubtful_caption", file, entry, f"the caption of {name} {doubt}: {text}")
        photo.identities.add(identity)
        photo.captions.append(text)

    def add_plain_caption(self, key: Hashable, text: Any, identity: Hashable = None) -> bool:
        """Add a caption to a known photo if it needs no check, otherwise return False.

        Fast path for large data sets; `add_caption` handles the others.
        """
        plain = plain_caption(text)
        if plain is None:
            return False
        photo = self._photos[key]
        identity = plain if identity is None else (identity, plain)
        if identity in photo.identities:
            return False
        photo.identities.add(identity)
        photo.captions.append(plain)
        return True

    def records(self, search_siblings: bool = False) -> list[ImageRecord]:
        """Return every photo that exists and has captions; report the others, and photos without captions.

        A photo that is not at its path is searched for by name, and used if only one file matches.
        search_siblings: if no photo is found, report folders beside the data set that hold them; their photos are not
            used.
        """
        paths = {key: self.finder.find(*photo.names) for key, photo in self._photos.items()}
        relocated_paths = self._find_elsewhere([key for key, path in paths.items() if path is None])
        if search_siblings and not relocated_paths and not any(paths.values()):
            self._wider_search = PhotoSearch(map(str, folders_beside(self.root)), files_in, normal_name)
        records = []
        for key, photo in self._photos.items():
            path = paths[key] or relocated_paths.get(key)
            if path is None:
                self._report_missing(photo)
            elif not photo.captions:
                message = f"{photo.names[0]} has no usable caption"
                self.add_problem("uncaptioned_image", photo.file, photo.entry, message)
            elif reason := why_unreadable(path):
                self.add_problem("unreadable_image", path, None, reason, len(photo.captions))
            else:
                if key in relocated_paths:
                    message = f"{photo.names[0]} is found as {self._relative_path(path)}: that file is used"
                    self.add_problem("found_elsewhere", photo.file, photo.entry, message)
                elif differs_in_case(path, photo.names):
                    message = f"{photo.names[0]} is called {os.path.basename(path)}: used anyway"
                    self.add_problem("other_case", photo.file, photo.entry, message)
                if others := self.finder.namesakes(path):
                    used, other = self._relative_path(path), self._relative_path(others[0])
                    message = f"{used} is used, and not {other} of the same name"
                    message += f" nor {len(others) - 1:,} more" if len(others) > 1 else ""
                    self.add_problem("same_name", photo.file, photo.entry, message)
                records.append(ImageRecord(photo.image_id, Path(path), tuple(photo.captions), photo.split))
        others = []
        for path in self.finder.unused_files():
            if is_photo(path):
                self.add_problem("uncaptioned_image", path, None, "no caption names this photo")
            else:
                others.append(path)
        self._report_skipped(others)
        return records

    def _report_skipped(self, paths: Iterable[str]) -> None:
        """Report files that users may take for photos, including those that the reader reported as unused."""
        for number, problem in enumerate(self.problems):
            if problem.kind == "unused_file" and (reason := skip_reason(problem.file)):
                self.problems[number] = replace(problem, message=reason)
        reported_files = {problem.file for problem in self.problems if problem.entry is None}
        for path in paths:
            if (reason := skip_reason(path)) and printable(self._relative_path(path)) not in reported_files:
                self.add_problem("unused_file", path, None, reason)

    def _find_elsewhere(self, missing: list[Hashable]) -> dict[Hashable, str]:
        """Find the path of each missing photo that matches only one file, unless another entry matches it as well."""
        matches = {}
        for key in missing:
            candidates = self.finder.search(self._photos[key].names)
            if len(candidates) == 1:
                matches[key] = candidates[0]
        claim_counts = Counter(matches.values())
        matches = {key: path for key, path in matches.items() if claim_counts[path] == 1}
        for path in matches.values():
            self.finder.mark_used(path)
        return matches

    def _report_missing(self, photo: _Photo) -> None:
        name = photo.names[0]
        message = f"{name} is not in {self.finder.describe_folders()}"
        if candidates := self.finder.search(photo.names):
            path_list = " or ".join(map(self._relative_path, candidates[:3]))
            path_list += " or others" if len(candidates) > 3 else ""
            message += f", and may be {path_list}: write the right path into the file, or name one folder of photos by"
            message += " --images"
        elif others := self.finder.search(photo.names, any_split=True):
            message += f"; {self._relative_path(others[0])} has that name, but lies in the folder of another split"
        elif elsewhere := self._find_outside(photo.names):
            folder = self._relative_path(os.path.dirname(elsewhere))
            message += f"; a photo of that name lies in {folder}: name that folder by --images"
        if photo.captions:
            message += f"; captions not used: {len(photo.captions)}"
        self.add_problem("missing_image", photo.file, photo.entry, message, len(photo.captions))

    def _find_outside(self, names: tuple[str, ...]) -> str | None:
        """Find a photo outside the searched folders, such as those of --images."""
        if self._wider_search is None:
            self._wider_search = PhotoSearch([os.path.abspath(self.root)], walk_files, normal_name)
        return next(iter(self._wider_search.candidates(names, any_split=True)), None)

    def _relative_path(self, path: str) -> str:
        """Return a path relative to the data set if it lies inside."""
        return os.path.relpath(path, self.root) if _is_inside(path, self.root) else path

    def _assign_unique_id(
        self, image_id: str | int, split: str | None, file: Path, entry: int | str | None
    ) -> str | int:
        unique = image_id
        count = 1
        while unique in self._image_ids:
            count += 1
            unique = f"{file.stem}/{image_id}" if count == 2 else f"{file.stem}/{image_id}/{count}"
        if unique != image_id:
            self.add_problem("repeated_id", file, entry, f"id {image_id} is taken, so this photo becomes {unique}")
        self._image_ids.add(unique)
        return unique


def _is_inside(path: str, folder: Path) -> bool:
    return os.path.abspath(path).startswith(os.path.join(os.path.abspath(folder), ""))


def printable(text: str) -> str:
    """Replace lone surrogates, from JSON escapes and odd file names, by their codes, as they cannot be encoded."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _format_placeholder(value: Any) -> str:
    """Return a placeholder as it is written in its file."""
    return repr(value) if isinstance(value, str) else "null" if value is None else "NaN"


def _split_label(split: str | None) -> str:
    return split if split is not None else "no split"
