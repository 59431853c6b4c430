"""The photos of kept captions, on disk: JPEG files that are named by the service's own ids."""

import io
import re
import tempfile
import time
from collections.abc import Container
from pathlib import Path

from PIL import Image

from captioner.errors import ConfigError
from captioner.files import write_atomically
from captioner.overlays import scaled_to
from service.store.remains import ABANDONED_SECONDS

ID_PATTERN = "[0-9a-f]{32}"
"""Of every id that this service gives, as a regular expression."""

MAX_SIDE = 2048
"""Longest side, in pixels, of a photo that is kept; a larger one is scaled down."""

_QUALITY = 90
_ID = re.compile(ID_PATTERN)


class PhotoFolder:
    """Photos by their ids. Threads and processes may share the folder: a file is there whole, or not at all.

    An id that is none of this service's raises ValueError, whatever is asked of it.
    """

    def __init__(self, folder: Path) -> None:
        """The folder is made where there is none. Raises ConfigError where it cannot be written."""
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise ConfigError(
                f"photos cannot be kept in {folder} ({error.strerror}): see that it can be written, or name another"
                " folder by CAPTIONER_HOME"
            ) from error

    def save(self, photo_id: str, photo: Image.Image) -> None:
        """Keep a photo (upright, RGB), without anything that a camera wrote into its file."""
        path = self._path(photo_id)
        data = _jpeg(as_kept(photo))
        write_atomically(path, data, permissions=0o600)  # photos are private

    def open(self, photo_id: str) -> Image.Image:
        """A kept photo, RGB, decoded. Raises FileNotFoundError."""
        with Image.open(self._path(photo_id)) as photo:
            photo.load()
            return photo

    def jpeg(self, photo_id: str, size: int | None = None) -> bytes:
        """The file of a kept photo; where `size` is given, and less, scaled to that longest side in pixels.

        Raises FileNotFoundError.
        """
        path = self._path(photo_id)
        if size is None:
            return path.read_bytes()
        with Image.open(path) as photo:
            if max(photo.size) <= size:
                return path.read_bytes()
            photo.draft("RGB", (size, size))  # decodes no more of the file than the size asks for
            return _jpeg(_scaled_down(photo, size))

    def delete(self, photo_id: str) -> None:
        """Forget a photo, where it is kept."""
        self._path(photo_id).unlink(missing_ok=True)

    def remove_orphans(self, known_ids: Container[str]) -> int:
        """Delete what a process that was killed left: photos of no known id, half-written ones -> how many.

        Files younger than `ABANDONED_SECONDS` stay: another process may be about to make them known.
        """
        latest = time.time() - ABANDONED_SECONDS
        removed = 0
        for path in self._folder.iterdir():
            orphan = path.suffix == ".jpg" and _ID.fullmatch(path.stem) and path.stem not in known_ids
            try:
                if (orphan or path.suffix == ".part") and path.stat().st_mtime < latest:
                    path.unlink()
                    removed += 1
            except FileNotFoundError:  # another process was first
                continue
        return removed

    def _path(self, photo_id: str) -> Path:
        if not _ID.fullmatch(photo_id):
            raise ValueError(f"not an id of this service: {photo_id!r}")
        return self._folder / f"{photo_id}.jpg"


def as_kept(photo: Image.Image) -> Image.Image:
    """Scale a photo down to the size that is kept; one that is small enough is returned as it is."""
    return _scaled_down(photo, MAX_SIDE)


def _scaled_down(photo: Image.Image, side: int) -> Image.Image:
    if max(photo.size) <= side:
        return photo
    # By the largest whole factor as plain means, and by the rest with a filter that halves 12 megapixels in 0.1 s.
    return photo.resize(scaled_to(photo.size, side), Image.Resampling.HAMMING, reducing_gap=1.0)


def _jpeg(photo: Image.Image) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=_QUALITY, comment=None)  # by default Pillow hands the old file's comment on
    return buffer.getvalue()
