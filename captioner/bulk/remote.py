"""Photos at addresses: s3://, gs://, https:// and whatever else fsspec knows."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from captioner.errors import ConfigError, ImageError
from captioner.images.finding import PassedOver, is_image_name

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

DOWNLOADS = 8
"""Photos fetched at the same time."""


def is_address(name: str) -> bool:
    return "://" in name


def open_address(address: str) -> AbstractContextManager[BinaryIO]:
    """A file at an address as a stream. Raises ConfigError as `photos_at_address`, OSError where it is not there."""
    filesystem, path = _filesystem(address)
    return filesystem.open(path, "rb")


def photos_at_address(
    address: str, recursive: bool, wanted: Callable[[str], bool], passed_over: PassedOver
) -> Iterator[tuple[str, str, bytes | ImageError]]:
    """Name, place below the address, and content of each wanted photo at an address: a file, a folder or a glob.

    passed_over: counts the other files of folders and globs, which are not looked into.
    How folders are listed is the file system's affair: most hold the list of one folder in memory.
    Raises ConfigError where the package for such addresses is missing.
    """
    filesystem, path = _filesystem(address)
    asked = (found for found in _listed(filesystem, path, address, recursive, passed_over) if wanted(found[0]))

    def fetch(remote: str | ImageError, name: str) -> bytes | ImageError:
        if isinstance(remote, ImageError):
            return remote
        try:
            return filesystem.cat_file(remote)
        except Exception as error:  # of any library: a status, a refused key, a lost connection
            return ImageError(f"{name} cannot be fetched ({_reason(error)}): check the address and your access to it")

    with ThreadPoolExecutor(DOWNLOADS) as threads:
        while several := list(islice(asked, DOWNLOADS)):
            names, places, remotes = zip(*several, strict=True)
            yield from zip(names, places, threads.map(fetch, remotes, names), strict=True)


def _listed(
    filesystem: "AbstractFileSystem", path: str, address: str, recursive: bool, passed_over: PassedOver
) -> Iterator[tuple[str, str, str | ImageError]]:
    """Name, place and path of each photo."""
    try:
        empty = True
        for remote in _paths(filesystem, path, recursive, passed_over):
            empty = False
            yield filesystem.unstrip_protocol(remote), _place(remote, path), remote
        if empty:
            reason = "add --recursive, if they are in folders there" if not recursive else "name one with photos"
            yield address, "", ImageError(f"{address} holds no images: {reason}")
    except Exception as error:  # of any library
        yield address, "", ImageError(f"{address} cannot be listed ({_reason(error)}): check it and your access to it")


def _paths(filesystem: "AbstractFileSystem", path: str, recursive: bool, passed_over: PassedOver) -> Iterator[str]:
    if "*" not in path and (_is_photo(path) or not filesystem.isdir(path)):
        yield path
        return
    if "*" in path:
        found = iter(filesystem.glob(path))
    else:
        walked = filesystem.walk(path, maxdepth=None if recursive else 1)
        found = (f"{root.rstrip('/')}/{name}" for root, _, names in walked for name in names)
    for one in found:
        if _is_photo(one):
            yield one
        elif PurePosixPath(_plain(one)).suffix:  # a glob also finds folders, and checking each would take a request
            passed_over.add(_plain(one))


def _place(remote: str, path: str) -> str:
    """Of a file that stands for itself its name; of a folder's, its path there; of a glob's, its whole path."""
    whole, start = _plain(remote), _plain(path).rstrip("/")
    return PurePosixPath(whole).name if whole == start else whole.removeprefix(f"{start}/")


def _is_photo(path: str) -> bool:
    return is_image_name(_plain(path))


def _plain(path: str) -> str:
    """A path as a name of files: of an address on the web, without its query."""
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
