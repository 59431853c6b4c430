"""Check, before a run, that copies of photos replace no original."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from captioner.bulk.remote import is_address
from captioner.bulk.sources import copy_labels, expand_inputs, is_archive
from captioner.errors import ConfigError


class _Folders(NamedTuple):
    """Folder of an input's photos, and folder of their copies; both are resolved."""

    photos: Path | None
    """None if the photos are in an archive or at a URL."""
    copies: Path
    deep: bool
    """Whether folders in these hold such photos and copies as well."""


def check_copies(inputs: Sequence[str], output: Path, recursive: bool) -> None:
    """Check that no copy in `output` can replace a photo of `inputs`, or be captioned as one.

    inputs, recursive: as of `photos_at`. Raises ConfigError.
    """
    inputs = expand_inputs(inputs)
    # A set: the photos of a glob that the shell expanded share few folders.
    all_folders = {
        _folders(path, output, label, recursive) for path, label in zip(inputs, copy_labels(inputs), strict=True)
    }
    originals = {folders.photos: False for folders in all_folders if folders.photos is not None}
    for folders in all_folders:
        if folders.photos is not None and folders.deep:
            originals[folders.photos] = True
    if not originals:
        return
    for copies in {output.resolve(), *(folders.copies for folders in all_folders)}:
        for folder in (copies, *copies.parents):
            if folder in originals and (folder == copies or originals[folder]):
                raise _overlap(output, folder)
    for photos, copies, deep in all_folders:
        for folder in originals:
            if deep and copies in folder.parents:
                # Copies get the paths of their photos: one can only reach that folder from a folder of the same path.
                if photos is None or (photos / folder.relative_to(copies)).exists():
                    raise _overlap(output, folder)


def _folders(path: str, output: Path, label: str, recursive: bool) -> _Folders:
    path = path.removeprefix("file://")
    if is_archive(path) or is_address(path):
        return _Folders(None, (output / label).resolve(), deep=True)
    if os.path.isdir(path):
        return _Folders(Path(path).resolve(), (output / label).resolve(), recursive)
    if os.path.lexists(path) or not glob.has_magic(path):
        return _Folders(Path(path).parent.resolve(), output.resolve(), deep=False)
    parts = Path(path).parts
    fixed = parts[: next(number for number, part in enumerate(parts) if glob.has_magic(part))]
    copies = output.joinpath(label, *(part for part in fixed if part not in (os.sep, "..")))
    return _Folders(Path(*fixed).resolve(), copies.resolve(), deep="**" in parts)


def _overlap(output: Path, folder: Path) -> ConfigError:
    return ConfigError(
        f"--output {output} lies among the photos of {folder}, where copies could replace them: name a folder outside"
    )
