"""Which photos files, folders and globs stand for."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from captioner.errors import ImageError

IMAGE_EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .gif .webp .avif .heic .heif .hif .heics .heifs .jxl .bmp .dib .tif .tiff"
    " .jp2 .j2k .jpx .jpf .j2c .ppm .pgm .pbm .pnm .tga .ico".split()
)
"""What `find_images` takes for an image in a folder, lower case. A file that is named outright may have any name."""


def find_images(paths: Iterable[str | os.PathLike], recursive: bool = False) -> list[Path]:
    """List the photos that files, folders and globs stand for, each once.

    What is named first comes first; the photos of one folder or glob are sorted. Folders and globs give the files that
    are named like an image (`IMAGE_EXTENSIONS`) and not hidden. A file that is named outright is kept whatever it is
    called, and also where it is missing, so that whoever opens it can say so.

    recursive: look into the folders of a folder, too.
    Raises ImageError for a folder or glob in which there is no image.
    """
    found: dict[str, Path] = {}  # absolute path -> the path as it was named
    for path in paths:
        for image in _images_at(Path(path), recursive):
            found.setdefault(os.path.abspath(image), image)
    return list(found.values())


def _images_at(path: Path, recursive: bool) -> list[Path]:
    if path.is_dir():
        images = _images_in(path, recursive)
        if not images:
            raise ImageError(
                f"the folder {path} holds no images{'' if recursive else ' (folders in it were not searched)'}: "
                f"name a folder with photos that end in {_common_extensions()}"
            )
        return images
    if os.path.lexists(path) or not glob.has_magic(str(path)):
        return [path]
    matches = [Path(match) for match in glob.glob(str(path), recursive=True)]
    images = sorted(match for match in matches if is_image_name(match) and not match.is_dir())
    if matches and not images:
        raise ImageError(f"nothing that {path} matches is an image: name photos that end in {_common_extensions()}")
    return images or [path]


def _images_in(folder: Path, recursive: bool) -> list[Path]:
    try:
        if not recursive:
            return sorted(path for path in folder.iterdir() if is_image_name(path) and not path.is_dir())
    except OSError as error:
        raise ImageError(f"the folder {folder} cannot be read: {error.strerror}") from error
    images = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images += [Path(root, name) for name in names if is_image_name(name)]
    return sorted(images)


def is_image_name(path: str | os.PathLike[str]) -> bool:
    """Whether a folder's file of that name is taken for a photo."""
    name = os.path.basename(path)
    # Hidden files are left out: macOS leaves a "._photo.jpg" beside each photo that it copies to a foreign disk.
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS and not name.startswith(".")


def _common_extensions() -> str:
    return ".jpg, .png, .webp or another image format's extension"
