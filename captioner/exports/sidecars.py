"""Text files beside photos with their captions: a.txt for a.jpg, as trainers of image generators read them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from captioner.errors import ImageError
from captioner.exports.names import split_extension
from captioner.files import write_atomically
from captioner.images.finding import is_image_name
from captioner.text.name_set import NameSet


def sidecar_text(captions: Sequence[str], prefix: str = "", suffix: str = "") -> str:
    """Return the content of a sidecar: a line for each caption between prefix and suffix, without a final line break.

    A line break inside a caption stays as it is.
    """
    return "\n".join(f"{prefix}{caption}{suffix}" for caption in captions)


def write_sidecar(name: str, path: str, text: str, on_conflict: str) -> bool:
    """Write a sidecar atomically, in UTF-8; return False if a text was there and stays, because of `skip`.

    name: name of the photo in errors. on_conflict: one of `captioner.config.ON_CONFLICT`.
    Raises ImageError if it cannot be written.
    """
    content = text.encode()
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if on_conflict == "skip":
            write_atomically(path, content, replace=False)
            return True
        if on_conflict == "keep-copy" and not _has_content(path, content):
            keep_copy(path)
        write_atomically(path, content, one_writer=True)
        return True
    except FileExistsError:
        return False
    except OSError as error:
        raise ImageError(f"{name}: its caption cannot be written to {path} ({error.strerror or error})") from error


def keep_copy(path: str | os.PathLike[str]) -> None:
    """Rename a file that is about to be written again to PATH.bak, or PATH.bak2, ... if that exists. Raises OSError."""
    number = 1
    while os.path.lexists(copy := f"{os.fspath(path)}.bak{number if number > 1 else ''}"):
        number += 1
    with suppress(FileNotFoundError):
        os.rename(path, copy)


def _has_content(path: str, content: bytes) -> bool:
    try:
        return Path(path).read_bytes() == content
    except FileNotFoundError:
        return False


class FolderSidecars:
    """Paths of the sidecars of photos on the disk: a.txt for a.jpg.

    If a folder holds several photos of that name with other extensions, the first one by name has a.txt, and each other
    one the whole name: a.png.txt. This depends on the folder alone, not on the photos that are captioned.
    """

    def __init__(self, ending: str) -> None:
        self._ending = ending
        self._folder: str | None = None
        self._shared: dict[str, str] = {}
        """Stems of several photos, regardless of case -> name of the first one."""

    def name(self, photo: str) -> str:
        """Return the sidecar's file name. photo: path of the photo."""
        folder, base = os.path.split(photo)
        if folder != self._folder:
            self._folder, self._shared = folder, _shared_stems(folder or ".")
        stem = split_extension(base)[0]
        return (stem if self._shared.get(stem.casefold(), base) == base else base) + self._ending


def _shared_stems(folder: str) -> dict[str, str]:
    """Return the stems that several photos of a folder have, with the first photo of each.

    Only these are held in memory, as folders may hold millions of photos.
    """
    stems, repeated = NameSet(), set()
    for name in _photos_in(folder):
        stem = split_extension(name)[0].casefold()
        if not stems.add(stem):
            repeated.add(stem)
    first: dict[str, str] = {}
    if repeated:
        for name in _photos_in(folder):
            stem = split_extension(name)[0].casefold()
            if stem in repeated:
                first[stem] = min(first.get(stem, name), name)
    return first


def _photos_in(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_image_name(entry.name):
                    yield entry.name
    except OSError:  # the photo's own error says more
        return
