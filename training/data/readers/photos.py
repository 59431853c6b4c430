"""Find the photos of a data set, with one listing per folder instead of one file check per photo."""

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
"""Usual names of folders of photos, lower case."""

UNPACKED = ".unpacked"
"""Folder beside an archive for its unpacked photos; hidden, so that readers ignore it."""


def is_photo(name: str) -> bool:
    """Return whether a file has a photo's extension."""
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS


def photo_folders(root: Path) -> list[Path]:
    """Return the folder itself, then its subfolders with usual names (images, photos, Flicker8k_Dataset, ...)."""
    with os.scandir(root) as entries:
        names = sorted(entry.name for entry in entries if entry.name.lower() in _PHOTO_FOLDERS and entry.is_dir())
    return [root, *(root / name for name in names)]


def folders_beside(folder: Path) -> list[Path]:
    """List the folders beside a folder, each followed by its subfolders that usually hold photos."""
    folders = []
    with contextlib.suppress(OSError):  # unreadable folders are skipped
        for sibling in sorted(Path(folder).absolute().parent.iterdir()):
            if sibling.is_dir() and not _is_hidden(sibling.name) and sibling.name != Path(folder).absolute().name:
                folders += photo_folders(sibling)
    return folders


def files_in(folder: Path) -> Iterator[str]:
    """Yield the files directly in a folder, sorted, without hidden ones."""
    with contextlib.suppress(OSError):
        yield from sorted(entry.path for entry in os.scandir(folder) if not _is_hidden(entry.name) and entry.is_file())


def walk_files(root: Path) -> Iterator[str]:
    """Yield every file below a folder, sorted, without hidden ones and __MACOSX; follow links to folders once."""
    seen = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not _is_hidden(name))
        for name in sorted(files):
            if not _is_hidden(name):
                yield os.path.join(folder, name)


def count_hidden_files(root: Path) -> Counter[str]:
    """Count by name the hidden files and folders, and __MACOSX, below a folder, which `walk_files` skips."""
    counts: Counter[str] = Counter()
    for _, subfolders, files in os.walk(root):
        counts.update(name for name in (*subfolders, *files) if _is_hidden(name) and name != UNPACKED)
        subfolders[:] = [name for name in subfolders if not _is_hidden(name)]
    return counts


class PhotoFinder:
    """Finder of photos by their names in a caption file.

    folders: folders to search, in this order, for a name that may itself contain folders. Paths outside are never
    returned. deep: otherwise search for the bare name anywhere below the folders.
    """

    def __init__(self, folders: Iterable[Path], deep: bool = False) -> None:
        self._folders = list(dict.fromkeys(os.path.abspath(folder) for folder in folders))
        self._prefixes = tuple(os.path.join(folder, "") for folder in self._folders)
        self._listings: dict[str, dict[str, str]] = {}
        self._folded_listings: dict[str, dict[str, list[str]]] = {}
        self._deep = deep
        self._paths_by_name: dict[str, list[str]] | None = None
        self._search = PhotoSearch(self._folders, walk_files, normal_name)
        self._used: set[str] = set()

    def allow(self, folder: Path) -> None:
        """Accept names that lead into one more folder, which is not searched."""
        prefix = os.path.join(os.path.abspath(folder), "")
        if not prefix.startswith(self._prefixes):
            self._prefixes = (*self._prefixes, prefix)

    def describe_folders(self) -> str:
        """Return the names of the searched folders for an error; only the existing ones, if any exists."""
        existing = [folder for folder in self._folders if os.path.isdir(folder)]
        return " or ".join(os.path.basename(folder) + "/" for folder in existing or self._folders)

    def find(self, *names: str) -> str | None:
        """Return the path of the first of these names that exists, or None."""
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

        Excludes files that `find` returned for other names. See `PhotoSearch.candidates`.
        """
        return [path for path in self._search.candidates(names, any_split) if path not in self._used]

    def mark_used(self, path: str) -> None:
        """Mark a photo from `search` as used."""
        self._used.add(path)

    def unused(self) -> Iterator[str]:
        """Yield photos in the listed folders that `find` never returned; sorted by folder."""
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
                if not _is_hidden(name) and path not in self._used:
                    yield path

    def _find(self, name: str) -> str | None:
        for folder in self._folders:
            path = os.path.normpath(os.path.join(folder, name))
            # A name such as ../../secret.jpg or /secret.jpg must not lead out of the data set.
            if not path.startswith(self._prefixes):
                continue
            parent, base = os.path.split(path)
            real_name = self._listing(parent).get(normal_name(base)) or self._find_other_case(parent, base)
            if real_name is not None:
                return os.path.join(parent, real_name)
        return next(iter(self._find_by_base_name(name)), None) if self._deep else None

    def namesakes(self, path: str) -> list[str]:
        """Return other photos of the same name, if photos are searched by bare name."""
        return [namesake for namesake in self._find_by_base_name(path) if namesake != path] if self._deep else []

    def _find_by_base_name(self, name: str) -> list[str]:
        return self._index_by_name().get(normal_name(os.path.basename(name)), [])

    def _listing(self, folder: str) -> dict[str, str]:
        """List the files in a folder: normal form of a name -> name on disk; empty if there is no such folder."""
        listing = self._listings.get(folder)
        if listing is None:
            try:
                with os.scandir(folder) as entries:
                    listing = {normal_name(entry.name): entry.name for entry in entries if entry.is_file()}
            except (OSError, ValueError):  # no such folder, or a name that no folder can have
                listing = {}
            self._listings[folder] = listing
        return listing

    def _find_other_case(self, folder: str, name: str) -> str | None:
        """Return the only file whose name differs just in capitals, which some systems ignore."""
        if folder not in self._folded_listings:
            folded = defaultdict(list)
            for real_name in self._listing(folder).values():
                folded[normal_name(real_name).casefold()].append(real_name)
            self._folded_listings[folder] = folded
        matches = self._folded_listings[folder].get(normal_name(name).casefold(), [])
        return matches[0] if len(matches) == 1 else None

    def _index_by_name(self) -> dict[str, list[str]]:
        if self._paths_by_name is None:
            self._paths_by_name = defaultdict(list)
            for folder in self._folders:
                for path in walk_files(Path(folder)):
                    if is_photo(path):
                        self._paths_by_name[normal_name(os.path.basename(path))].append(path)
        return self._paths_by_name


def differs_in_case(path: str, names: Iterable[str]) -> bool:
    """Return whether none of these names has the exact spelling of the photo that `PhotoFinder.find` found for them."""
    base = normal_name(os.path.basename(path))
    return all(normal_name(re.split(r"[/\\\\]", name)[-1]) != base for name in names)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def normal_name(name: str) -> str:
    """Return a name in Unicode NFC: macOS writes é as e and an accent, so equal names may differ in their bytes."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)
