"""Where the photos of a data set lie, found out with one listing per folder rather than one look per photo."""

import contextlib
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from captioner.images.finding import IMAGE_EXTENSIONS
from training.data.readers.photo_search import PhotoSearch

_PHOTO_FOLDERS = frozenset(
    "images image photos pictures img imgs flicker8k_dataset flickr8k_dataset flickr8k_images flickr30k_images"
    " flickr30k-images".split()
)
"""Folders, lower case, in which the photos of a data set usually lie."""

UNPACKED = ".unpacked"
"""Folder beside archives for their unpacked photos; hidden, so that no reader takes it for data."""


def is_photo(name: str) -> bool:
    """Whether a file is named like a photo."""
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS


def photo_folders(root: Path) -> list[Path]:
    """The folder itself, then its subfolders that are usually called so (images, photos, Flicker8k_Dataset, ...)."""
    with os.scandir(root) as entries:
        inside = sorted(entry.name for entry in entries if entry.name.lower() in _PHOTO_FOLDERS and entry.is_dir())
    return [root, *(root / name for name in inside)]


def folders_beside(folder: Path) -> list[Path]:
    """List the folders beside a folder, each followed by its subfolders that usually hold photos."""
    found = []
    with contextlib.suppress(OSError):  # unreadable folders are skipped
        for other in sorted(Path(folder).absolute().parent.iterdir()):
            if other.is_dir() and not _hidden(other.name) and other.name != Path(folder).absolute().name:
                found += photo_folders(other)
    return found


def files_in(folder: Path) -> Iterator[str]:
    """Yield the files directly in a folder, sorted, without hidden ones."""
    with contextlib.suppress(OSError):
        yield from sorted(entry.path for entry in os.scandir(folder) if not _hidden(entry.name) and entry.is_file())


def walk_files(root: Path) -> Iterator[str]:
    """Every file below a folder, sorted; follows links to folders once. Hidden ones and __MACOSX are left out."""
    seen = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not _hidden(name))
        for name in sorted(files):
            if not _hidden(name):
                yield os.path.join(folder, name)


def left_behind(root: Path) -> Counter[str]:
    """Name -> number of the hidden files and folders below a folder, and of __MACOSX, that `walk_files` leaves out."""
    found: Counter[str] = Counter()
    for _, subfolders, files in os.walk(root):
        found.update(name for name in (*subfolders, *files) if _hidden(name) and name != UNPACKED)
        subfolders[:] = [name for name in subfolders if not _hidden(name)]
    return found


class PhotoFinder:
    """Finds photos by the names that a caption file gives them.

    folders: where to look, in this order, for a name that may itself hold folders. Nothing outside them is ever given.
    deep: where that fails, look for the bare name anywhere below the folders.
    """

    def __init__(self, folders: Iterable[Path], deep: bool = False) -> None:
        self._folders = list(dict.fromkeys(os.path.abspath(folder) for folder in folders))
        self._prefixes = tuple(os.path.join(folder, "") for folder in self._folders)
        self._listings: dict[str, dict[str, str]] = {}
        self._folded: dict[str, dict[str, list[str]]] = {}
        self._deep = deep
        self._anywhere: dict[str, list[str]] | None = None
        self._search = PhotoSearch(self._folders, walk_files, normal_name)
        self._used: set[str] = set()

    def allow(self, folder: Path) -> None:
        """Accept names that lead into one more folder, which is not searched."""
        prefix = os.path.join(os.path.abspath(folder), "")
        if not prefix.startswith(self._prefixes):
            self._prefixes = (*self._prefixes, prefix)

    def where(self) -> str:
        """The folders that were looked through, to be named in an error; those that exist, if any does."""
        existing = [folder for folder in self._folders if os.path.isdir(folder)]
        return " or ".join(os.path.basename(folder) + "/" for folder in existing or self._folders)

    def find(self, *names: str) -> str | None:
        """Path of the first of these names that exists, or None."""
        for name in names:
            path = self._find(name)
            if path is None and "\\" in name:  # a table written on Windows
                path = self._find(name.replace("\\", "/"))
            if path is not None:
                self._used.add(path)
                return path
        return None

    def search(self, names: Sequence[str], any_split: bool = False) -> list[str]:
        """Return the files below the folders that may be the photo of these names, which `find` does not find.

        Files that `find` returned for other names are left out. See `PhotoSearch.candidates`.
        """
        return [path for path in self._search.candidates(names, any_split) if path not in self._used]

    def use(self, path: str) -> None:
        """Count a photo from `search` as used."""
        self._used.add(path)

    def unused(self) -> Iterator[str]:
        """The photos, in the folders that were listed, that `find` never gave; sorted by folder."""
        return filter(is_photo, self.unused_files())

    def unused_files(self) -> Iterator[str]:
        """Yield files of any kind in the listed folders that `find` never returned; sorted by folder."""
        if self._deep:
            for folder in self._folders:
                yield from (path for path in walk_files(Path(folder)) if path not in self._used)
            return
        for folder, listing in sorted(self._listings.items()):
            for name in sorted(listing.values()):
                path = os.path.join(folder, name)
                if not _hidden(name) and path not in self._used:
                    yield path

    def _find(self, name: str) -> str | None:
        for folder in self._folders:
            path = os.path.normpath(os.path.join(folder, name))
            # A name such as ../../secret.jpg or /secret.jpg must not reach out of the data set.
            if not path.startswith(self._prefixes):
                continue
            parent, base = os.path.split(path)
            real = self._listing(parent).get(normal_name(base)) or self._other_case(parent, base)
            if real is not None:
                return os.path.join(parent, real)
        return next(iter(self._namesakes(name)), None) if self._deep else None

    def namesakes(self, path: str) -> list[str]:
        """Return other photos of the same name, if photos are searched for by their bare names."""
        return [other for other in self._namesakes(path) if other != path] if self._deep else []

    def _namesakes(self, name: str) -> list[str]:
        return self._index().get(normal_name(os.path.basename(name)), [])

    def _listing(self, folder: str) -> dict[str, str]:
        """Name in normal form -> name on disk, of the files in a folder; empty where there is no such folder."""
        listing = self._listings.get(folder)
        if listing is None:
            try:
                with os.scandir(folder) as entries:
                    listing = {normal_name(entry.name): entry.name for entry in entries if entry.is_file()}
            except (OSError, ValueError):  # no such folder, or a name that no folder can have
                listing = {}
            self._listings[folder] = listing
        return listing

    def _other_case(self, folder: str, name: str) -> str | None:
        """The one file whose name differs in nothing but capitals: systems differ in whether these matter."""
        if folder not in self._folded:
            folded = defaultdict(list)
            for real in self._listing(folder).values():
                folded[normal_name(real).casefold()].append(real)
            self._folded[folder] = folded
        found = self._folded[folder].get(normal_name(name).casefold(), [])
        return found[0] if len(found) == 1 else None

    def _index(self) -> dict[str, list[str]]:
        if self._anywhere is None:
            self._anywhere = defaultdict(list)
            for folder in self._folders:
                for path in walk_files(Path(folder)):
                    if is_photo(path):
                        self._anywhere[normal_name(os.path.basename(path))].append(path)
        return self._anywhere


def differs_in_case(path: str, names: Iterable[str]) -> bool:
    """Whether a photo that `PhotoFinder.find` gave for these names was found by none of them as it is written."""
    base = normal_name(os.path.basename(path))
    return all(normal_name(re.split(r"[/\\\\]", name)[-1]) != base for name in names)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def normal_name(name: str) -> str:
    """macOS writes é as e and an accent: the same name in a caption file and on disk may differ in its bytes."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)
