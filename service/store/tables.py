"""Tables of the database. Every change needs a migration in migrations/versions: a test compares them."""

from typing import Any

import numpy as np
from sqlalchemy import JSON
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service.store.arrays import Arrays


class Table(DeclarativeBase):
    """Base of all tables. Times are seconds since 1970, as SQLite has no time zones, or ISO 8601 text in UTC."""


class CaptionRow(Table):
    """A captioned photo; its file is in the photos folder."""

    __tablename__ = "captions"
    __table_args__ = {"sqlite_autoincrement": True}

    # With the index, counting and skipping rows does not read the documents between them.
    sequence: Mapped[int] = mapped_column(primary_key=True, index=True)
    id: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[float]
    caption: Mapped[str]
    probability: Mapped[float]
    width: Mapped[int]
    height: Mapped[int]
    model_version: Mapped[str]
    correction: Mapped[str | None]
    corrected_at: Mapped[float | None]
    document: Mapped[dict[str, Any]] = mapped_column(JSON)  # long, so late in the row: summaries are read without it
    # After the document, where a migration can add columns in SQLite. NULL if there are none: SQLite sees that in the
    # header of the row, without reading the document.
    warnings: Mapped[list[dict[str, str]] | None] = mapped_column(JSON(none_as_null=True))
    confidence: Mapped[float | None]
    arrays: Mapped[dict[str, np.ndarray]] = mapped_column(Arrays, nullable=True)


class DataSetRow(Table):
    """A data set; uploaded files are in the datasets folder."""

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    origin: Mapped[str]
    created_at: Mapped[str]
    root: Mapped[str]
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
    kind: Mapped[str] = mapped_column(server_default="photos")
    """photos or parallel_text."""


class TrainingRow(Table):
    """A training; the output of its processes is in the trainings folder."""

    __tablename__ = "trainings"

    id: Mapped[str] = mapped_column(primary_key=True)
    cancelling: Mapped[bool]
    state: Mapped[dict[str, Any]] = mapped_column(JSON)
    request: Mapped[dict[str, Any]] = mapped_column(JSON)


class VersionRow(Table):
    """A model version; its bundle is in the models folder."""

    __tablename__ = "versions"

    id: Mapped[str] = mapped_column(primary_key=True)
    compared: Mapped[bool]
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    language: Mapped[str] = mapped_column(server_default="")
    """Language that a translator writes; empty for a captioner."""


class PromotionRow(Table):
    """A promotion; the last one of a language is in use. A rollback removes those after the previous version."""

    __tablename__ = "promotions"
    __table_args__ = {"sqlite_autoincrement": True}

    sequence: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[str]
    language: Mapped[str] = mapped_column(server_default="")
    """Language of the translator whose version this is; empty for the captioner."""


class IdentityRow(Table):
    """One row that identifies a shared database: see service.store.home."""

    __tablename__ = "identity"

    id: Mapped[str] = mapped_column(primary_key=True)
