"""Tables of the database. Every change needs a migration in migrations/versions: a test compares them."""

from typing import Any

import numpy as np
from sqlalchemy import JSON, BigInteger, Index
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


class CollectionRow(Table):
    """A collection of photos to caption; its files are in the collections folder."""

    __tablename__ = "collections"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[float]
    is_cancelled: Mapped[bool]
    next_number: Mapped[int]
    """Number of the next photo. A number is never used again."""
    revision: Mapped[int]
    """Counts the changes of the collection; each changed photo gets the number of its last change."""
    seconds_per_photo: Mapped[float | None]
    """Pace of captioning, in seconds; NULL before the first batch."""


class CollectionPhotoRow(Table):
    """A photo of a collection, by its number in it, from 1."""

    __tablename__ = "collection_photos"
    __table_args__ = (
        Index("ix_collection_photos_state", "collection", "state"),
        Index("ix_collection_photos_revision", "collection", "revision"),
        Index("ix_collection_photos_digest", "collection", "digest"),
    )

    collection: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    digest: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    """Bytes of the file."""
    state: Mapped[str]
    reason: Mapped[str | None]
    """Why it failed."""
    generated: Mapped[str | None]
    """The caption that the captioner made."""
    confidence: Mapped[float | None]
    warnings: Mapped[list[dict[str, str]] | None] = mapped_column(JSON(none_as_null=True))
    model_version: Mapped[str | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    correction: Mapped[str | None]
    """The caption that a person wrote."""
    corrected_at: Mapped[float | None]
    version: Mapped[int]
    """Counts the changes of `correction`."""
    revision: Mapped[int]


class CollectionWordsRow(Table):
    """The words of the caption that the captioner made of a photo of a collection.

    They are long, and stand apart from the photo's row so that counting and listing photos does not read them.
    """

    __tablename__ = "collection_words"

    collection: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
    """See service.inference.documents."""
    arrays: Mapped[dict[str, np.ndarray]] = mapped_column(Arrays, nullable=True)


class CollectionDeletionRow(Table):
    """A deleted photo of a collection, so that those who follow the collection learn of it."""

    __tablename__ = "collection_deletions"

    collection: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revision: Mapped[int]
    """Of the collection at the deletion."""


class IdentityRow(Table):
    """One row that identifies a shared database: see service.store.home."""

    __tablename__ = "identity"

    id: Mapped[str] = mapped_column(primary_key=True)
