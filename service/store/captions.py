"""Captions in the database."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from service.store.database import Database
from service.store.tables import CaptionRow

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CaptionSummary:
    """A caption as listed in the history."""

    id: str
    """32 hex digits."""
    created_at: datetime
    """Time zone aware; in UTC when read from the store."""
    caption: str
    probability: float
    width: int
    """Width of the upright photo, in pixels."""
    height: int
    model_version: str
    correction: str | None = None
    """The caption corrected by a user."""
    corrected_at: datetime | None = None
    warnings: list[dict[str, str]] | None = None
    """Reasons to doubt the caption, each with `kind` and `message`; None if there are none."""
    confidence: float | None = None
    """Calibrated probability that the caption is right, 0 to 1; None without a confidence model."""


@dataclass(frozen=True, kw_only=True)
class StoredCaption(CaptionSummary):
    """A caption with all its data."""

    document: dict[str, Any]
    """All captions of the photo, the image region given to the model, options and seconds: see
    service.inference.documents."""
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False)
    """Maps and other arrays of the captions, by name: see there. Comparisons ignore them."""


_SUMMARY_COLUMNS = [getattr(CaptionRow, column.name) for column in fields(CaptionSummary)]
_UNCORRECTED = CaptionRow.correction.is_(None)
_ALL_COLUMNS = [getattr(CaptionRow, column.name) for column in fields(StoredCaption)]


class Store:
    """Captions by id. Safe for concurrent threads and processes; each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entry: StoredCaption) -> None:
        """Store a caption."""
        values = {column.name: getattr(entry, column.name) for column in fields(StoredCaption)}
        values["created_at"], values["corrected_at"] = _to_seconds(entry.created_at), _to_seconds(entry.corrected_at)
        with self._database.writing() as session:
            session.add(CaptionRow(**values))

    def get(self, caption_id: str) -> StoredCaption | None:
        with self._database.reading() as session:
            return _load(session, caption_id)

    def page(self, number: int, size: int) -> tuple[list[CaptionSummary], int]:
        """Return page `number`, from 1, of `size` captions, newest first, and the total number of captions."""
        newest_first = CaptionRow.sequence.desc()
        sequences = select(CaptionRow.sequence).order_by(newest_first).limit(size).offset((number - 1) * size)
        query = select(*_SUMMARY_COLUMNS).where(CaptionRow.sequence.in_(sequences)).order_by(newest_first)
        with self._database.reading() as session:
            total = session.scalar(select(func.count()).select_from(CaptionRow))
            return [CaptionSummary(**_values(row)) for row in session.execute(query)], total

    def ids(self) -> set[str]:
        """Return the ids of all captions."""
        with self._database.reading() as session:
            return set(session.scalars(select(CaptionRow.id)))

    def delete(self, caption_id: str) -> bool:
        """Delete a caption -> whether it existed."""
        with self._database.writing() as session:
            return session.execute(delete(CaptionRow).where(CaptionRow.id == caption_id)).rowcount > 0

    def correct(self, caption_id: str, correction: str | None) -> StoredCaption | None:
        """Set or, with None, remove the correction of a caption -> the caption; None if it does not exist."""
        corrected_at = None if correction is None else _to_seconds(datetime.now(UTC))
        change = update(CaptionRow).where(CaptionRow.id == caption_id)
        with self._database.writing() as session:
            session.execute(change.values(correction=correction, corrected_at=corrected_at))
            return _load(session, caption_id)

    def corrected_captions(self) -> list[CaptionSummary]:
        """Return the corrected captions, oldest first."""
        query = select(*_SUMMARY_COLUMNS).where(CaptionRow.correction.is_not(None)).order_by(CaptionRow.sequence)
        with self._database.reading() as session:
            return [CaptionSummary(**_values(row)) for row in session.execute(query)]

    def trim(self, keep: int, keep_corrected: int | None = None, spare: int = 0) -> list[str]:
        """Delete all but `keep` captions if there are more than `keep + spare` -> the deleted ids.

        The newest captions stay. Up to `keep_corrected` older ones, the last corrected, stay instead of newer ones. By
        default, all corrected captions stay in addition.
        """
        with self._database.writing() as session:
            if _sequence_after_newest(session, keep + spare) is None:
                return []
            surplus = (
                _uncorrected_surplus(session, keep)
                if keep_corrected is None
                else _surplus(session, keep, keep_corrected)
            )
            # Rows locked by other transactions are skipped: waiting for them could deadlock.
            sequences = select(CaptionRow.sequence).where(surplus).with_for_update(skip_locked=True)
            deletion = delete(CaptionRow).where(CaptionRow.sequence.in_(sequences))
            deleted = session.execute(deletion.returning(CaptionRow.id, CaptionRow.correction)).all()
        if corrected_count := sum(correction is not None for _, correction in deleted):
            log.warning("%d corrected captions were deleted: CAPTIONER_HISTORY is the limit", corrected_count)
        return [caption_id for caption_id, _ in deleted]


def _sequence_after_newest(session: Session, count: int, *conditions: ColumnElement[bool]) -> int | None:
    """Return the sequence of the newest matching caption after the first `count` ones."""
    sequences = select(CaptionRow.sequence).where(*conditions).order_by(CaptionRow.sequence.desc())
    return session.scalar(sequences.limit(1).offset(count))


def _uncorrected_surplus(session: Session, keep: int) -> ColumnElement[bool]:
    return and_(CaptionRow.sequence <= _sequence_after_newest(session, keep), _UNCORRECTED)


def _surplus(session: Session, keep: int, keep_corrected: int) -> ColumnElement[bool]:
    """Return the condition for captions that `trim` deletes, given more than `keep` captions."""
    older = CaptionRow.sequence <= _sequence_after_newest(session, keep - keep_corrected)
    last_first = CaptionRow.corrected_at.desc(), CaptionRow.sequence.desc()
    corrections = select(CaptionRow.corrected_at, CaptionRow.sequence).where(older, ~_UNCORRECTED).order_by(*last_first)
    if (first_surplus := session.execute(corrections.limit(1).offset(keep_corrected)).one_or_none()) is not None:
        corrected_at, sequence = first_surplus
        earlier = and_(CaptionRow.corrected_at == corrected_at, CaptionRow.sequence <= sequence)
        return and_(older, or_(_UNCORRECTED, CaptionRow.corrected_at < corrected_at, earlier))
    corrected_count = session.scalar(select(func.count()).select_from(CaptionRow).where(older, ~_UNCORRECTED))
    last_surplus = _sequence_after_newest(session, keep_corrected - corrected_count, older, _UNCORRECTED)
    return and_(CaptionRow.sequence <= last_surplus, _UNCORRECTED)


def _load(session: Session, caption_id: str) -> StoredCaption | None:
    row = session.execute(select(*_ALL_COLUMNS).where(CaptionRow.id == caption_id)).one_or_none()
    return None if row is None else StoredCaption(**_values(row))


def _values(row: Any) -> dict[str, Any]:
    values = dict(row._mapping)
    return values | {
        "created_at": _to_datetime(values["created_at"]),
        "corrected_at": _to_datetime(values["corrected_at"]),
    }


def _to_seconds(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()


def _to_datetime(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
