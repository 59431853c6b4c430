"""Photos of collections as records: what the database holds of each, and changes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np

from captioner.errors import CaptionerError
from service.store.tables import CollectionPhotoRow


class StaleCaption(CaptionerError):
    """A caption was changed by someone else. `photo`: what is stored."""

    def __init__(self, photo: "CollectionPhoto") -> None:
        super().__init__(
            f"the caption of photo {photo.number} was changed by someone else in the meantime, so yours was not stored:"
            " compare the two, then send yours with the present version"
        )
        self.photo = photo


@dataclass(frozen=True)
class CollectionPhoto:
    """A photo of a collection. Fields as the columns of `CollectionPhotoRow`."""

    number: int
    name: str
    digest: str
    size: int
    state: str
    reason: str | None
    generated: str | None
    confidence: float | None
    warnings: list[dict[str, str]] | None
    model_version: str | None
    width: int | None
    height: int | None
    correction: str | None
    corrected_at: datetime | None
    version: int
    revision: int

    @property
    def caption(self) -> str | None:
        """The caption that stands: the one that a person wrote, or else the one that the captioner made."""
        return self.generated if self.correction is None else self.correction


@dataclass(frozen=True)
class PhotoResult:
    """Result of captioning a photo: a caption, or the reason why there is none."""

    number: int
    reason: str | None = None
    revision: int | None = None
    """Revision of the photo when it was read; None: whatever it is now."""
    generated: str | None = None
    confidence: float | None = None
    warnings: list[dict[str, str]] | None = None
    model_version: str | None = None
    width: int | None = None
    height: int | None = None
    document: dict[str, Any] | None = None
    """Words of the caption: see service.inference.documents."""
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False)
    """Maps and other arrays of the caption, by name: see there."""


@dataclass(frozen=True)
class PhotoWords:
    """The words of the captioner's caption of a photo, as `service.inference.documents.captions_of` reads them."""

    width: int
    height: int
    warnings: list[dict[str, str]] | None
    document: dict[str, Any]
    arrays: Mapping[str, np.ndarray] = field(compare=False)


@dataclass(frozen=True)
class CaptionChange:
    """A caption that a person wrote."""

    number: int
    text: str | None
    """None takes back what people wrote."""
    version: int
    """The version of the caption that the person saw."""


PHOTO_COLUMNS = [getattr(CollectionPhotoRow, field.name) for field in fields(CollectionPhoto)]
"""Columns of a `CollectionPhoto`."""


def photo_of_row(row: CollectionPhotoRow) -> CollectionPhoto:
    return photo_of({field.name: getattr(row, field.name) for field in fields(CollectionPhoto)})


def photo_of(values: Mapping[str, Any]) -> CollectionPhoto:
    """Return the photo of a row. values: of `PHOTO_COLUMNS`, by name."""
    seconds = values["corrected_at"]
    corrected_at = None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return CollectionPhoto(**dict(values) | {"corrected_at": corrected_at})
