"""Collections of photos: database rows, and a folder of files for each.

collections/ID/   photos/NUMBER: the files as they were sent; previews/NUMBER.jpg: small upright copies;
                  lock: held while a replica captions the collection
"""

import contextlib
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Select, delete, exists, func, insert, select
from sqlalchemy.orm import Session

from captioner.errors import CaptionerError, DataError
from captioner.files import sync_folder, sync_tree
from service.store.database import Database
from service.store.intake import FreeNames, Intake
from service.store.leftovers import remove_abandoned, remove_unknown
from service.store.locks import Hold, hold_shared_lock
from service.store.photos import ID_PATTERN
from service.store.tables import CollectionDeletionRow, CollectionPhotoRow, CollectionRow, CollectionWordsRow

WAITING, CAPTIONED, FAILED = "waiting", "captioned", "failed"
STATES = (WAITING, CAPTIONED, FAILED)
"""States of a photo."""
MAX_PHOTOS = 50_000
"""Maximum number of photos in a collection."""

_ID = re.compile(ID_PATTERN)
_PHOTO, _PREVIEW = re.compile("[0-9]+"), re.compile(r"[0-9]+\.jpg")


class UnknownCollection(CaptionerError):
    """The collection, or a photo of it, does not exist."""


@dataclass(frozen=True)
class Collection:
    """Snapshot of a collection."""

    id: str
    name: str
    created_at: datetime
    is_cancelled: bool
    revision: int
    """Grows with every change."""
    seconds_per_photo: float | None
    counts: Mapping[str, int]
    """Number of photos in each of `STATES`."""
    corrected: int
    """Number of photos with a caption that a person wrote."""
    size: int
    """Bytes of all files."""

    @property
    def photos(self) -> int:
        return sum(self.counts.values())

    @property
    def is_captioning(self) -> bool:
        """Return whether photos wait and are not held back by a cancellation."""
        return self.counts[WAITING] > 0 and not self.is_cancelled

    @property
    def seconds_left(self) -> float | None:
        """Estimated time until no photo waits; None if it is unknown, or nothing is being captioned."""
        if not self.is_captioning or self.seconds_per_photo is None:
            return None
        return self.counts[WAITING] * self.seconds_per_photo


@dataclass(frozen=True)
class Addition:
    """Numbers of photos that an upload added to a collection, and that it had already."""

    added: int
    known: int
    """Number of photos that were in the collection before, with the same name and content."""


class Collections:
    """The collections of one service. Safe for concurrent threads, processes and machines."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database, self._folder = database, folder

    @contextlib.contextmanager
    def intake(self, max_bytes: int) -> Iterator[Intake]:
        """Yield an empty intake for `create` or `add`. Files that they did not take are deleted on exit."""
        folder = Path(tempfile.mkdtemp(prefix=".add-", dir=self._folder))
        try:
            yield Intake(folder, max_bytes)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def create(self, name: str, intake: Intake) -> Collection:
        """Create a collection of photos that wait to be captioned. Raises DataError if there are none, or too many."""
        if not intake.photos:
            raise _no_photos(intake)
        sync_tree(intake.folder)
        collection_id = uuid.uuid4().hex
        folder = self._folder / collection_id
        try:
            for new in (folder, folder / "photos", folder / "previews"):
                new.mkdir(mode=0o700)  # photos are private
            with self._database.writing() as session:
                row = CollectionRow(
                    id=collection_id,
                    name=name,
                    created_at=time.time(),
                    is_cancelled=False,
                    next_number=1,
                    revision=1,
                    seconds_per_photo=None,
                )
                session.add(row)
                session.flush()
                self._insert(session, row, intake)
                sync_folder(self._folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return self.get(collection_id)

    def add(self, collection_id: str, intake: Intake) -> Addition:
        """Add photos, which are captioned even if the collection was cancelled before.

        A photo that has the name and the content of one in the collection is left out. Another one with the same name
        gets a number: a (2).jpg. Raises UnknownCollection, or DataError if there are too many photos. That there are
        none is no error, as a part of a large upload may hold other files only.
        """
        sync_tree(intake.folder)
        with self.changing(collection_id) as (session, row):
            row.is_cancelled &= not intake.photos
            return self._insert(session, row, intake)

    def get(self, collection_id: str) -> Collection:
        """Return a collection. Raises UnknownCollection."""
        found = self._select(select(CollectionRow).where(CollectionRow.id == collection_id))
        if not found:
            raise unknown_collection(collection_id)
        return found[0]

    def all(self) -> list[Collection]:
        """Return all collections, newest first."""
        return self._select(select(CollectionRow).order_by(CollectionRow.created_at.desc(), CollectionRow.id))

    def waiting_ids(self) -> list[str]:
        """Return the ids of the collections with photos to caption, oldest first."""
        photos = CollectionPhotoRow  # one look-up in the index for each collection, however many photos it has
        waits = exists().where(photos.collection == CollectionRow.id, photos.state == WAITING)
        query = select(CollectionRow.id).where(CollectionRow.is_cancelled.is_(False), waits)
        with self._database.reading() as session:
            return list(session.scalars(query.order_by(CollectionRow.created_at, CollectionRow.id)))

    def rename(self, collection_id: str, name: str) -> Collection:
        """Give a collection another name. Raises UnknownCollection."""
        with self.changing(collection_id) as (_, row):
            row.name = name
        return self.get(collection_id)

    def cancel(self, collection_id: str) -> Collection:
        """Caption no more photos until some are added or captioned again. Raises UnknownCollection."""
        with self.changing(collection_id) as (_, row):
            row.is_cancelled = True
        return self.get(collection_id)

    def delete(self, collection_id: str) -> None:
        """Delete a collection with its files. Raises UnknownCollection."""
        trash = self._folder / f".gone-{uuid.uuid4().hex}"
        with self.changing(collection_id) as (session, row):
            for table in (CollectionPhotoRow, CollectionWordsRow, CollectionDeletionRow):
                session.execute(delete(table).where(table.collection == collection_id))
            session.delete(row)
            with contextlib.suppress(FileNotFoundError):
                os.rename(self._folder / collection_id, trash)
        shutil.rmtree(trash, ignore_errors=True)

    def remove_leftovers(self) -> None:
        """Delete files left by killed processes, also those of photos that were being deleted."""
        remove_abandoned(self._folder)
        with self._database.reading() as session:
            known_ids = set(session.scalars(select(CollectionRow.id)))
        remove_unknown(self._folder, _ID, known_ids)
        photos = CollectionPhotoRow
        for collection_id in known_ids:
            with self._database.reading() as session:
                numbers = set(session.scalars(select(photos.number).where(photos.collection == collection_id)))
            folder = self._folder / collection_id
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                remove_unknown(folder / "photos", _PHOTO, {str(number) for number in numbers})
                remove_unknown(folder / "previews", _PREVIEW, {f"{number}.jpg" for number in numbers})

    def photo_file(self, collection_id: str, number: int) -> Path:
        """Return the path of a photo as it was sent."""
        return self._folder / collection_id / "photos" / str(number)

    def preview_file(self, collection_id: str, number: int) -> Path:
        """Return the path of the small upright copy of a photo, which exists once the photo was read."""
        return self._folder / collection_id / "previews" / f"{number}.jpg"

    def lock(self, collection_id: str) -> contextlib.AbstractContextManager[Hold | None]:
        """Return the lock that a replica holds while it captions the collection; see `locks.hold_shared_lock`."""
        path = self._folder / collection_id / "lock"
        return hold_shared_lock(path, self._database, f"collection {collection_id}")

    @contextlib.contextmanager
    def changing(self, collection_id: str) -> Iterator[tuple[Session, CollectionRow]]:
        """Yield a transaction and the collection's row, locked and with its next revision. Raises UnknownCollection."""
        with self._database.writing() as session:
            row = session.get(CollectionRow, collection_id, with_for_update=True)
            if row is None:
                raise unknown_collection(collection_id)
            row.revision += 1
            yield session, row

    def _insert(self, session: Session, row: CollectionRow, intake: Intake) -> Addition:
        """Move the photos of an intake into the collection, and add their rows.

        A number that a killed process took is taken again, and its file replaced.
        """
        photos = select(CollectionPhotoRow.name, CollectionPhotoRow.digest)
        digests = dict(session.execute(photos.where(CollectionPhotoRow.collection == row.id)).all())
        names, first, rows = FreeNames(digests), row.next_number, []
        for photo in intake.photos:
            if (name := names.take(photo.name, photo.digest)) is None:
                continue
            os.replace(photo.path, self.photo_file(row.id, row.next_number))
            rows.append(
                {
                    "collection": row.id,
                    "number": row.next_number,
                    "name": name,
                    "digest": photo.digest,
                    "size": photo.size,
                    "state": WAITING,
                    "version": 0,
                    "revision": row.revision,
                }
            )
            row.next_number += 1
        if len(digests) > MAX_PHOTOS:
            raise DataError(f"a collection holds at most {MAX_PHOTOS:,} photos: make another one for the rest")
        if rows:
            session.execute(insert(CollectionPhotoRow), rows)
        sync_folder(self.photo_file(row.id, first).parent)
        added = row.next_number - first
        return Addition(added, len(intake.photos) - added)

    def _select(self, query: Select[tuple[CollectionRow]]) -> list[Collection]:
        with self._database.reading() as session:
            rows = list(session.scalars(query))
            photos = CollectionPhotoRow
            counts = (
                select(
                    photos.collection,
                    photos.state,
                    func.count().label("photos"),
                    func.count(photos.correction).label("corrected"),
                    func.sum(photos.size).label("size"),
                )
                .where(photos.collection.in_(query.with_only_columns(CollectionRow.id).order_by(None)))
                .group_by(photos.collection, photos.state)
            )
            states: dict[str, list[Any]] = {row.id: [] for row in rows}
            for state in session.execute(counts):
                states.get(state.collection, []).append(state)
            return [_to_collection(row, states[row.id]) for row in rows]


def unknown_collection(collection_id: str) -> UnknownCollection:
    return UnknownCollection(f"collection {collection_id} does not exist: it was deleted, or the id is wrong")


def _to_collection(row: CollectionRow, states: list[Any]) -> Collection:
    """states: the state, photos, corrected and size of each state that occurs."""
    counts = dict.fromkeys(STATES, 0) | {state.state: state.photos for state in states}
    return Collection(
        row.id,
        row.name,
        datetime.fromtimestamp(row.created_at, UTC),
        row.is_cancelled,
        row.revision,
        row.seconds_per_photo,
        counts,
        corrected=sum(state.corrected for state in states),
        size=sum(int(state.size) for state in states),
    )


def _no_photos(intake: Intake) -> DataError:
    reason = f" ({intake.left_out[0].name[:200]}: {intake.left_out[0].reason})" if intake.left_out else ""
    return DataError(f"there are no photos in the request{reason}: send photos, or a zip of photos")
