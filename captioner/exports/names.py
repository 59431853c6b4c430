"""Names of files in exports: inside their folder, each used once, and those of sidecars."""

import os
import re
from collections import Counter

from captioner.images.finding import IMAGE_EXTENSIONS
from captioner.text.name_set import NameSet

_DRIVE = re.compile("[A-Za-z]:")


def path_parts(path: str) -> list[str]:
    """Return the names of a path with `/` without those that lead out of its folder: a root, `.` and `..`."""
    return [part for part in path.split("/") if part not in ("", ".", "..")]


def safe_name(name: str) -> str:
    """Return a relative path with `/` that stays inside its folder; sub-folders are kept."""
    return "/".join(path_parts(name)) or "photo"


def archive_name(name: str) -> str:
    r"""Return `safe_name` for a member of an archive: on Windows, `\` separates folders and `C:` is a root.

    Bytes of a file's name that are not UTF-8 become escapes, because a zip cannot hold them.
    """
    parts = path_parts(name.replace("\\", "/"))
    if parts and _DRIVE.match(parts[0]):
        parts[0] = parts[0][2:]
    return safe_name("/".join(parts)).encode("utf-8", "backslashreplace").decode()


def split_extension(name: str) -> tuple[str, str]:
    """Split a photo's name into stem and extension; the extension is empty unless it is an image's."""
    stem, ending = os.path.splitext(name)
    return (stem, ending) if ending.lower() in IMAGE_EXTENSIONS else (name, "")


class UniqueNames:
    """Names that are used once each, regardless of case; a million take 8 MB."""

    def __init__(self) -> None:
        self._used = NameSet()
        self._repeats: Counter[str] = Counter()

    def take(self, name: str) -> bool:
        """Use a name; return whether it was free."""
        return self._used.add(name.casefold())

    def number(self, name: str, ending: str | None = None) -> str:
        """Use and return a name, with a number before its extension if it was used: a.jpg, a-2.jpg.

        ending: extension to add to the name; by default the name has it, if it is an image's.
        """
        stem, ending = split_extension(name) if ending is None else (name, ending)
        name = stem + ending
        if self.take(name):
            return name
        while True:
            self._repeats[name.casefold()] += 1
            numbered = f"{stem}-{1 + self._repeats[name.casefold()]}{ending}"
            if self.take(numbered):
                return numbered


class SidecarNames:
    """Names of the text files for photos: a.txt for a.jpg.

    If a second photo has that name with another extension, its sidecar is a.png.txt. The readers of `training` pair
    them in the same way.
    """

    def __init__(self, ending: str) -> None:
        self._ending = ending
        self._names = UniqueNames()

    def take(self, name: str) -> None:
        """Use the name of a sidecar that exists."""
        self._names.take(name)

    def name(self, photo: str) -> str:
        """Return the name of a photo's sidecar. photo: relative path."""
        short = split_extension(photo)[0] + self._ending
        return short if self._names.take(short) else self._names.number(photo, self._ending)
