"""Model versions and the current one: database rows, each with a folder.

models/VERSION/   bundle/; comparison/, if it was compared
"""

import contextlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from captioner.errors import CaptionerError
from captioner.files import replace_folder, sync_tree
from service.store.database import Database
from service.store.home import is_there
from service.store.remains import remove_abandoned, remove_unknown
from service.store.tables import PromotionRow, VersionRow

BUILT_IN = "built-in"
"""The captioner in the settings, or the default one."""
VERSION_PATTERN = f"[0-9a-f]{{12}}|{BUILT_IN}"

_HISTORY = 100
_VERSION = re.compile("[0-9a-f]{12}")


class UnknownVersion(CaptionerError):
    """The version does not exist."""


class VersionInUse(CaptionerError):
    """The version is in use, or there is no version to return to."""


@dataclass(frozen=True)
class Version:
    """A captioner that the service can use."""

    id: str
    """12 hex digits that its captions carry, or BUILT_IN."""
    bundle: Path
    comparison: Path | None = None
    """Folder of its comparison with the previous version."""
    facts: dict[str, Any] = field(default_factory=dict)
    """name, origin (built-in, training or upload), created_at, and the facts of its training."""


class Versions:
    """The versions of one service. Safe for concurrent processes, which see changes at once."""

    def __init__(self, database: Database, home: Path, built_in: Path) -> None:
        self._database = database
        self._folder = home / "models"
        self._built_in = Version(BUILT_IN, built_in, facts={"name": built_in.name, "origin": BUILT_IN})
        self._folder.mkdir(exist_ok=True)

    def add(self, bundle: Path, facts: dict[str, Any], comparison: Path | None = None) -> Version:
        """Store a copy of a bundle. The same captioner keeps its version.

        Raises BundleError if the bundle cannot be used, WeightsError if its encoder's weights are missing.
        """
        from captioner.bundle import load_bundle  # imports torch, which listing versions does not need
        from service.store.fingerprint import model_version

        beside = Path(tempfile.mkdtemp(prefix=".add-", dir=self._folder))
        try:
            shutil.copytree(bundle, beside / "bundle")
            version_id = model_version(load_bundle(beside / "bundle"))
            if comparison is not None:
                shutil.copytree(comparison, beside / "comparison")
            sync_tree(beside)
            facts = {"created_at": datetime.now(UTC).isoformat(), **facts}
            with self._alone() as session:
                if self._found(session, version_id) is None:
                    os.chmod(beside, 0o755)
                    # A killed process may have left a folder without its row, which is replaced.
                    replace_folder(beside, self._folder / version_id)
                    session.merge(VersionRow(id=version_id, facts=facts, compared=comparison is not None))
            return self.get(version_id)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def all(self) -> list[Version]:
        """Return all versions, newest first, the built-in one last."""
        with self._database.reading() as session:
            made = [self._version(row) for row in session.scalars(select(VersionRow))]
        made = [version for version in made if version is not None]
        return [*sorted(made, key=lambda version: version.facts["created_at"], reverse=True), self._built_in]

    def find(self, version_id: str) -> Version | None:
        with self._database.reading() as session:
            return self._found(session, version_id)

    def get(self, version_id: str) -> Version:
        """Return a version. Raises UnknownVersion if it does not exist."""
        with self._database.reading() as session:
            return self._known(session, version_id)

    @property
    def current(self) -> Version:
        """The version in use; the built-in one if the promoted version is missing."""
        with self._database.reading() as session:
            return self._current(session)

    def promote(self, version_id: str) -> Version:
        """Make a version the current one. Raises UnknownVersion."""
        with self._alone() as session:
            version = self._known(session, version_id)
            last = _last(session)
            if (last.version if last else BUILT_IN) != version_id:
                session.add(PromotionRow(version=version_id))
                session.flush()
                kept = select(PromotionRow.sequence).order_by(PromotionRow.sequence.desc()).limit(_HISTORY)
                session.execute(delete(PromotionRow).where(PromotionRow.sequence.not_in(kept)))
        return version

    def before(self) -> Version:
        """Return the version before the current one. Raises VersionInUse if there is none."""
        with self._database.reading() as session:
            return self._before(session)[0]

    def rollback(self) -> Version:
        """Return to the version before the current one. Raises VersionInUse if there is none."""
        with self._alone() as session:
            version, sequence = self._before(session)
            session.execute(delete(PromotionRow).where(PromotionRow.sequence > sequence))
        return version

    def delete(self, version_id: str) -> None:
        """Delete a version. Raises UnknownVersion, or VersionInUse for the current and the built-in version."""
        gone = Path(tempfile.mkdtemp(prefix=".gone-", dir=self._folder))
        try:
            with self._alone() as session:
                version = self._known(session, version_id)
                if version_id == BUILT_IN:
                    raise VersionInUse("the built-in captioner cannot be deleted: it is the fallback for all others")
                if version_id == self._current(session).id:
                    raise VersionInUse(
                        f"model version {version_id} is in use: promote another version or roll back first"
                    )
                session.execute(delete(VersionRow).where(VersionRow.id == version_id))
                os.rename(version.bundle.parent, gone / version_id)
        finally:
            shutil.rmtree(gone, ignore_errors=True)

    def remove_remains(self) -> None:
        """Delete files left by killed processes."""
        remove_abandoned(self._folder)
        with self._database.reading() as session:
            known = set(session.scalars(select(VersionRow.id)))
        remove_unknown(self._folder, _VERSION, known)

    def _alone(self) -> contextlib.AbstractContextManager[Session]:
        return self._database.writing(alone="versions")

    def _version(self, row: VersionRow) -> Version | None:
        """Return the version; None if its folder is missing: deleted by hand, or by a process that was killed."""
        folder = self._folder / row.id
        if not is_there(folder):
            return None
        return Version(row.id, folder / "bundle", folder / "comparison" if row.compared else None, dict(row.facts))

    def _found(self, session: Session, version_id: str) -> Version | None:
        if version_id == BUILT_IN:
            return self._built_in
        row = session.get(VersionRow, version_id) if _VERSION.fullmatch(version_id) else None
        return row and self._version(row)

    def _known(self, session: Session, version_id: str) -> Version:
        if (version := self._found(session, version_id)) is None:
            raise UnknownVersion(f"model version {version_id} does not exist: it was deleted, or the id is wrong")
        return version

    def _current(self, session: Session) -> Version:
        last = _last(session)
        return last and self._found(session, last.version) or self._built_in

    def _before(self, session: Session) -> tuple[Version, int]:
        """Return the last existing version before the current one, and the number of its promotion."""
        earlier = list(session.scalars(select(PromotionRow).order_by(PromotionRow.sequence.desc())))
        current = earlier[0].version if earlier else BUILT_IN
        for row in [*earlier, PromotionRow(sequence=0, version=BUILT_IN)]:
            if row.version != current and (version := self._found(session, row.version)) is not None:
                return version, row.sequence
        raise VersionInUse("there is no version to return to: the current one is the first that was used")


def _last(session: Session) -> PromotionRow | None:
    return session.scalar(select(PromotionRow).order_by(PromotionRow.sequence.desc()).limit(1))
