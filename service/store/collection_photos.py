"""Photos of collections in the database: their states, their captions, and what people wrote."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from captioner.exports.records import UNWRITABLE
from service.store.collection_listing import PhotoQuery, select_page, select_photos
from service.store.collection_records import (
    CaptionChange,
    CollectionPhoto,
    PhotoResult,
    PhotoWords,
    photo_of,
    photo_of_row,
)
from service.store.collections import CAPTIONED, FAILED, WAITING, Collections, UnknownCollection, unknown_collection
from service.store.database import Database
from service.store.tables import CollectionDeletionRow, CollectionRow
from service.store.tables import CollectionPhotoRow as Row
from service.store.tables import CollectionWordsRow as Words

MAX_CAPTION = 2000
"""Maximum characters of a caption that a person writes."""

_ROWS = 500
"""Rows read or written at once."""
_RESULTS = ("generated", "confidence", "warnings", "model_version", "width", "height")
"""Columns of a captioned photo."""


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
            return _photos(session, select_page(collection_id, query))

    def get(self, collection_id: str, number: int) -> CollectionPhoto:
        with self._database.reading() as session:
            return _get(session, collection_id, number)

    def words(self, collection_id: str, number: int) -> PhotoWords | None:
        """Return the words of the captioner's caption with their maps; None if the photo has no such caption."""
        with self._database.reading() as session:
            photo = _get(session, collection_id, number)
            words = session.get(Words, (collection_id, number))
            if words is None or photo.width is None or photo.height is None:
                return None
            return PhotoWords(photo.width, photo.height, photo.warnings, words.document, words.arrays)

    def changed_since(
        self, collection_id: str, revision: int, number: int = 0, limit: int = _ROWS
    ) -> list[CollectionPhoto]:
        """Return photos that changed after a revision of the collection, first changes first.

        number: of the last photo of the next revision that is known, as one change may be one of many photos.
        """
        later = or_(Row.revision > revision + 1, and_(Row.revision == revision + 1, Row.number > number))
        changed = select_photos(collection_id).where(later).order_by(Row.revision, Row.number).limit(limit)
        with self._database.reading() as session:
            return _photos(session, changed)

    def deleted_since(self, collection_id: str, revision: int) -> list[tuple[int, int]]:
        """Return the number and revision of each photo deleted after a revision of the collection, first ones first."""
        deletion = CollectionDeletionRow
        later = select(deletion.number, deletion.revision).where(
            deletion.collection == collection_id, deletion.revision > revision
        )
        with self._database.reading() as session:
            return [(row.number, row.revision) for row in session.execute(later.order_by(deletion.revision))]

    def each(self, collection_id: str, numbers: Sequence[int] | None = None) -> Iterator[CollectionPhoto]:
        """Yield all photos, or those with these numbers, by number. They are read in parts, each as it is then."""
        if numbers is not None:
            for chunk in _chunks(sorted(set(numbers))):
                yield from self._read(select_photos(collection_id).where(Row.number.in_(chunk)))
            return
        last = 0
        while photos := self._read(select_photos(collection_id).where(Row.number > last).limit(_ROWS)):
            last = photos[-1].number
            yield from photos

    def waiting(self, collection_id: str, after: int, limit: int) -> list[CollectionPhoto]:
        """Return the next photos to caption, with numbers above `after`; none if the collection is missing."""
        waiting = select_photos(collection_id).where(Row.state == WAITING, Row.number > after)
        return self._read(waiting.limit(limit))

    def record(
        self, collection_id: str, results: Sequence[PhotoResult], seconds_per_photo: float | None = None
    ) -> None:
        """Store results of waiting photos; those of other photos are dropped, as another replica was faster.

        Results of photos that have changed since they were read are dropped as well: the photos go on waiting, because
        someone may want captions of another captioner.
        """
        by_number = {result.number: result for result in results}
        with self._collections.changing(collection_id) as (session, collection):
            if seconds_per_photo is not None:
                collection.seconds_per_photo = seconds_per_photo
            for row in _rows(session, collection_id, list(by_number), Row.state == WAITING):
                result = by_number[row.number]
                if result.revision not in (None, row.revision):
                    continue
                row.revision = collection.revision
                row.state, row.reason = (CAPTIONED, None) if result.reason is None else (FAILED, result.reason)
                if result.reason is None:
                    for name in _RESULTS:
                        setattr(row, name, getattr(result, name))
                    if result.document is not None:
                        key = {"collection": collection_id, "number": row.number}
                        session.merge(Words(**key, document=result.document, arrays=result.arrays))

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
                    corrected.append(photo_of_row(row))
                elif row.version != change.version:
                    stale.append(photo_of_row(row))
                else:
                    row.correction, row.version, row.revision = change.text, row.version + 1, collection.revision
                    row.corrected_at = None if change.text is None else time.time()
                    corrected.append(photo_of_row(row))
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
        with self._collections.changing(collection_id) as (session, collection):
            for chunk in _chunks(sorted(set(numbers))):
                chosen = delete(Row).where(Row.collection == collection_id, Row.number.in_(chunk))
                deleted += session.scalars(chosen.returning(Row.number))
                session.execute(delete(Words).where(Words.collection == collection_id, Words.number.in_(chunk)))
            revision = collection.revision
            session.add_all(
                CollectionDeletionRow(collection=collection_id, number=number, revision=revision) for number in deleted
            )
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

    def _read(self, query: Select[Any]) -> list[CollectionPhoto]:
        """Return the photos of a query, by number."""
        with self._database.reading() as session:
            return _photos(session, query.order_by(Row.number))


def clean_caption(text: str) -> str:
    """Return a caption without white space around it, and without control characters other than tabs and breaks."""
    return UNWRITABLE.sub("", text).strip()


def _photos(session: Session, query: Select[Any]) -> list[CollectionPhoto]:
    return [photo_of(row._mapping) for row in session.execute(query)]


def _get(session: Session, collection_id: str, number: int) -> CollectionPhoto:
    photos = _photos(session, select_photos(collection_id).where(Row.number == number))
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


def _check_exists(session: Session, collection_id: str) -> None:
    if session.scalar(select(CollectionRow.id).where(CollectionRow.id == collection_id)) is None:
        raise unknown_collection(collection_id)


def _unknown_photo(number: int) -> UnknownCollection:
    return UnknownCollection(
        f"photo {number} does not exist in this collection: it was deleted, or the number is wrong"
    )
