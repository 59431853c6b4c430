"""Stream of photos to caption in bulk: from files, folders, archives and URLs.

Memory does not grow with the number of photos: folders are read as a stream, in the order on the disk.
"""

import glob
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np
from braceexpand import UnbalancedBracesError, braceexpand
from PIL import Image

from captioner.bulk.remote import is_address, open_address, photos_at_address
from captioner.errors import ImageError, ImageTooLarge
from captioner.exports.names import path_parts
from captioner.images.file_types import HEAD_BYTES
from captioner.images.finding import SkippedFiles, is_image_name
from captioner.images.fitting import ImageFrame, is_fast, prepare_image
from captioner.images.photo import open_image
from captioner.images.scaled import needed_side
from captioner.ranks import ALONE, Ranks

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_BYTES = 2**29
"""Maximum size of a photo's file in an archive; a larger one is not read into memory."""


@dataclass(frozen=True)
class Photo:
    """Photo that was found but not opened yet."""

    name: str
    """Name in the output: a path, a URL, or ARCHIVE/MEMBER."""
    relative_path: str
    """Path of its copy or sidecar, relative to the folder of all of them."""
    source: str | bytes | ImageError
    """Its path, the content of its file, or the error that prevents reading it."""


IsWanted = Callable[[str], bool]
"""Called once for each photo found, with its name, before any of it is read."""


def photos_at(
    inputs: Sequence[str],
    recursive: bool,
    is_wanted: IsWanted,
    ranks: Ranks = ALONE,
    skipped: SkippedFiles | None = None,
) -> Iterator[Photo]:
    """Yield this rank's share of the wanted photos that files, folders, globs, archives and URLs stand for.

    Each member of a tar archive (as in WebDataset) with an image's extension is a photo; `{000..009}` in an argument
    stands for the numbers. With at least as many archives as ranks, each rank reads whole archives; with fewer, every
    rank reads all of them and takes its share of the photos.
    A photo that cannot be found or read has the error as its source. skipped: counts the files of folders, globs
    and archives without an image's extension; if all ranks list the same files, only the first rank counts.
    Raises ConfigError for a URL that this installation cannot read.
    """
    inputs = expand_inputs(inputs)
    labels = copy_labels(inputs)
    archives = [path for path in inputs if is_archive(path)]
    shared_whole = len(archives) >= ranks.size

    skipped_here = SkippedFiles() if skipped is None else skipped
    shared = skipped_here if ranks.rank == 0 else SkippedFiles()

    def is_own(name: str) -> bool:
        return ranks.owns(name) and is_wanted(name)

    for path, label in zip(inputs, labels, strict=True):
        if not is_archive(path):
            find = _remote_photos if is_address(path) else _local_photos
            yield from find(path, label, recursive, is_own, shared)
        elif not shared_whole:
            yield from _members(path, label, is_own, shared)
        elif archives.index(path) % ranks.size == ranks.rank:
            yield from _members(path, label, is_wanted, skipped_here)


def expand_inputs(inputs: Sequence[str]) -> list[str]:
    """Expand braces and local globs of archives; other globs stay, as they may match very many files."""
    paths: dict[str, None] = {}
    for path in inputs:
        for name in [path] if os.path.lexists(path) else _expand_braces(path):
            matches = [name]
            if is_archive(name) and glob.has_magic(name) and not is_address(name) and not os.path.lexists(name):
                matches = sorted(glob.glob(name, recursive=True)) or [name]
            paths.update(dict.fromkeys(matches))
    return list(paths)


def is_archive(name: str) -> bool:
    """Return whether a name has an archive's extension and is not a folder."""
    return name.lower().endswith(ARCHIVES) and not os.path.isdir(name)


def _expand_braces(pattern: str) -> list[str]:
    try:
        return list(braceexpand(pattern, escape=False))
    except UnbalancedBracesError:  # the braces belong to the name
        return [pattern]


def copy_labels(inputs: Sequence[str]) -> list[str]:
    """Return, for each expanded input, the folder for copies of its photos: none if there is only one input."""
    if len(inputs) == 1:
        return [""]
    labels, used_labels = [], set()
    for path in inputs:
        label = stem = PurePosixPath(path.replace(os.sep, "/")).name or "photos"
        number = 1
        while label.casefold() in used_labels:
            number += 1
            label = f"{number}-{stem}"
        used_labels.add(label.casefold())
        labels.append(label)
    return labels


def _local_photos(
    path: str, label: str, recursive: bool, is_wanted: IsWanted, skipped: SkippedFiles
) -> Iterator[Photo]:
    if os.path.isdir(path):
        yield from _photos_in(path, label, recursive, is_wanted, skipped)
    elif os.path.lexists(path) or not glob.has_magic(path):
        if is_wanted(path):
            yield Photo(path, label or os.path.basename(path), path)
    else:
        empty, skipped_here = True, SkippedFiles(skipped.own_endings)
        for match in glob.iglob(path, recursive=True):
            if os.path.isdir(match):
                continue
            if not is_image_name(match):
                (skipped_here if empty else skipped).add_file(match)
                continue
            if empty:
                skipped.include(skipped_here)
            empty = False
            if is_wanted(match):
                yield Photo(match, _safe_path(label, match), match)
        if empty and is_wanted(path):
            others = _describe_others(skipped_here)
            yield Photo(path, "", ImageError(f"nothing that {path} matches is an image: check the pattern{others}"))


def _photos_in(folder: str, label: str, recursive: bool, is_wanted: IsWanted, skipped: SkippedFiles) -> Iterator[Photo]:
    empty, skipped_here = True, SkippedFiles(skipped.own_endings)
    folders = [folder]
    while folders:
        current = folders.pop()
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if not recursive:
                            skipped.add_folder(entry.path)
                        elif not entry.name.startswith("."):
                            folders.append(entry.path)
                    elif entry.is_dir():
                        skipped.add_folder(entry.path)
                    elif not is_image_name(entry.name):
                        (skipped_here if empty else skipped).add_file(entry.path)
                    else:
                        if empty:
                            skipped.include(skipped_here)
                        empty = False
                        if is_wanted(entry.path):
                            yield Photo(entry.path, _safe_path(label, os.path.relpath(entry.path, folder)), entry.path)
        except OSError as error:
            if empty:
                skipped.include(skipped_here)
            empty = False
            if is_wanted(current):
                yield Photo(current, "", ImageError(f"the folder {current} cannot be read: {error.strerror}"))
    if empty and is_wanted(folder):
        note = "" if recursive else " (folders in it were not searched: add --recursive)"
        reason = f"the folder {folder} holds no images{note}: name one with photos{_describe_others(skipped_here)}"
        yield Photo(folder, "", ImageError(reason))


def _describe_others(skipped: SkippedFiles) -> str:
    """Describe the other files, as the end of an error about a folder or glob without photos."""
    return f"; {skipped.summary()}" if skipped.count else ""


def _remote_photos(
    address: str, label: str, recursive: bool, is_wanted: IsWanted, skipped: SkippedFiles
) -> Iterator[Photo]:
    for name, relative_path, source in photos_at_address(address, recursive, is_wanted, skipped):
        yield Photo(name, _safe_path(label, relative_path), source)


def _members(archive: str, label: str, is_wanted: IsWanted, skipped: SkippedFiles) -> Iterator[Photo]:
    """Yield the photos of an archive, which is read as a stream and never held as a whole."""
    try:
        with _open_archive(archive) as stream, tarfile.open(fileobj=stream, mode="r|*") as members:
            while (member := members.next()) is not None:
                members.members.clear()  # tarfile would keep a list of all members
                name = f"{archive}/{member.name}"
                if not member.isreg():
                    continue
                if not is_image_name(member.name):
                    head = None if skipped.is_full else members.extractfile(member).read(HEAD_BYTES)
                    skipped.add(name, head)
                elif is_wanted(name):
                    yield Photo(name, _safe_path(label, member.name), _content(members, member, name))
    except (OSError, tarfile.TarError, EOFError, ValueError) as error:  # EOFError, zlib.error: truncated
        if is_wanted(archive):
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            yield Photo(archive, "", ImageError(f"{archive} cannot be read to its end ({reason}): copy it again"))


def _content(members: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> bytes | ImageError:
    if member.size > MAX_BYTES:
        return ImageTooLarge(f"{name} is too large: {member.size:,} bytes, and at most {MAX_BYTES:,} are read")
    return members.extractfile(member).read()


def _open_archive(path: str) -> AbstractContextManager[BinaryIO]:
    return open_address(path) if is_address(path) else open(path, "rb")


def _safe_path(label: str, path: str) -> str:
    """Return a path inside the folder of copies, whatever the name of an archive's member."""
    # Not with pathlib, which interns each part of every name.
    return os.path.join(label, *path_parts(path.replace(os.sep, "/")))


def read_for_square(
    name: str, source: str | bytes | ImageError, size: int, fit: str
) -> Image.Image | tuple[np.ndarray, ImageFrame]:
    """Read a photo: prepared by `prepare_image`, or, if that is fast and needs torch, as it is.

    Raises ImageError with `name` in it.
    """
    if isinstance(source, ImageError):
        raise source
    photo = open_image(source, name, side=needed_side(size))
    return photo if is_fast(photo, fit) else prepare_image(photo, size, fit)
