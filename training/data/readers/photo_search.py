"""Search for photos that are not at the path in a caption file: by bare name, then stem, then number."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from captioner.images.finding import IMAGE_EXTENSIONS
from training.data.readers.splits import splits_named_in

_NUMBERED = re.compile(r"(?:COCO_(?:train|val|test)\d{4}_)?(\d{1,18})(?:\.0)?", re.IGNORECASE)
"""000000000139 and COCO_val2014_000000000139 are photo 139, which pandas may write as 139.0."""


class PhotoSearch:
    """Search for photos anywhere below some folders by name alone. The first search walks the folders.

    walk: yields the files below a folder. normal: normal form of a file name, the same for all spellings.
    """

    def __init__(
        self, folders: Iterable[str], walk: Callable[[Path], Iterator[str]], normal: Callable[[str], str]
    ) -> None:
        self._folders, self._walk, self._normal = list(folders), walk, normal
        self._is_indexed = False
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_number: dict[int, list[str]] = defaultdict(list)

    def candidates(self, names: Iterable[str], any_split: bool = False) -> list[str]:
        """Return the files that match a photo's names equally well; a single one is the photo.

        Matches by bare name take precedence over stem, and stem over number. Among several files, those whose folders
        agree best with the names' remain. any_split: also search the folders of other splits than the names'.
        """
        self._index_files()
        clean_names = [_clean_name(name) for name in names]
        splits = set() if any_split else set().union(*map(splits_named_in, clean_names))
        for matches in self._match_levels(dict.fromkeys(os.path.basename(name) for name in clean_names)):
            candidates = [path for path in dict.fromkeys(matches) if _same_split(splits, self._relative_path(path))]
            if candidates:
                agreement = {path: max(_count_equal_folders(name, path) for name in clean_names) for path in candidates}
                best = max(agreement.values())
                return [path for path, count in agreement.items() if count == best]
        return []

    def _match_levels(self, bases: Iterable[str]) -> Iterator[list[str]]:
        spellings = dict.fromkeys(self._fold_name(spelling) for base in bases for spelling in (base, unquote(base)))
        yield [path for base in spellings for path in self._by_name.get(base, ())]
        stems = dict.fromkeys(map(_strip_extension, spellings))
        yield [path for stem in stems for path in self._by_stem.get(stem, ())]
        numbers = {int(number[1]) for number in map(_NUMBERED.fullmatch, stems) if number}
        yield [path for number in sorted(numbers) for path in self._by_number.get(number, ())]

    def _index_files(self) -> None:
        if self._is_indexed:
            return
        self._is_indexed = True
        seen = set()  # folders may be nested
        for folder in self._folders:
            for path in self._walk(Path(folder)):
                if path in seen:
                    continue
                seen.add(path)
                base = self._fold_name(os.path.basename(path))
                stem, end = os.path.splitext(base)
                self._by_name[base].append(path)
                if end in IMAGE_EXTENSIONS:
                    self._by_stem[stem].append(path)
                    if number := _NUMBERED.fullmatch(stem):
                        self._by_number[int(number[1])].append(path)

    def _fold_name(self, name: str) -> str:
        return self._normal(self._normal(name).casefold())

    def _relative_path(self, path: str) -> str:
        """Return the path relative to the folder that was walked."""
        return next((path[len(folder) :] for folder in self._folders if path.startswith(folder)), path)


def _clean_name(name: str) -> str:
    """Return a name with slashes, and a web address without its query."""
    name = name.replace("\\", "/")
    return re.split("[?#]", name, maxsplit=1)[0] if re.match(r"[a-z]+:/", name) else name


def _strip_extension(base: str) -> str:
    """Remove the extension of a photo; other names stay whole."""
    stem, end = os.path.splitext(base)
    return stem if end in IMAGE_EXTENSIONS else base


def _same_split(splits: set[str], path: str) -> bool:
    path_splits = splits_named_in(path)
    return not (splits and path_splits) or bool(splits & path_splits)


def _count_equal_folders(name: str, path: str) -> int:
    """Return the number of innermost folders that are equal."""
    count = 0
    pairs = zip(reversed(name.split("/")[:-1]), reversed(path.split(os.sep)[:-1]), strict=False)
    for name_folder, path_folder in pairs:
        if name_folder.casefold() != path_folder.casefold():
            break
        count += 1
    return count
