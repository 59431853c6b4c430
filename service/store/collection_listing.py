"""Pages of the photos of a collection: which ones, and in which order."""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from service.store.collection_records import PHOTO_COLUMNS
from service.store.tables import CollectionPhotoRow as Row

_TEXT = func.coalesce(Row.correction, Row.generated)
"""The caption that stands: the one that a person wrote, or else the one that the captioner made."""


@dataclass(frozen=True)
class PhotoQuery:
    """Which photos of a collection to list, and in which order."""

    state: str | None = None
    corrected: bool | None = None
    words: tuple[str, ...] = ()
    """Each must be in the caption or the name, in any case."""
    sort: Literal["position", "confidence"] = "position"
    """confidence: least sure first; photos without a confidence come last."""
    after: tuple[float | None, int] | None = None
    """Confidence (for that order) and number of the last photo of the page before."""
    limit: int = 100


def select_photos(collection_id: str) -> Select[Any]:
    """Return a query of all photos of a collection."""
    return select(*PHOTO_COLUMNS).where(Row.collection == collection_id)


def select_page(collection_id: str, query: PhotoQuery) -> Select[Any]:
    """Return a query of a page of photos."""
    selected = select_photos(collection_id)
    if query.state is not None:
        selected = selected.where(Row.state == query.state)
    if query.corrected is not None:
        selected = selected.where(Row.correction.is_not(None) if query.corrected else Row.correction.is_(None))
    for word in query.words:
        places = (func.lower(func.coalesce(_TEXT, "")), func.lower(Row.name))
        selected = selected.where(or_(*(place.contains(word.lower(), autoescape=True) for place in places)))
    if query.after is not None:
        selected = selected.where(_is_after(query))
    order = [Row.number] if query.sort == "position" else [Row.confidence.asc().nulls_last(), Row.number]
    return selected.order_by(*order).limit(query.limit)


def _is_after(query: PhotoQuery) -> ColumnElement[bool]:
    confidence, number = query.after
    if query.sort == "position":
        return Row.number > number
    if confidence is None:
        return and_(Row.confidence.is_(None), Row.number > number)
    same = and_(Row.confidence == confidence, Row.number > number)
    return or_(Row.confidence > confidence, same, Row.confidence.is_(None))
