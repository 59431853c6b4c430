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
        self._walked = False
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_number: dict[int, list[str]] = defaultdict(list)

    def candidates(self, names: Iterable[str], any_split: bool = False) -> list[str]:
        """Return the files that match a photo's names equally well; a single one is the photo.

        Matches by bare name take precedence over stem, and stem over number. Among several files, those whose folders
        agree best with the names' remain. any_split: also search the folders of other splits than the names'.
        """
        self._index()
        wanted = [_plain(name) for name in names]
        splits = set() if any_split else set().union(*map(splits_named_in, wanted))
        for found in self._levels(dict.fromkeys(os.path.basename(name) for name in wanted)):
            fitting = [path for path in dict.fromkeys(found) if _same_split(splits, self._inside(path))]
            if fitting:
                agreeing = {path: max(_agreement(name, path) for name in wanted) for path in fitting}
                best = max(agreeing.values())
                return [path for path, count in agreeing.items() if count == best]
        return []

    def _levels(self, bases: Iterable[str]) -> Iterator[list[str]]:
        spelt = dict.fromkeys(self._folded(spelling) for base in bases for spelling in (base, unquote(base)))
        yield [path for base in spelt for path in self._by_name.get(base, ())]
        stems = dict.fromkeys(map(_stem, spelt))
        yield [path for stem in stems for path in self._by_stem.get(stem, ())]
        numbers = {int(number[1]) for number in map(_NUMBERED.fullmatch, stems) if number}
        yield [path for number in sorted(numbers) for path in self._by_number.get(number, ())]

    def _index(self) -> None:
        if self._walked:
            return
        self._walked = True
        seen = set()  # folders may be nested
        for folder in self._folders:
            for path in self._walk(Path(folder)):
                if path in seen:
                    continue
                seen.add(path)
                base = self._folded(os.path.basename(path))
                stem, end = os.path.splitext(base)
                self._by_name[base].append(path)
                if end in IMAGE_EXTENSIONS:
                    self._by_stem[stem].append(path)
                    if number := _NUMBERED.fullmatch(stem):
                        self._by_number[int(number[1])].append(path)

    def _folded(self, name: str) -> str:
        return self._normal(self._normal(name).casefold())

    def _inside(self, path: str) -> str:
        """Return the path relative to the folder that was walked."""
        return next((path[len(folder) :] for folder in self._folders if path.startswith(folder)), path)


def _plain(name: str) -> str:
    """Return a name with slashes, and a web address without its query."""
    name = name.replace("\\", "/")
    return re.split("[?#]", name, maxsplit=1)[0] if re.match(r"[a-z]+:/", name) else name


def _stem(base: str) -> str:
    """Remove the extension of a photo; other names stay whole."""
    stem, end = os.path.splitext(base)
    return stem if end in IMAGE_EXTENSIONS else base


def _same_split(wanted: set[str], inside: str) -> bool:
    found = splits_named_in(inside)
    return not (wanted and found) or bool(wanted & found)


def _agreement(wanted: str, path: str) -> int:
    """Return the number of innermost folders that are equal."""
    count = 0
    pairs = zip(reversed(wanted.split("/")[:-1]), reversed(path.split(os.sep)[:-1]), strict=False)
    for one, other in pairs:
        if one.casefold() != other.casefold():
            break
        count += 1
    return count
