"""Data sets of users: a database row with the report, and a folder that is created atomically.

datasets/ID/   thumbnails/ of photos; data/NAME/: the photos and captions, or the parallel text, if they were uploaded
"""

import contextlib
import csv
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from sqlalchemy import delete, select

from captioner.errors import CaptionerError, DataError
from captioner.files import replace_folder, sync_tree
from captioner.images.finding import IMAGE_EXTENSIONS
from service import training_process
from service.settings import Settings
from service.store.archives import top_folder, unpack
from service.store.bounded_lock import BoundedLock
from service.store.captions import CaptionSummary
from service.store.database import Database
from service.store.home import folder_exists
from service.store.leftovers import remove_abandoned, remove_unknown
from service.store.photos import ID_PATTERN, PhotoFolder
from service.store.tables import DataSetRow

PHOTOS, PARALLEL_TEXT = "photos", "parallel_text"
"""Kinds of data sets: captioned photos train captioners, parallel text trains translators."""
MAX_WAITING = 3
"""Maximum number of data sets that wait for an inspection, each with a thread of the server."""
MAX_LIST_ENTRIES = 100
"""Maximum number of entries in each list of a report; the report has the totals as well."""

_ID = re.compile(ID_PATTERN)

Source = TypeVar("Source")


class UnknownDataSet(CaptionerError):
    """The data set does not exist."""


class DataSetInUse(CaptionerError):
    """The data set is in use, so it cannot be changed now."""


@dataclass(frozen=True)
class Languages:
    """Languages of parallel text; None: as the names in the files say."""

    source: str | None = None
    target: str | None = None


@dataclass(frozen=True)
class StoredDataSet:
    """A stored data set with its report."""

    id: str
    name: str
    origin: str
    """zip, folder, corrections or collection."""
    created_at: str
    root: Path
    """Path for `--data`."""
    folder: Path
    report: dict[str, Any]
    kind: str = PHOTOS

    @property
    def usable(self) -> bool:
        return self.report["usable"]


class DataSets:
    """The data sets of one service. Safe for concurrent threads and processes."""

    def __init__(
        self, settings: Settings, database: Database, run_training: training_process.Run = training_process.run
    ) -> None:
        """run_training: runs `training inspect` and `inspect-parallel`; by default in a separate process."""
        self._settings, self._database, self._run_training = settings, database, run_training
        self._folder = settings.datasets_folder
        self._adding_lock = BoundedLock(MAX_WAITING)  # one at a time: each uses all cores

    def add_zip(
        self,
        file: BinaryIO,
        name: str,
        bundle: Path,
        max_bytes: int | None = None,
        languages: Languages | None = None,
    ) -> StoredDataSet:
        """Unpack a zip and inspect it. bundle: the captioner whose vocabulary the report compares with.

        max_bytes: maximum unpacked size; by default from the settings. languages: of parallel text; None for photos.
        Raises ArchiveError, or DataError if the layout is not supported. Then nothing is stored.
        """

        def fill(folder: Path) -> Path:
            unpacked, root = folder / ".unpacked", folder / "data" / name
            unpacked.mkdir()
            root.parent.mkdir()
            unpack(file, unpacked, self._settings.max_dataset_bytes if max_bytes is None else max_bytes)
            os.rename(top_folder(unpacked), root)
            shutil.rmtree(unpacked, ignore_errors=True)
            return root

        return self._add("zip", name, bundle, fill, languages)

    def add_folder(
        self, path: str, name: str | None, bundle: Path, languages: Languages | None = None
    ) -> StoredDataSet:
        """Inspect a folder or a file below CAPTIONER_IMPORT_ROOT, without copying it. Raises DataError.

        languages: of parallel text; None for photos.
        """
        root = self._settings.import_root
        if root is None:
            raise DataError(
                "this service accepts no folders: its operator can allow the folders below CAPTIONER_IMPORT_ROOT"
            )
        try:
            source = Path(os.path.realpath(root / path))
            is_inside = source.is_relative_to(os.path.realpath(root)) and source.exists()
        except (OSError, ValueError):  # an invalid name
            is_inside = False
        if not is_inside:
            raise DataError(
                f"{path!r} does not exist below CAPTIONER_IMPORT_ROOT: give the path of a folder or file in it"
            )
        return self._add("folder", name or source.name, bundle, lambda folder: source, languages)

    def add_corrections(
        self, captions: Iterable[CaptionSummary], photos: PhotoFolder, name: str | None, bundle: Path
    ) -> StoredDataSet:
        """Create a data set from the corrected captions and their photos. Raises DataError if there are none."""

        def fill(folder: Path) -> Path:
            root = folder / "data" / "corrections"

            def put(caption_id: str, target: Path) -> None:
                target.write_bytes(photos.jpeg(caption_id))

            if not _write_captioned(root, ((entry.id, f"{entry.id}.jpg", entry.correction) for entry in captions), put):
                raise DataError("there are no corrections yet: correct some captions on the page, then try again")
            return root

        return self._add("corrections", name or "corrections", bundle, fill)

    def add_collection(self, photos: Iterable[tuple[Path, str, str]], name: str, bundle: Path) -> StoredDataSet:
        """Create a data set from photos of a collection: the file, name and caption of each.

        The files are linked where the file system can do that, so they take no space. Raises DataError if there are
        none.
        """

        def fill(folder: Path) -> Path:
            root = folder / "data" / "collection"
            named = ((source, f"{source.name}{_image_extension(name)}", caption) for source, name, caption in photos)
            if not _write_captioned(root, named, _link):
                raise DataError(
                    "no caption of this collection can be trained on yet: correct some captions, or give a"
                    " min_confidence to use captions of the captioner"
                )
            return root

        return self._add("collection", name, bundle, fill)

    def all(self) -> list[StoredDataSet]:
        """Return all data sets, newest first."""
        with self._database.reading() as session:
            datasets = [self._to_dataset(row) for row in session.scalars(select(DataSetRow))]
        return sorted(filter(None, datasets), key=lambda data: data.created_at, reverse=True)

    def find(self, dataset_id: str) -> StoredDataSet | None:
        with self._database.reading() as session:
            row = session.get(DataSetRow, dataset_id) if _ID.fullmatch(dataset_id) else None
            return row and self._to_dataset(row)

    def _to_dataset(self, row: DataSetRow) -> StoredDataSet | None:
        """Return the data set; None if its folder is missing: deleted by hand, or by a process that was killed."""
        folder = self._folder / row.id
        if not folder_exists(folder):
            return None
        # The root of an upload is relative, so that the data folder can be moved.
        root, report = folder / row.root, dict(row.report)
        return StoredDataSet(row.id, row.name, row.origin, row.created_at, root, folder, report, row.kind)

    def get(self, dataset_id: str) -> StoredDataSet:
        """Return a data set. Raises UnknownDataSet if it does not exist."""
        if (data := self.find(dataset_id)) is None:
            raise _unknown_dataset(dataset_id)
        return data

    def delete(self, dataset_id: str) -> None:
        """Delete a data set, with its photos if they were uploaded. Raises UnknownDataSet."""
        trash = self._folder / f".gone-{uuid.uuid4().hex}"
        with self._database.writing() as session:
            if not session.execute(delete(DataSetRow).where(DataSetRow.id == dataset_id)).rowcount:
                raise _unknown_dataset(dataset_id)
            with contextlib.suppress(FileNotFoundError):  # see `_to_dataset`
                os.rename(self._folder / dataset_id, trash)
        shutil.rmtree(trash, ignore_errors=True)

    def remove_leftovers(self) -> None:
        """Delete files left by killed processes."""
        remove_abandoned(self._folder)
        with self._database.reading() as session:
            known_ids = set(session.scalars(select(DataSetRow.id)))
        remove_unknown(self._folder, _ID, known_ids)

    def _add(
        self,
        origin: str,
        name: str,
        bundle: Path,
        fill: Callable[[Path], Path],
        languages: Languages | None = None,
    ) -> StoredDataSet:
        """Add the data that `fill` puts into a folder; it returns the path to inspect. Raises TooManyWaiting."""
        with self._adding_lock:
            return self._create(origin, name, bundle, fill, languages)

    def _create(
        self, origin: str, name: str, bundle: Path, fill: Callable[[Path], Path], languages: Languages | None
    ) -> StoredDataSet:
        dataset_id = uuid.uuid4().hex
        staging = Path(tempfile.mkdtemp(prefix=".add-", dir=self._folder))
        try:
            root = fill(staging)
            command = _inspection(staging / "thumbnails", bundle) if languages is None else _text_inspection(languages)
            report = self._inspect(root, name, *command)
            row = DataSetRow(
                id=dataset_id,
                name=name,
                origin=origin,
                created_at=datetime.now(UTC).isoformat(),
                root=str(root.relative_to(staging) if root.is_relative_to(staging) else root),
                report=report,
                kind=PHOTOS if languages is None else PARALLEL_TEXT,
            )
            sync_tree(staging)
            with self._database.writing() as session:
                session.add(row)
                session.flush()
                replace_folder(staging, self._folder / dataset_id)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        return self.get(dataset_id)

    def _inspect(self, root: Path, name: str, command: str, *options: str | Path) -> dict[str, Any]:
        try:
            output = self._run_training(command, "--data", root, "--json", *options)
        except DataError as error:  # the message must not reveal the server's folders
            raise DataError(str(error).replace(str(root.parent) + os.sep, "").replace(str(root), name)) from None
        report = json.loads(output)
        report.pop("root", None)
        return report


def _inspection(thumbnails: Path, bundle: Path) -> list[str | Path]:
    """Return the command that inspects photos, and its options."""
    return ["inspect", "--most", str(MAX_LIST_ENTRIES), "--bundle", bundle, "--samples", thumbnails]


def _text_inspection(languages: Languages) -> list[str]:
    """Return the command that inspects parallel text, and its options."""
    named = {"--source": languages.source, "--target": languages.target}
    return ["inspect-parallel", *(part for flag, value in named.items() if value is not None for part in (flag, value))]


def _write_captioned(root: Path, photos: Iterable[tuple[Source, str, str]], put: Callable[[Source, Path], None]) -> int:
    """Write photos with their captions as a data set -> their number; those that are deleted meanwhile are left out.

    photos: source, name and caption of each one. put: writes the photo of a source to a path.
    """
    (root / "photos").mkdir(parents=True)
    count = 0
    with open(root / "captions.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption"])
        for source, name, caption in photos:
            try:
                put(source, root / "photos" / name)
            except FileNotFoundError:
                continue
            table.writerow([name, caption])
            count += 1
    return count


def _image_extension(name: str) -> str:
    """Return the extension of a photo's name if readers of data sets know it; photos are read by their content."""
    extension = os.path.splitext(name)[1].lower()
    return extension if extension in IMAGE_EXTENSIONS else ".jpg"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # the file system has no links
        shutil.copyfile(source, target)


def _unknown_dataset(dataset_id: str) -> UnknownDataSet:
    return UnknownDataSet(f"data set {dataset_id} does not exist: it was deleted, or the id is wrong")
