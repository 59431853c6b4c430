"""Find the photos that files, folders and globs stand for, and count the files that are skipped."""

import glob
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from captioner.errors import ImageError
from captioner.images.file_types import HEAD_BYTES, file_type, picture_type
from captioner.text.counting import counted
from captioner.text.name_set import NameSet

IMAGE_EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .gif .webp .avif .heic .heif .hif .heics .heifs .jxl .bmp .dib .tif .tiff"
    " .jp2 .j2k .jpx .jpf .j2c .ppm .pgm .pbm .pnm .tga .ico".split()
)
"""Lower-case extensions of the images that `find_images` finds in a folder. A file given by its path may have any."""


MAX_NAMED = 10
"""Maximum number of skipped files that are named; the others are counted by extension."""


class SkippedFiles:
    """Counter of the files in folders, globs and archives that are not photos.

    own_endings: ends of the names, lower case, of files that the run itself writes beside photos; they do not count.
    """

    def __init__(self, own_endings: tuple[str, ...] = ()) -> None:
        self.count = 0
        self.own_endings = own_endings
        self._known_paths = NameSet()
        self._named_files: list[tuple[str, str]] = []  # path, description
        self._extensions: Counter[str] = Counter()
        self._folders: dict[str, None] = {}

    def add_file(self, path: str | os.PathLike[str]) -> None:
        """Count a local file; the first `MAX_NAMED` are opened to recognise their types."""
        self.add(path, None if self.is_full else _read_head(path))

    def add(self, path: str | os.PathLike[str], head: bytes | None = None) -> None:
        """Count a file by its path or address. Hidden files are not counted.

        head: its first `HEAD_BYTES`, which identify its type; None if unknown.
        """
        name = os.path.basename(path)
        if name.lower().endswith(self.own_endings):
            return
        if name.startswith(".") and not name.endswith(".icloud") or not self._known_paths.add(os.path.abspath(path)):
            return
        self.count += 1
        if not self.is_full:
            self._named_files.append((os.fspath(path), "" if head is None else f" ({_describe_type(name, head)})"))
        else:
            self._extensions[_extension(name)] += 1

    def add_folder(self, path: str | os.PathLike[str]) -> None:
        """Count a folder that is not searched. Hidden folders are not counted."""
        if not os.path.basename(path).startswith("."):
            self._folders[os.fspath(path)] = None

    def __bool__(self) -> bool:
        return bool(self.count or self._folders)

    def include(self, others: "SkippedFiles") -> None:
        """Add the counts of another instance."""
        self.count += others.count
        self._folders |= others._folders
        room = max(0, MAX_NAMED - len(self._named_files))
        self._named_files += others._named_files[:room]
        self._extensions.update(_extension(path) for path, _ in others._named_files[room:])
        self._extensions.update(others._extensions)

    @property
    def is_full(self) -> bool:
        """Return whether `MAX_NAMED` files are named, so that further files need not be opened."""
        return len(self._named_files) >= MAX_NAMED

    def summary(self) -> str:
        """Name and count the skipped files and folders, in a sentence without its full stop."""
        clauses = []
        if self.count:
            files = f"{counted(self.count, 'file')} {'was' if self.count == 1 else 'were'}"
            counts = [f"{count:,} {extension}" for extension, count in self._extensions.most_common(5)]
            others = f" and {sum(self._extensions.values()):,} more ({', '.join(counts)})" if counts else ""
            named = ", ".join(path + description for path, description in self._named_files)
            clauses.append(f"{files} skipped: {named}{others}")
        if self._folders:
            folders = f"{counted(len(self._folders), 'folder')} {'was' if len(self._folders) == 1 else 'were'}"
            first = ", ".join(list(self._folders)[:3]) + (", ..." if len(self._folders) > 3 else "")
            clauses.append(f"{folders} not searched ({first}): add --recursive")
        return "; ".join(clauses)


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower() or "without extension"


def _read_head(path: str | os.PathLike[str]) -> bytes | None:
    """Read the first bytes of a file. Return None if it cannot be read, or is a pipe, which would block."""
    try:
        if os.path.isfile(path):
            with open(path, "rb") as file:
                return file.read(HEAD_BYTES)
    except OSError:
        pass
    return None


def _describe_type(name: str, head: bytes) -> str:
    kind = file_type(head, name)
    if kind is not None:
        return f"{kind.name}: {kind.advice}" if kind.is_near_photo else kind.name
    if picture := picture_type(head):
        return f"{picture} without an image's extension: rename it, or give its path"
    return "an unknown type" if head else "empty"


def find_images(
    paths: Iterable[str | os.PathLike], recursive: bool = False, skipped: SkippedFiles | None = None
) -> list[Path]:
    """List the photos that files, folders and globs stand for, each once.

    The order is that of `paths`; the photos of one folder or glob are sorted. Folders and globs give the files with an
    image's extension (`IMAGE_EXTENSIONS`) that are not hidden. A file given by its path is kept whatever its name, and
    even if it is missing, so that opening it reports the error.

    recursive: search the folders in a folder as well. skipped: counts the other files of folders and globs.
    Raises ImageError for a folder or glob without images; the error names the other files there.
    """
    images_by_path: dict[str, Path] = {}  # absolute path -> the path as it was given
    for path in paths:
        for image in _find_images_at(Path(path), recursive, SkippedFiles() if skipped is None else skipped):
            images_by_path.setdefault(os.path.abspath(image), image)
    return list(images_by_path.values())


def _find_images_at(path: Path, recursive: bool, skipped: SkippedFiles) -> list[Path]:
    if path.is_dir():
        note = "" if recursive else " (folders in it were not searched)"
        message = f"the folder {path} holds no images{note}: name a folder with"
        images = _select_images(_list_files(path, recursive), skipped, message)
        if not recursive:
            for folder in sorted(folder for folder in path.iterdir() if folder.is_dir()):
                skipped.add_folder(folder)
        return images
    if os.path.lexists(path) or not glob.has_magic(str(path)):
        return [path]
    files = [match for match in map(Path, glob.glob(str(path), recursive=True)) if not match.is_dir()]
    return _select_images(files, skipped, f"nothing that {path} matches is an image: name") if files else [path]


def _select_images(files: Iterable[Path], skipped: SkippedFiles, message: str) -> list[Path]:
    """Return the images among files, sorted; `message` begins the error message if there are none."""
    images, others = [], []
    for file in sorted(files):
        (images if is_image_name(file) else others).append(file)
    if images:
        for file in others:
            skipped.add_file(file)
        return images
    other_files = SkippedFiles()
    for file in others:
        other_files.add_file(file)
    other_note = f"; {other_files.summary()}" if other_files.count else ""
    raise ImageError(f"{message} photos that end in {_common_extensions()}{other_note}")


def _list_files(folder: Path, recursive: bool) -> list[Path]:
    try:
        if not recursive:
            return [path for path in folder.iterdir() if not path.is_dir()]
    except OSError as error:
        raise ImageError(f"the folder {folder} cannot be read: {error.strerror}") from error
    files = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(root, name) for name in names]
    return files


def is_image_name(path: str | os.PathLike[str]) -> bool:
    """Return whether a file of that name in a folder is read as a photo."""
    name = os.path.basename(path)
    # Hidden files do not count: macOS leaves a "._photo.jpg" beside each photo that it copies to a foreign disk.
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS and not name.startswith(".")


def _common_extensions() -> str:
    return ".jpg, .png, .webp or another image format's extension"
