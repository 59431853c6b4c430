"""Photos of collections in the database: their states, their captions, and what people wrote."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from captioner.errors import CaptionerError
from service.store.collections import CAPTIONED, FAILED, WAITING, Collections, UnknownCollection, unknown_collection
from service.store.database import Database
from service.store.tables import CollectionPhotoRow as Row
from service.store.tables import CollectionRow

MAX_CAPTION = 2000
"""Maximum characters of a caption that a person writes."""

_UNWRITABLE = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""Characters that markup cannot hold in any form, so that some exports could not."""
_ROWS = 500
"""Rows read or written at once."""
_TEXT = func.coalesce(Row.correction, Row.generated)
"""The caption that stands: the one that a person wrote, or else the one that the captioner made."""


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
    """What captioning a photo gave: a caption, or the reason why there is none."""

    number: int
    reason: str | None = None
    generated: str | None = None
    confidence: float | None = None
    warnings: list[dict[str, str]] | None = None
    model_version: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class CaptionChange:
    """A caption that a person wrote."""

    number: int
    text: str | None
    """None takes back what people wrote."""
    version: int
    """The version of the caption that the person saw."""


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


_COLUMNS = [getattr(Row, field.name) for field in fields(CollectionPhoto)]


class CollectionPhotos:
    """The photos of the collections. Safe for concurrent threads, processes and machines.

    All methods raise UnknownCollection for a missing collection or photo, unless they say otherwise.
    """

    def __init__(self, database: Database, collections: Collections) -> None:
        self._database, self._collections = database, collections

    def page(self, collection_id: str, query: PhotoQuery) -> list[CollectionPhoto]:
        """Return a page of photos."""
        with self._database.reading() as session:
            _check_exists(session, collection_id)
            return _photos(session, _page_of(collection_id, query))

    def get(self, collection_id: str, number: int) -> CollectionPhoto:
        with self._database.reading() as session:
            return _get(session, collection_id, number)

    def changed_since(
        self, collection_id: str, revision: int, number: int = 0, limit: int = _ROWS
    ) -> list[CollectionPhoto]:
        """Return photos that changed after a revision of the collection, first changes first.

        number: of the last photo of the next revision that is known, as one change may be one of many photos.
        """
        later = or_(Row.revision > revision + 1, and_(Row.revision == revision + 1, Row.number > number))
        changed = _select(collection_id).where(later).order_by(Row.revision, Row.number).limit(limit)
        with self._database.reading() as session:
            return _photos(session, changed)

    def each(self, collection_id: str, numbers: Sequence[int] | None = None) -> Iterator[CollectionPhoto]:
        """Yield all photos, or those with these numbers, by number. They are read in parts, each as it is then."""
        last = 0
        while True:
            query = _select(collection_id).where(Row.number > last).order_by(Row.number).limit(_ROWS)
            with self._database.reading() as session:
                photos = _photos(session, query)
            if not photos:
                return
            last = photos[-1].number
            chosen = None if numbers is None else set(numbers)
            yield from (photo for photo in photos if chosen is None or photo.number in chosen)

    def waiting(self, collection_id: str, after: int, limit: int) -> list[CollectionPhoto]:
        """Return the next photos to caption, with numbers above `after`; none if the collection is missing."""
        query = _select(collection_id).where(Row.state == WAITING, Row.number > after).order_by(Row.number)
        with self._database.reading() as session:
            return _photos(session, query.limit(limit))

    def record(
        self, collection_id: str, results: Sequence[PhotoResult], seconds_per_photo: float | None = None
    ) -> None:
        """Store results of waiting photos; those of other photos are dropped, as another replica was faster."""
        by_number = {result.number: result for result in results}
        with self._collections.changing(collection_id) as (session, collection):
            if seconds_per_photo is not None:
                collection.seconds_per_photo = seconds_per_photo
            for row in _rows(session, collection_id, list(by_number), Row.state == WAITING):
                result = by_number[row.number]
                row.revision = collection.revision
                row.state, row.reason = (CAPTIONED, None) if result.reason is None else (FAILED, result.reason)
                if result.reason is None:
                    for name in ("generated", "confidence", "warnings", "model_version", "width", "height"):
                        setattr(row, name, getattr(result, name))

    def correct(
        self, collection_id: str, changes: Sequence[CaptionChange]
    ) -> tuple[list[CollectionPhoto], list[CollectionPhoto]]:
        """Store captions that a person wrote -> photos with their new captions, photos that someone else had changed.

        The captions of the latter stay as they are. A change that is stored already is no conflict.
        Raises UnknownCollection if one of the photos does not exist; then nothing is changed.
        """
        by_number = {change.number: change for change in changes}
        corrected, stale = [], []
        with self._collections.changing(collection_id) as (session, collection):
            rows = list(_rows(session, collection_id, list(by_number)))
            if missing := by_number.keys() - {row.number for row in rows}:
                raise _unknown_photo(min(missing))
            for row in rows:
                change = by_number[row.number]
                if row.correction == change.text:
                    corrected.append(_to_photo(row))
                elif row.version != change.version:
                    stale.append(_to_photo(row))
                else:
                    row.correction, row.version, row.revision = change.text, row.version + 1, collection.revision
                    row.corrected_at = None if change.text is None else time.time()
                    corrected.append(_to_photo(row))
        return corrected, stale

    def caption_again(self, collection_id: str, states: Sequence[str]) -> int:
        """Let photos in these states wait to be captioned again, unless a person wrote their captions -> how many wait.

        A cancelled collection is captioned further. A photo keeps its caption until it has a new one.
        """
        with self._collections.changing(collection_id) as (session, collection):
            collection.is_cancelled = False
            of_collection = Row.collection == collection_id
            again = update(Row).where(of_collection, Row.state.in_(states), Row.correction.is_(None))
            session.execute(again.values(state=WAITING, reason=None, revision=collection.revision))
            return session.scalar(select(func.count()).where(of_collection, Row.state == WAITING))

    def delete(self, collection_id: str, numbers: Sequence[int]) -> int:
        """Delete photos with their files -> how many existed."""
        deleted: list[int] = []
        with self._collections.changing(collection_id) as (session, _):
            for chunk in _chunks(sorted(set(numbers))):
                chosen = delete(Row).where(Row.collection == collection_id, Row.number.in_(chunk))
                deleted += session.scalars(chosen.returning(Row.number))
        for number in deleted:
            self._collections.photo_file(collection_id, number).unlink(missing_ok=True)
            self._collections.preview_file(collection_id, number).unlink(missing_ok=True)
        return len(deleted)

    def first_of_digests(self, collection_id: str, digests: Sequence[str]) -> Mapping[str, int]:
        """Return the number of the first photo with each of these contents."""
        numbers: dict[str, int] = {}
        with self._database.reading() as session:
            for chunk in _chunks(sorted(set(digests))):
                first = select(Row.digest, func.min(Row.number))
                first = first.where(Row.collection == collection_id, Row.digest.in_(chunk)).group_by(Row.digest)
                numbers |= dict(session.execute(first).all())
        return numbers


def clean_caption(text: str) -> str:
    """Return a caption without white space around it, and without control characters other than tabs and breaks."""
    return _UNWRITABLE.sub("", text).strip()


def _select(collection_id: str) -> Select[Any]:
    return select(*_COLUMNS).where(Row.collection == collection_id)


def _page_of(collection_id: str, query: PhotoQuery) -> Select[Any]:
    selected = _select(collection_id)
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


def _photos(session: Session, query: Select[Any]) -> list[CollectionPhoto]:
    return [_photo_of(row._mapping) for row in session.execute(query)]


def _get(session: Session, collection_id: str, number: int) -> CollectionPhoto:
    photos = _photos(session, _select(collection_id).where(Row.number == number))
    if not photos:
        _check_exists(session, collection_id)
        raise _unknown_photo(number)
    return photos[0]


def _rows(session: Session, collection_id: str, numbers: list[int], *conditions: ColumnElement[bool]) -> Iterator[Row]:
    for chunk in _chunks(numbers):
        chosen = select(Row).where(Row.collection == collection_id, Row.number.in_(chunk), *conditions)
        yield from session.scalars(chosen.order_by(Row.number))


def _chunks(values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    return (tuple(values[start : start + _ROWS]) for start in range(0, len(values), _ROWS))


def _to_photo(row: Row) -> CollectionPhoto:
    return _photo_of({field.name: getattr(row, field.name) for field in fields(CollectionPhoto)})


def _photo_of(values: Mapping[str, Any]) -> CollectionPhoto:
    seconds = values["corrected_at"]
    corrected_at = None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return CollectionPhoto(**dict(values) | {"corrected_at": corrected_at})


def _check_exists(session: Session, collection_id: str) -> None:
    if session.scalar(select(CollectionRow.id).where(CollectionRow.id == collection_id)) is None:
        raise unknown_collection(collection_id)


def _unknown_photo(number: int) -> UnknownCollection:
    return UnknownCollection(
        f"photo {number} does not exist in this collection: it was deleted, or the number is wrong"
    )
