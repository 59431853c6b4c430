"""What was captioned, in the database."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from service.database import Database
from service.tables import CaptionRow


@dataclass(frozen=True, kw_only=True)
class CaptionSummary:
    """A caption as the history lists it."""

    id: str
    """32 hex digits."""
    created_at: datetime
    """With its time zone; UTC where it comes out of the store."""
    caption: str
    probability: float
    width: int
    """Of the upright photo, in pixels."""
    height: int
    model_version: str
    correction: str | None = None
    """The caption as a person would have written it."""
    corrected_at: datetime | None = None
    warnings: list[dict[str, str]] | None = None
    """Reasons to doubt the caption, each with `kind` and `message`; None where there are none."""


@dataclass(frozen=True, kw_only=True)
class StoredCaption(CaptionSummary):
    """A caption with all that is known of it."""

    document: dict[str, Any]
    """All captions of the photo, the part of it that the model saw, options and seconds: see service.documents."""


_SUMMARY = [getattr(CaptionRow, field.name) for field in fields(CaptionSummary)]
_WHOLE = [getattr(CaptionRow, field.name) for field in fields(StoredCaption)]


class Store:
    """Captions by their ids. Threads and processes share it; each call is a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entry: StoredCaption) -> None:
        """Keep a caption."""
        values = {field.name: getattr(entry, field.name) for field in fields(StoredCaption)}
        values["created_at"], values["corrected_at"] = _seconds(entry.created_at), _seconds(entry.corrected_at)
        with self._database.writing() as session:
            session.add(CaptionRow(**values))

    def get(self, caption_id: str) -> StoredCaption | None:
        with self._database.reading() as session:
            return _one(session, caption_id)

    def page(self, number: int, size: int) -> tuple[list[CaptionSummary], int]:
        """The `number`th `size` captions, from 1, newest first; and how many there are in all."""
        newest_first = CaptionRow.sequence.desc()
        sequences = select(CaptionRow.sequence).order_by(newest_first).limit(size).offset((number - 1) * size)
        query = select(*_SUMMARY).where(CaptionRow.sequence.in_(sequences)).order_by(newest_first)
        with self._database.reading() as session:
            total = session.scalar(select(func.count()).select_from(CaptionRow))
            return [CaptionSummary(**_values(row)) for row in session.execute(query)], total

    def ids(self) -> set[str]:
        """Of all captions."""
        with self._database.reading() as session:
            return set(session.scalars(select(CaptionRow.id)))

    def delete(self, caption_id: str) -> bool:
        """Forget a caption; False where there is none."""
        with self._database.writing() as session:
            return session.execute(delete(CaptionRow).where(CaptionRow.id == caption_id)).rowcount > 0

    def correct(self, caption_id: str, correction: str | None) -> StoredCaption | None:
        """Keep what a caption should have been, or with None forget that -> the caption, None where there is none."""
        corrected_at = None if correction is None else _seconds(datetime.now(UTC))
        change = update(CaptionRow).where(CaptionRow.id == caption_id)
        with self._database.writing() as session:
            session.execute(change.values(correction=correction, corrected_at=corrected_at))
            return _one(session, caption_id)

    def corrected(self) -> list[CaptionSummary]:
        """Those that people have corrected, oldest first."""
        query = select(*_SUMMARY).where(CaptionRow.correction.is_not(None)).order_by(CaptionRow.sequence)
        with self._database.reading() as session:
            return [CaptionSummary(**_values(row)) for row in session.execute(query)]

    def trim(self, keep: int) -> list[str]:
        """Forget all but the newest `keep` captions and those that were corrected -> the ids of the forgotten ones."""
        sequences = select(CaptionRow.sequence).order_by(CaptionRow.sequence.desc())
        newest_surplus = sequences.limit(1).offset(keep).scalar_subquery()
        surplus = select(CaptionRow.sequence).where(
            CaptionRow.sequence <= newest_surplus, CaptionRow.correction.is_(None)
        )
        # What somebody corrects or forgets at this moment is left alone; waiting for it, two could wait for each other.
        gone = delete(CaptionRow).where(CaptionRow.sequence.in_(surplus.with_for_update(skip_locked=True)))
        with self._database.writing() as session:
            return list(session.scalars(gone.returning(CaptionRow.id)))


def _one(session: Session, caption_id: str) -> StoredCaption | None:
    row = session.execute(select(*_WHOLE).where(CaptionRow.id == caption_id)).one_or_none()
    return None if row is None else StoredCaption(**_values(row))


def _values(row: Any) -> dict[str, Any]:
    values = dict(row._mapping)
    return values | {"created_at": _moment(values["created_at"]), "corrected_at": _moment(values["corrected_at"])}


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
