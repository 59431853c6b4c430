"""The captioners that a service may switch to, and which of them it uses: folders that are there whole or not at all.

models/VERSION/       version.json: what is known of it; bundle/; comparison/, where it was compared
models/current.json   the versions that served, the one that does last
"""

import contextlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from captioner.errors import CaptionerError
from captioner.json_files import read_json, write_json
from service.remains import remove_abandoned

log = logging.getLogger(__name__)

BUILT_IN = "built-in"
"""The captioner that the settings name, or the one that ships."""
VERSION_PATTERN = f"[0-9a-f]{{12}}|{BUILT_IN}"

_HISTORY = 100
_VERSION = re.compile("[0-9a-f]{12}")


class UnknownVersion(CaptionerError):
    """There is no such version."""


class VersionInUse(CaptionerError):
    """What was asked cannot be done to this version, or to any at present."""


@dataclass(frozen=True)
class Version:
    """A captioner that the service may use."""

    id: str
    """Twelve hex digits that its captions carry, or BUILT_IN."""
    bundle: Path
    comparison: Path | None = None
    """Folder of its comparison with the captioner that was in use when it was made."""
    facts: dict[str, Any] = field(default_factory=dict)
    """name, origin (built-in, training or upload), created_at, and of a training what it was."""


class Versions:
    """The versions of one data folder. Processes share it; what one of them changes, the others see at once."""

    def __init__(self, home: Path, built_in: Path) -> None:
        self._folder = home / "models"
        self._built_in = Version(BUILT_IN, built_in, facts={"name": built_in.name, "origin": BUILT_IN})
        self._folder.mkdir(exist_ok=True)

    def add(self, bundle: Path, facts: dict[str, Any], comparison: Path | None = None) -> Version:
        """Keep a copy of a bundle. The same captioner again is the version that it was before.

        Raises BundleError for a bundle that cannot be used, WeightsError where its encoder's weights are missing.
        """
        from captioner.bundle import load_bundle  # here: whoever only lists versions need not wait for torch
        from service.model_versions import model_version

        beside = Path(tempfile.mkdtemp(prefix=".add-", dir=self._folder))
        try:
            shutil.copytree(bundle, beside / "bundle")
            version_id = model_version(load_bundle(beside / "bundle"))
            if comparison is not None:
                shutil.copytree(comparison, beside / "comparison")
            write_json(beside / "version.json", {"created_at": datetime.now(UTC).isoformat(), **facts})
            _sync(beside)
            with self._locked():
                if (known := self.find(version_id)) is not None:
                    return known
                os.chmod(beside, 0o755)
                os.rename(beside, self._folder / version_id)
                _sync_folder(self._folder)
            return self.get(version_id)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def all(self) -> list[Version]:
        """The newest first, the built-in one last."""
        found = [self.find(path.name) for path in self._folder.iterdir() if _VERSION.fullmatch(path.name)]
        made = [version for version in found if version is not None]
        return [*sorted(made, key=lambda version: version.facts["created_at"], reverse=True), self._built_in]

    def find(self, version_id: str) -> Version | None:
        if version_id == BUILT_IN:
            return self._built_in
        folder = self._folder / version_id
        if not _VERSION.fullmatch(version_id):
            return None
        try:
            facts = read_json(folder / "version.json")
        except ValueError:
            log.exception("%s is damaged", folder)
            return None
        if facts is None:
            return None
        comparison = folder / "comparison"
        return Version(version_id, folder / "bundle", comparison if comparison.is_dir() else None, facts)

    def get(self, version_id: str) -> Version:
        """Raises UnknownVersion."""
        if (version := self.find(version_id)) is None:
            raise UnknownVersion(f"there is no model version {version_id}: it was deleted, or never made")
        return version

    @property
    def current(self) -> Version:
        """The version that serves; the built-in one where the one that should is gone."""
        return self.find(self._history()[-1]) or self._built_in

    def promote(self, version_id: str) -> Version:
        """Let a version serve. Raises UnknownVersion."""
        with self._locked():
            version = self.get(version_id)
            history = self._history()
            if history[-1] != version_id:
                self._write_history([*history, version_id])
        return version

    def before(self) -> Version:
        """The version that served before the current one. Raises VersionInUse where there is none."""
        return self.get(self._history_before()[-1])

    def rollback(self) -> Version:
        """Let the version serve that did before. Raises VersionInUse where there is none."""
        with self._locked():
            history = self._history_before()
            self._write_history(history)
            return self.get(history[-1])

    def delete(self, version_id: str) -> None:
        """Forget a version. Raises UnknownVersion, or VersionInUse for the one that serves and the built-in one."""
        with self._locked():
            version = self.get(version_id)
            if version_id == BUILT_IN:
                raise VersionInUse("the built-in captioner is what is left when all others are deleted: it stays")
            if version_id == self.current.id:
                raise VersionInUse(f"model version {version_id} is in use: promote another one, or roll back, first")
            gone = Path(tempfile.mkdtemp(prefix=".gone-", dir=self._folder))
            os.rename(version.bundle.parent, gone / version_id)
        shutil.rmtree(gone, ignore_errors=True)

    def remove_remains(self) -> None:
        """Delete what a process that was killed left."""
        remove_abandoned(self._folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with FileLock(self._folder / ".lock"):
            yield

    def _history(self) -> list[str]:
        """The versions that served, the current one last; never empty."""
        try:
            history = read_json(self._folder / "current.json", {"history": [BUILT_IN]})["history"]
            if not (history and all(isinstance(version_id, str) for version_id in history)):
                raise ValueError("it must list versions")
            return history
        except (ValueError, KeyError, TypeError):
            log.exception("%s is damaged: the built-in captioner is used", self._folder / "current.json")
            return [BUILT_IN]

    def _history_before(self) -> list[str]:
        """Without the current version, and without those after the last one that is still there."""
        current, *earlier = reversed(self._history())
        for number, version_id in enumerate(earlier):
            if version_id != current and self.find(version_id) is not None:
                return list(reversed(earlier[number:]))
        raise VersionInUse("there is no version to go back to: the current one is the first that served")

    def _write_history(self, history: list[str]) -> None:
        write_json(self._folder / "current.json", {"history": history[-_HISTORY:]})
        _sync_folder(self._folder)


def _sync(folder: Path) -> None:
    """Let all that a folder holds reach the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    for path in (*folder.rglob("*/"), folder):
        _sync_folder(path)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # folders cannot be opened elsewhere
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
