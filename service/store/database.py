"""Database of the service: an SQLite file, or a PostgreSQL shared by replicas."""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Executable,
    NullPool,
    create_engine,
    event,
    func,
    insert,
    make_url,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from captioner.errors import ConfigError
from service.settings import DATABASE_FILE
from service.store.home import check_home
from service.store.migration import migrate
from service.store.tables import CaptionRow, PromotionRow, Table

log = logging.getLogger(__name__)

_BUSY_MS, _CHECK_MS = 10_000, 1000
"""Time that SQLite waits for another writer: in transactions, and in `check`."""
_CONNECT_SECONDS = 5
_POOL = {"pool_size": 10, "max_overflow": 20, "pool_timeout": 10, "pool_pre_ping": True}
_KEEPALIVE = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 3}
"""Seconds and probes after which PostgreSQL releases the locks of an unreachable machine."""


class Database:
    """Sessions of the database. Safe for concurrent threads, processes and, with PostgreSQL, machines.

    Each `with` is one transaction.
    """

    def __init__(self, url: str | URL, home: Path) -> None:
        """Open the database, or create it. url: as in SQLAlchemy, sqlite:///captioner.db or postgresql+psycopg://...

        A missing file, its folder and the tables are created. A database of an earlier version is migrated, including
        its files below `home`. An empty PostgreSQL imports the rows of a database file in `home`.
        Raises ConfigError if the database cannot be used, or a later version or another program created it.
        """
        self._url = make_url(url)
        self.is_shared = self._url.get_backend_name() == "postgresql"
        """Whether other machines may use the database."""
        self._engine = _postgresql_engine(self._url) if self.is_shared else _sqlite_engine(self._url)
        # In SQLite, a writing transaction locks at its start: one that had read before another wrote would fail.
        self._writer = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        # In PostgreSQL, a reading transaction sees one snapshot, as in SQLite.
        self._reader = self._engine
        if self.is_shared:
            self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ")
        try:
            self._prepare(home)
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        with Session(self._reader) as session:
            yield session

    @contextlib.contextmanager
    def writing(self, lock_name: str | None = None) -> Iterator[Session]:
        """Commit if the block succeeds. lock_name: of a lock that serializes transactions; SQLite serializes all."""
        with Session(self._writer) as session, session.begin():
            if lock_name and self.is_shared:
                session.execute(_advisory_lock("pg_advisory_xact_lock", lock_name))
            yield session

    def check(self) -> None:
        """Check that the database answers. Raises SQLAlchemyError if not, or if another process locks its file."""
        if self.is_shared:
            with self._engine.connect() as connection:
                connection.execute(select(1))
            return
        with self._writer.connect() as connection:
            file = connection.connection
            file.execute(f"PRAGMA busy_timeout = {_CHECK_MS}")
            try:
                connection.begin().rollback()
            finally:
                file.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[Callable[[], bool] | None]:
        """Hold a lock visible to other machines until the block or the process ends -> a function that returns whether
        the lock is lost, or None if another process holds it. With SQLite, always granted: one machine, see `locks`.
        """
        if not self.is_shared:
            yield lambda: False
            return
        # The lock belongs to the connection and ends with it.
        engine = create_engine(self._engine.url, poolclass=NullPool, connect_args={"connect_timeout": _CONNECT_SECONDS})
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for setting, value in _KEEPALIVE.items():
                connection.exec_driver_sql(f"SET {setting} = {value}")
            is_granted = connection.execute(_advisory_lock("pg_try_advisory_lock", name)).scalar_one()
            yield (lambda: not _is_alive(connection)) if is_granted else None

    def close(self) -> None:
        self._engine.dispose()

    def _prepare(self, home: Path) -> None:
        name = self._url.render_as_string(hide_password=True) if self.is_shared else self._url.database
        variable = "CAPTIONER_DATABASE_URL" if self.is_shared else "CAPTIONER_HOME"
        try:
            if not self.is_shared:
                Path(name).parent.mkdir(parents=True, exist_ok=True)
            with self._writer.begin() as connection:
                if self.is_shared:
                    connection.execute(_advisory_lock("pg_advisory_xact_lock", "migrations"))
                file = home / DATABASE_FILE
                imports_file = self.is_shared and file.is_file()
                is_new = migrate(connection, None if imports_file else home, f"the database {name}", variable)
                if is_new and imports_file:
                    _import_rows(connection, file)
                check_home(connection, home, self.is_shared, is_new)
            if not self.is_shared:
                with self._engine.connect() as connection:
                    _use_write_ahead_log(connection.connection.driver_connection)
        except (OSError, DBAPIError, sqlite3.Error) as error:
            condition = "its server is running and accepts this user" if self.is_shared else "its folder is writable"
            raise ConfigError(
                f"the database {name} cannot be used ({str(getattr(error, 'orig', error)).strip()}): check that it is"
                f" a database of this program and that {condition}, or set another one with {variable}"
            ) from error


def _sqlite_engine(url: URL) -> Engine:
    # One connection per thread: threads that wait for the write lock do not block readers.
    engine = create_engine(url, max_overflow=-1)
    event.listen(engine, "connect", _configure_connection)
    event.listen(engine, "begin", _begin_transaction)
    return engine


def _configure_connection(connection: sqlite3.Connection, _: Any) -> None:
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    # SQLite's own function changes ASCII letters only.
    connection.create_function("lower", 1, lambda text: text and text.lower(), deterministic=True)


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL mode, so that readers and a writer can work at the same time.

    SQLite ignores its busy timeout here, so the switch is retried.
    Raises sqlite3.OperationalError if another process keeps the file locked.
    """
    deadline = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")  # not possible within a transaction
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _begin_transaction(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))


def _postgresql_engine(url: URL) -> Engine:
    return create_engine(url, connect_args={"connect_timeout": _CONNECT_SECONDS}, **_POOL)


def _import_rows(connection: Connection, file: Path) -> None:
    """Copy all rows of an SQLite file to an empty PostgreSQL. The file stays unchanged."""
    log.info("Importing the rows of %s", file)
    with contextlib.closing(Database(URL.create("sqlite", database=str(file)), file.parent)) as source:
        with source.reading() as session:
            for table in Table.metadata.sorted_tables:
                rows = session.execute(select(table), execution_options={"yield_per": 200}).mappings()
                for batch in rows.partitions():
                    connection.execute(insert(table), [_without_nulls(row) for row in batch])
    for table in (CaptionRow.__table__, PromotionRow.__table__):
        sequence = func.pg_get_serial_sequence(table.name, "sequence")
        connection.execute(select(func.setval(sequence, func.max(table.c.sequence))).select_from(table))


def _without_nulls(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without null characters in text, which PostgreSQL cannot store."""
    return {name: value.replace("\0", "") if isinstance(value, str) else value for name, value in row.items()}


def _advisory_lock(function: str, name: str) -> Executable:
    """Return the query of an advisory lock; its number hashes our name, as other programs may share the database."""
    return select(getattr(func, function)(func.hashtextextended(f"captioner {name}", 0)))


def _is_alive(connection: Connection) -> bool:
    try:
        connection.execute(select(1))
    except DBAPIError:
        return False
    return True
