"""Find the files of a folder that may hold captions, their splits, and files that repeat each other."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from captioner.errors import DataError
from training.data.readers.json_peek import Peek, peek
from training.data.readers.listing import SPLIT_NAMES
from training.data.readers.photos import is_photo

CAPTION_FOLDERS = frozenset("annotations annotation captions metadata labels".split())
"""Usual names of subfolders for caption files, lower case."""

_MAX_GROUP = 50
"""Maximum number of files with one extension in a folder to open; in larger groups, each belongs to one photo."""
_MAX_SUBFOLDERS = 50
_CAPTION_FILE = re.compile(r"(?:captions?|metadata|annotations?|results|train|val|test)\b|.*\.token\b", re.IGNORECASE)
"""Names of files that are opened however many files there are."""
_NUMBERED_PART = re.compile(r"(.*?)(?:\d+-of-\d+(?:-[0-9a-f]{8,})?|[-_.]?(?:part|shard)[-_.]?\d+)", re.IGNORECASE)
"""Names of parts of one table."""


class CaptionFiles:
    """Finder of caption files in a folder, or a wrapper of a single file.

    Photos and hidden files are left out. Listings and samples are cached.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_file = not path.is_dir()
        self._listings: dict[Path, list[Path]] = {}
        self._peeks: dict[Path, Peek] = {}

    def top_files(self) -> list[Path]:
        """Return the single file, or the files directly in the folder."""
        return [self.path] if self.is_file else self.list_folder(self.path)

    def annotation_files(self) -> list[Path]:
        """Return the files in annotations/, captions/ and the like."""
        return [
            file
            for folder in self._subfolders()
            if folder.name.lower() in CAPTION_FOLDERS
            for file in self.list_folder(folder)
        ]

    def split_files(self) -> list[Path]:
        """Return the files in train/, val/ and test/."""
        return [
            file
            for folder in self._subfolders()
            if folder.name.lower() in SPLIT_NAMES
            for file in self.list_folder(folder)
        ]

    def other_files(self) -> list[Path]:
        """Return the files in all other subfolders."""
        usual_names = CAPTION_FOLDERS | SPLIT_NAMES.keys()
        others = [folder for folder in self._subfolders() if folder.name.lower() not in usual_names]
        return [file for folder in others[:_MAX_SUBFOLDERS] for file in self.list_folder(folder)]

    def choose_first(
        self, endings: Iterable[str], accepts: Callable[[Path], bool], max_group: int = _MAX_GROUP
    ) -> list[Path]:
        """Return the result of `choose` in the first location that has any such file.

        Locations are the folder itself, annotations/, then train/, val/ and test/.
        """
        for list_files in (self.top_files, self.annotation_files, self.split_files):
            if matches := self.choose(list_files(), endings, accepts, max_group):
                return matches
        return []

    def choose(
        self,
        files: Sequence[Path],
        endings: Iterable[str],
        accepts: Callable[[Path], bool],
        max_group: int = _MAX_GROUP,
    ) -> list[Path]:
        """Return the files with one of these lower-case extensions that `accepts` accepts.

        If more than `max_group` files of a folder share an extension, only those whose names suggest captions are
        opened.
        """
        endings = set(endings)
        groups: dict[tuple[Path, str], list[Path]] = {}
        for file in files:
            if (ending := file.suffix.lower()) in endings:
                groups.setdefault((file.parent, ending), []).append(file)
        return [
            file
            for group in groups.values()
            for file in group
            if (len(group) <= max_group or _CAPTION_FILE.match(file.name)) and accepts(file)
        ]

    def peek(self, file: Path) -> Peek:
        """Sample a JSON file."""
        if file not in self._peeks:
            self._peeks[file] = peek(file)
        return self._peeks[file]

    def list_folder(self, folder: Path) -> list[Path]:
        """List the files directly in a folder, without hidden ones and photos; empty if it cannot be listed."""
        if folder not in self._listings:
            try:
                with os.scandir(folder) as entries:
                    names = sorted(
                        entry.name
                        for entry in entries
                        if not entry.name.startswith(".") and not is_photo(entry.name) and entry.is_file()
                    )
            except OSError:
                names = []
            self._listings[folder] = [folder / name for name in names]
        return self._listings[folder]

    def _subfolders(self) -> list[Path]:
        return [] if self.is_file else subfolders(self.path)


def subfolders(folder: Path) -> list[Path]:
    """List the folders directly in a folder, sorted, without hidden ones and __MACOSX."""
    with os.scandir(folder) as entries:
        return [
            folder / name
            for name in sorted(entry.name for entry in entries if entry.is_dir())
            if not name.startswith(".") and name != "__MACOSX"
        ]


def split_in_name(name: str) -> str | None:
    """Return the split in a file's name: captions_train2017, metadata-train, coco_karpathy_val.

    None if the name has none, or several (train_val).
    """
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    splits = {SPLIT_NAMES[word.lower()] for word in words if word.lower() in SPLIT_NAMES}
    return splits.pop() if len(splits) == 1 else None


def with_splits(files: Sequence[Path], root: Path) -> list[tuple[Path, str | None]]:
    """Pair caption files of one format with the splits in their names or folders.

    A single file holds all splits, whatever its name. Several files must each be the only one of its split, or be
    numbered parts of one table. Raises DataError, which names the files, if files may repeat each other.
    """
    if len(files) < 2:
        # A single train.csv holds all splits, a single train/metadata.csv the photos of its folder.
        return [(file, SPLIT_NAMES.get(file.parent.name.lower()) if file.parent != root else None) for file in files]
    splits = [_find_split(file) for file in files]
    if all(split is None for split in splits) and _are_numbered_parts(files):
        return [(file, None) for file in files]
    for split in splits:
        duplicates = [file for file, file_split in zip(files, splits, strict=True) if file_split == split]
        if split is None or len(duplicates) > 1 and not _are_numbered_parts(duplicates):
            raise repeated_files_error(files if split is None else duplicates, root)
    return list(zip(files, splits, strict=True))


def repeated_files_error(files: Sequence[Path], root: Path) -> DataError:
    """Return the error for files that may hold the same captions."""
    names = [os.path.relpath(file, root) for file in files]
    name_list = " and ".join(names) if len(names) < 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
    number = {2: "two", 3: "three"}.get(len(files), str(len(files)))
    advice = "" if all(_find_split(file) for file in files) else ", or name them after their splits (train, val, test)"
    return DataError(
        f"{root} holds {number} files of captions, {name_list}, which may repeat or contradict each other: give the"
        f" path of one of them, or move the others out of the folder{advice}"
    )


def _find_split(file: Path) -> str | None:
    return SPLIT_NAMES.get(file.parent.name.lower()) or split_in_name(file.stem)


def _are_numbered_parts(files: Sequence[Path]) -> bool:
    """Return whether names differ only in part numbers: train-00000-of-00002, train-00001-of-00002."""
    stems = {
        (file.parent, match[1], file.suffix.lower()) for file in files if (match := _NUMBERED_PART.fullmatch(file.stem))
    }
    return len(stems) == 1 and all(_NUMBERED_PART.fullmatch(file.stem) for file in files)
