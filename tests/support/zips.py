"""Zips of folders, in the form of user uploads."""

import io
from pathlib import Path

from service.store.archives import pack


def zip_of(folder: Path) -> bytes:
    """Return a zip of the files of a folder."""
    file = io.BytesIO()
    pack(folder, file)
    return file.getvalue()
