"""Add the records of a caption file of any format to a listing."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from captioner.errors import DataError
from training.data.readers.fields import FLAG_REASONS, Fields, captions_of, flagged_problem, is_address, photo_names
from training.data.readers.listing import SPLIT_NAMES, Listing, printable
from training.data.readers.photos import photo_folders, walk_files

_AFTER_PATH = re.compile("[?#]")


class Rows:
    """Writer of one caption file's records to a listing.

    file: the caption file, for the positions of problems.
    split: split in the file's name, for records that have none.
    images: folder of the photos, if given; otherwise photos are searched for relative to the file's folder, to the
        usual folders of photos in it, and to `root`.
    """

    def __init__(self, listing: Listing, file: Path, split: str | None, images: Path | None) -> None:
        self._listing = listing
        self._file = file
        self._split = split
        self._folders = _relative_folders(file, listing.root, images)
        self._photo_root = images if images is not None else listing.root
        self._used_columns: set[str] = set()
        self._unused_columns: set[str] = set()
        self._addresses: list[str] = []
        self._has_files = False

    def add(self, entry: int | str, record: Mapping[str, Any], fields: Fields) -> None:
        """Add a record's photo and captions; unusable values become problems with their positions."""
        names = photo_names(record, fields)
        if not names:
            self._listing.add_problem("bad_entry", self._file, entry, "names no image")
            return
        self._register_address(record, fields)
        paths = tuple(
            name if is_address(name) else os.path.normpath(os.path.join(folder, name))
            for name in names
            for folder in self._folders
        )
        self._add_record(entry, record, fields, paths[0], paths)

    def add_unpacked(
        self, entry: int | str, record: Mapping[str, Any], fields: Fields, name: str, path: Path | None
    ) -> None:
        """Add a record whose photo was unpacked. path: None if it has no photo. name: its name in the archive."""
        archive = os.path.relpath(self._file.with_suffix(""), self._listing.root)
        self._has_files = True
        if path is None:
            self._listing.add_problem("missing_image", self._file, entry, "holds no photo")
            return
        self._listing.finder.allow(path.parent)  # this may be the cache, outside the data set
        self._add_record(entry, record, fields, f"{archive}/{name}", (os.path.relpath(path, self._listing.root),))

    def _add_record(
        self, entry: int | str, record: Mapping[str, Any], fields: Fields, image_id: str, paths: tuple[str, ...]
    ) -> None:
        self._used_columns.update(fields.captions)
        self._unused_columns.update(fields.others)
        split = self._find_split(entry, record, fields, paths[0])
        if split is False:
            return
        self._listing.add_photo(image_id, image_id, paths, split, self._file, entry)
        if kind := flagged_problem(record, fields.flags):
            self._listing.add_problem(kind, self._file, entry, f"the caption of {paths[0]} {FLAG_REASONS[kind]}")
            return
        for caption in captions_of(record, fields):
            self._listing.add_caption(image_id, caption, self._file, entry)

    def finish(self) -> None:
        """Report unused caption columns. Raises DataError if every photo is a URL."""
        if self._addresses and not self._has_files and not self._any_photo_exists():
            raise DataError(
                f"{self._file}: its photos are addresses ({printable(self._addresses[0])}), which are not fetched:"
                " download the photos (img2dataset does), put them beside it, and name their files in a column image"
            )
        if unused := sorted(self._unused_columns - self._used_columns):
            message = f"captions are taken from {', '.join(sorted(self._used_columns))}, not from {', '.join(unused)}"
            self._listing.add_problem("unused_column", self._file, None, message)

    def _register_address(self, record: Mapping[str, Any], fields: Fields) -> None:
        value = record.get(fields.image[0])
        if is_address(value):
            self._addresses.append(value)
        else:
            self._has_files = True

    def _any_photo_exists(self) -> bool:
        """Return whether a photo with the file name of any URL exists."""
        names = {unquote(_AFTER_PATH.split(address)[0]).rpartition("/")[2] for address in self._addresses} - {""}
        return any(os.path.basename(path) in names for path in walk_files(self._photo_root))

    def _find_split(self, entry: int | str, record: Mapping[str, Any], fields: Fields, name: str) -> str | None | bool:
        """Return the split of a record; False if it names an unknown one."""
        value = record.get(fields.split) if fields.split is not None else None
        value = str(value).strip() if value is not None else ""
        if value:
            if value.lower() not in SPLIT_NAMES:
                message = f"puts {name} into {value!r}: that is no train, val or test"
                self._listing.add_problem("bad_entry", self._file, entry, message)
                return False
            return SPLIT_NAMES[value.lower()]
        return self._split or SPLIT_NAMES.get(name.replace("\\", "/").partition("/")[0].lower())


def _relative_folders(file: Path, root: Path, images: Path | None) -> list[str]:
    """Return the folders for photos, relative to the finder's; the first one tells equal names of two files apart."""
    own_folder = os.path.relpath(file.parent, root)
    if images is not None:
        return list(dict.fromkeys([own_folder, "."]))
    folders = [*photo_folders(file.parent), *photo_folders(root)]
    return list(dict.fromkeys(os.path.relpath(folder, root) for folder in folders))
