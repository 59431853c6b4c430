"""Recognise files in a data set that users may take for photos: raw photos, videos, documents."""

from captioner.images.file_types import type_of_name
from captioner.images.finding import IMAGE_EXTENSIONS


def skip_reason(name: str) -> str | None:
    """Describe the type that a file has by its name, with advice, as the rest of a sentence; None for other files."""
    kind = type_of_name(name, IMAGE_EXTENSIONS)
    return kind and f"is {kind.name}, which is not read: {kind.advice}"
