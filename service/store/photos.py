"""Photos of stored captions: JPEG files named by caption id."""

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
from service.store.leftovers import ABANDONED_SECONDS

ID_PATTERN = "[0-9a-f]{32}"
"""Regular expression for the ids of this service."""

MAX_SIDE = 2048
"""Longest side of a stored photo in pixels; larger photos are scaled down."""

_QUALITY = 90
_ID = re.compile(ID_PATTERN)


class PhotoFolder:
    """Photos by id, written atomically. Safe for concurrent threads and processes.

    All methods raise ValueError for an invalid id.
    """

    def __init__(self, folder: Path) -> None:
        """Create the folder if missing. Raises ConfigError if it is not writable."""
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise ConfigError(
                f"photos cannot be stored in {folder} ({error.strerror}): make it writable, or set another"
                " folder with CAPTIONER_HOME"
            ) from error

    def save(self, photo_id: str, photo: Image.Image) -> None:
        """Store a photo (upright, RGB), without the camera's metadata."""
        write_jpeg(self._path(photo_id), to_stored_size(photo))

    def open(self, photo_id: str) -> Image.Image:
        """Read and decode a photo, RGB. Raises FileNotFoundError."""
        with Image.open(self._path(photo_id)) as photo:
            photo.load()
            return photo

    def jpeg(self, photo_id: str, size: int | None = None) -> bytes:
        """Return the JPEG file of a photo, scaled down to a longest side of `size` pixels if given.

        Raises FileNotFoundError.
        """
        return read_jpeg(self._path(photo_id), size)

    def delete(self, photo_id: str) -> None:
        """Delete a photo if it exists."""
        self._path(photo_id).unlink(missing_ok=True)

    def remove_orphans(self, known_ids: Container[str]) -> int:
        """Delete files left by killed processes: photos with unknown ids and partial files -> number of deleted files.

        Files younger than `ABANDONED_SECONDS` stay: another process may be about to register them.
        """
        cutoff = time.time() - ABANDONED_SECONDS
        removed = 0
        for path in self._folder.iterdir():
            is_orphan = path.suffix == ".jpg" and _ID.fullmatch(path.stem) and path.stem not in known_ids
            try:
                if (is_orphan or path.suffix == ".part") and path.stat().st_mtime < cutoff:
                    path.unlink()
                    removed += 1
            except FileNotFoundError:  # another process deleted it
                continue
        return removed

    def _path(self, photo_id: str) -> Path:
        if not _ID.fullmatch(photo_id):
            raise ValueError(f"not an id of this service: {photo_id!r}")
        return self._folder / f"{photo_id}.jpg"


def write_jpeg(path: Path, photo: Image.Image) -> None:
    """Write a photo (upright, RGB) as JPEG, readable by its owner alone, without the camera's metadata."""
    write_atomically(path, _encode_jpeg(photo), permissions=0o600)  # photos are private


def read_jpeg(path: Path, size: int | None = None) -> bytes:
    """Return a JPEG file, scaled down to a longest side of `size` pixels if given. Raises FileNotFoundError."""
    if size is None:
        return path.read_bytes()
    with Image.open(path) as photo:
        if max(photo.size) <= size:
            return path.read_bytes()
        photo.draft("RGB", (size, size))  # decodes at the lowest sufficient resolution
        return _encode_jpeg(scale_down(photo, size))


def to_stored_size(photo: Image.Image) -> Image.Image:
    """Scale a photo down to the stored size. Smaller photos are returned unchanged."""
    return scale_down(photo, MAX_SIDE)


def scale_down(photo: Image.Image, side: int) -> Image.Image:
    """Scale a photo down to a longest side in pixels. Smaller photos are returned unchanged."""
    if max(photo.size) <= side:
        return photo
    # A box mean by the largest integer factor, then a filter for the rest: halves 12 megapixels in 0.1 s.
    return photo.resize(scaled_to(photo.size, side), Image.Resampling.HAMMING, reducing_gap=1.0)


def _encode_jpeg(photo: Image.Image) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=_QUALITY, comment=None)  # by default, Pillow copies the comment of the old file
    return buffer.getvalue()
