"""What was captioned, in an SQLite file."""

import sqlite3
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, URL, Connection, create_engine, delete, event, func, inspect, select, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from captioner.errors import ConfigError

SCHEMA_VERSION = 1
"""Of the tables below; kept in the file, as SQLite's user_version."""

_BUSY_MS, _CHECK_MS = 10_000, 1000
"""For which a transaction waits for another writer; and where it only is to be known whether it could write."""


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


@dataclass(frozen=True, kw_only=True)
class StoredCaption(CaptionSummary):
    """A caption with all that is known of it."""

    document: dict[str, Any]
    """All captions of the photo, the part of it that the model saw, options and seconds: see service.documents."""


class _Table(DeclarativeBase):
    pass


class _CaptionRow(_Table):
    __tablename__ = "captions"
    __table_args__ = {"sqlite_autoincrement": True}

    # The index spares whoever counts rows or skips them to read past the documents that lie between.
    sequence: Mapped[int] = mapped_column(primary_key=True, index=True)
    id: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[float]  # seconds since 1970: SQLite knows no time zones
    caption: Mapped[str]
    probability: Mapped[float]
    width: Mapped[int]
    height: Mapped[int]
    model_version: Mapped[str]
    correction: Mapped[str | None]
    corrected_at: Mapped[float | None]
    document: Mapped[dict[str, Any]] = mapped_column(JSON)  # large, so last: a summary is read without it


_SUMMARY = [getattr(_CaptionRow, field.name) for field in fields(CaptionSummary)]
_WHOLE = [getattr(_CaptionRow, field.name) for field in fields(StoredCaption)]


class Store:
    """Captions by their ids. Threads and processes share it; each call is a transaction of its own."""

    def __init__(self, url: str | URL) -> None:
        """`url` is SQLAlchemy's: sqlite:///captioner.db; file, folder and tables are made where there are none.

        Raises ConfigError where the file cannot be used, or another version of this program made it.
        """
        # As many connections as there are threads: those who wait for a writer's lock keep no reader waiting.
        self._engine = create_engine(url, max_overflow=-1)
        # A transaction that writes waits for others at its begin: one that had read before could not go on after them.
        self._writer = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        event.listen(self._engine, "connect", _set_up)
        event.listen(self._engine, "begin", _begin)
        try:
            self._prepare(self._engine.url.database)
        except BaseException:
            self.close()
            raise

    def add(self, entry: StoredCaption) -> None:
        """Keep a caption."""
        values = {field.name: getattr(entry, field.name) for field in fields(StoredCaption)}
        values["created_at"], values["corrected_at"] = _seconds(entry.created_at), _seconds(entry.corrected_at)
        with Session(self._writer) as session, session.begin():
            session.add(_CaptionRow(**values))

    def get(self, caption_id: str) -> StoredCaption | None:
        with Session(self._engine) as session:
            return _one(session, caption_id)

    def page(self, number: int, size: int) -> tuple[list[CaptionSummary], int]:
        """The `number`th `size` captions, from 1, newest first; and how many there are in all."""
        newest_first = _CaptionRow.sequence.desc()
        sequences = select(_CaptionRow.sequence).order_by(newest_first).limit(size).offset((number - 1) * size)
        query = select(*_SUMMARY).where(_CaptionRow.sequence.in_(sequences)).order_by(newest_first)
        with Session(self._engine) as session:
            total = session.scalar(select(func.count()).select_from(_CaptionRow))
            return [CaptionSummary(**_values(row)) for row in session.execute(query)], total

    def ids(self) -> set[str]:
        """Of all captions."""
        with Session(self._engine) as session:
            return set(session.scalars(select(_CaptionRow.id)))

    def delete(self, caption_id: str) -> bool:
        """Forget a caption; False where there is none."""
        with Session(self._writer) as session, session.begin():
            return session.execute(delete(_CaptionRow).where(_CaptionRow.id == caption_id)).rowcount > 0

    def correct(self, caption_id: str, correction: str | None) -> StoredCaption | None:
        """Keep what a caption should have been, or with None forget that -> the caption, None where there is none."""
        corrected_at = None if correction is None else _seconds(datetime.now(UTC))
        change = update(_CaptionRow).where(_CaptionRow.id == caption_id)
        with Session(self._writer) as session, session.begin():
            session.execute(change.values(correction=correction, corrected_at=corrected_at))
            return _one(session, caption_id)

    def corrected(self) -> list[CaptionSummary]:
        """Those that people have corrected, oldest first."""
        query = select(*_SUMMARY).where(_CaptionRow.correction.is_not(None)).order_by(_CaptionRow.sequence)
        with Session(self._engine) as session:
            return [CaptionSummary(**_values(row)) for row in session.execute(query)]

    def trim(self, keep: int) -> list[str]:
        """Forget all but the newest `keep` captions and those that were corrected -> the ids of the forgotten ones."""
        sequences = select(_CaptionRow.sequence).order_by(_CaptionRow.sequence.desc())
        newest_surplus = sequences.limit(1).offset(keep).scalar_subquery()
        surplus = delete(_CaptionRow).where(_CaptionRow.sequence <= newest_surplus, _CaptionRow.correction.is_(None))
        with Session(self._writer) as session, session.begin():
            return list(session.scalars(surplus.returning(_CaptionRow.id)))

    def check(self) -> None:
        """Raises SQLAlchemyError where it cannot be written: the file is gone, or another process keeps it locked."""
        with self._engine.connect() as connection:
            own = connection.connection
            own.execute(f"PRAGMA busy_timeout = {_CHECK_MS}")
            try:
                connection.execution_options(begin="BEGIN IMMEDIATE").begin().rollback()
            finally:
                own.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")

    def close(self) -> None:
        self._engine.dispose()

    def _prepare(self, file: str) -> None:
        try:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            with self._writer.begin() as connection:
                _make_tables(connection, file)
            with self._engine.connect() as connection:
                # Stays so in the file: readers and a writer at the same time. Not possible within a transaction.
                connection.connection.execute("PRAGMA journal_mode = WAL")
        except (OSError, DatabaseError, sqlite3.Error) as error:
            raise ConfigError(
                f"the database {file} cannot be used ({getattr(error, 'orig', error)}): see that it is a database of"
                " this program and that its folder can be written, or name another folder by CAPTIONER_HOME"
            ) from error


def _set_up(connection: sqlite3.Connection, _: Any) -> None:
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))


def _make_tables(connection: Connection, file: str) -> None:
    """Make the tables in a file that is empty. Raises ConfigError where it holds other ones than ours."""
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    tables = set(inspect(connection).get_table_names())
    if version == 0 and not tables:
        _Table.metadata.create_all(connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
    elif version != SCHEMA_VERSION or not tables >= _Table.metadata.tables.keys():
        raise ConfigError(
            f"the database {file} was not made by this version of the program (its schema is {version}, and this"
            f" version's is {SCHEMA_VERSION}): start the version that made it, or name another folder by CAPTIONER_HOME"
        )


def _one(session: Session, caption_id: str) -> StoredCaption | None:
    row = session.execute(select(*_WHOLE).where(_CaptionRow.id == caption_id)).one_or_none()
    return None if row is None else StoredCaption(**_values(row))


def _values(row: Any) -> dict[str, Any]:
    values = dict(row._mapping)
    return values | {"created_at": _moment(values["created_at"]), "corrected_at": _moment(values["corrected_at"])}


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
