"""Photos at URLs: s3://, gs://, https:// and all others that fsspec supports."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from captioner.errors import ConfigError, ImageError
from captioner.images.finding import SkippedFiles, is_image_name

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

DOWNLOADS = 8
"""Number of photos fetched at the same time."""


def is_address(name: str) -> bool:
    return "://" in name


def open_address(address: str) -> AbstractContextManager[BinaryIO]:
    """Open the file at a URL as a stream. Raises ConfigError like `photos_at_address`, OSError if it does not exist."""
    filesystem, path = _filesystem(address)
    return filesystem.open(path, "rb")


def photos_at_address(
    address: str, recursive: bool, is_wanted: Callable[[str], bool], skipped: SkippedFiles
) -> Iterator[tuple[str, str, bytes | ImageError]]:
    """Yield the name, relative path and content of each wanted photo at a URL: a file, a folder or a glob.

    skipped: counts the other files of folders and globs, which are not opened.
    The file system lists the folders; most hold the list of one folder in memory.
    Raises ConfigError if the package for such URLs is missing.
    """
    filesystem, path = _filesystem(address)
    photos = (photo for photo in _list_photos(filesystem, path, address, recursive, skipped) if is_wanted(photo[0]))

    def fetch(remote: str | ImageError, name: str) -> bytes | ImageError:
        if isinstance(remote, ImageError):
            return remote
        try:
            return filesystem.cat_file(remote)
        except Exception as error:  # any library's: a status, a refused key, a lost connection
            return ImageError(f"{name} cannot be fetched ({_reason(error)}): check the address and your access to it")

    with ThreadPoolExecutor(DOWNLOADS) as threads:
        while batch := list(islice(photos, DOWNLOADS)):
            names, relative_paths, remotes = zip(*batch, strict=True)
            yield from zip(names, relative_paths, threads.map(fetch, remotes, names), strict=True)


def _list_photos(
    filesystem: "AbstractFileSystem", path: str, address: str, recursive: bool, skipped: SkippedFiles
) -> Iterator[tuple[str, str, str | ImageError]]:
    """Yield the name, relative path and remote path of each photo."""
    try:
        empty = True
        for remote in _find_paths(filesystem, path, recursive, skipped):
            empty = False
            yield filesystem.unstrip_protocol(remote), _relative_path(remote, path), remote
        if empty:
            reason = "add --recursive, if they are in folders there" if not recursive else "name one with photos"
            yield address, "", ImageError(f"{address} holds no images: {reason}")
    except Exception as error:  # any library's
        yield address, "", ImageError(f"{address} cannot be listed ({_reason(error)}): check it and your access to it")


def _find_paths(filesystem: "AbstractFileSystem", root: str, recursive: bool, skipped: SkippedFiles) -> Iterator[str]:
    if "*" not in root and (_is_photo(root) or not filesystem.isdir(root)):
        yield root
        return
    if "*" in root:
        paths = iter(filesystem.glob(root))
    else:
        folders = filesystem.walk(root, maxdepth=None if recursive else 1)
        paths = (f"{folder.rstrip('/')}/{name}" for folder, _, names in folders for name in names)
    for path in paths:
        if _is_photo(path):
            yield path
        elif PurePosixPath(_file_path(path)).suffix:  # a glob also finds folders; checking one takes a request
            skipped.add(_file_path(path))


def _relative_path(remote: str, path: str) -> str:
    """Return the name of a single file, the path within the folder for a folder's file, the whole path for a glob's."""
    remote_path, root = _file_path(remote), _file_path(path).rstrip("/")
    return PurePosixPath(remote_path).name if remote_path == root else remote_path.removeprefix(f"{root}/")


def _is_photo(path: str) -> bool:
    return is_image_name(_file_path(path))


def _file_path(path: str) -> str:
    """Return a path as a file name: a web URL without its query."""
    return unquote(urlsplit(path).path) if "://" in path else path


def _filesystem(address: str) -> tuple["AbstractFileSystem", str]:
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        raise ConfigError(f"{address} cannot be read: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{address} cannot be read ({error}): give s3://, gs:// or https://") from error


def _reason(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
