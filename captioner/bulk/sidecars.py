"""Paths of the sidecars of a bulk run, and which of them exist already."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from captioner.bulk.sources import Photo
from captioner.errors import ImageError
from captioner.exports.names import SidecarNames
from captioner.exports.sidecars import FolderSidecars


@dataclass(frozen=True)
class SidecarOptions:
    """Options of the formats that write a text file for each photo."""

    ending: str
    """Extension of the text files, with its dot."""
    folder: Path | None = None
    """Folder of the text files, with the sub-folders of the photos; None: beside each photo."""
    prefix: str = ""
    """Text before each caption."""
    suffix: str = ""
    """Text after each caption."""
    on_conflict: str = "skip"
    """One of `captioner.config.ON_CONFLICT`."""


class SidecarPaths:
    """Paths of sidecars, and the number of those that exist already and stay."""

    def __init__(self, options: SidecarOptions) -> None:
        self.kept = 0
        self._options = options
        self._on_disk = FolderSidecars(options.ending)
        self._of_members = SidecarNames(options.ending)

    def is_done(self, entry: Mapping[str, Any]) -> bool:
        """Return whether a line of a journal is about a photo to leave out, and register its sidecar.

        A photo whose sidecar was removed since is captioned again.
        """
        sidecar = entry.get("sidecar")
        if sidecar is None:  # in the list of unreadable photos, or of captions to review
            return True
        if self._options.folder is not None:
            self._of_members.take(os.path.relpath(sidecar, self._options.folder).replace(os.sep, "/"))
        return os.path.lexists(sidecar)

    def place(self, photos: Iterator[Photo]) -> Iterator[Photo]:
        """Yield photos with the path of their sidecar as `relative_path`, without those whose sidecar stays."""
        for photo in photos:
            if not isinstance(photo.source, ImageError):
                photo = replace(photo, relative_path=self._path(photo))
                if self._options.on_conflict == "skip" and os.path.lexists(photo.relative_path):
                    self.kept += 1
                    continue
            yield photo

    def _path(self, photo: Photo) -> str:
        folder = self._options.folder
        if isinstance(photo.source, bytes):
            return os.path.join(folder, self._of_members.name(photo.relative_path.replace(os.sep, "/")))
        name = self._on_disk.name(photo.source)
        if folder is None:
            return os.path.join(os.path.dirname(photo.source), name)
        return os.path.join(folder, os.path.dirname(photo.relative_path), name)
