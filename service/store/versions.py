"""The captioners that a service may switch to, and which of them it uses: rows of the database, each with a folder.

models/VERSION/   bundle/; comparison/, where it was compared
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
from captioner.files import put_in_place, sync_tree
from service.store.database import Database
from service.store.home import is_there
from service.store.remains import remove_abandoned, remove_unknown
from service.store.tables import PromotionRow, VersionRow

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
    """The versions of one service. Processes share them; what one of them changes, the others see at once."""

    def __init__(self, database: Database, home: Path, built_in: Path) -> None:
        self._database = database
        self._folder = home / "models"
        self._built_in = Version(BUILT_IN, built_in, facts={"name": built_in.name, "origin": BUILT_IN})
        self._folder.mkdir(exist_ok=True)

    def add(self, bundle: Path, facts: dict[str, Any], comparison: Path | None = None) -> Version:
        """Keep a copy of a bundle. The same captioner again is the version that it was before.

        Raises BundleError for a bundle that cannot be used, WeightsError where its encoder's weights are missing.
        """
        from captioner.bundle import load_bundle  # here: whoever only lists versions need not wait for torch
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
                    # A process that was killed just here has left a folder without its row, which is replaced.
                    put_in_place(beside, self._folder / version_id)
                    session.merge(VersionRow(id=version_id, facts=facts, compared=comparison is not None))
            return self.get(version_id)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def all(self) -> list[Version]:
        """The newest first, the built-in one last."""
        with self._database.reading() as session:
            made = [self._version(row) for row in session.scalars(select(VersionRow))]
        made = [version for version in made if version is not None]
        return [*sorted(made, key=lambda version: version.facts["created_at"], reverse=True), self._built_in]

    def find(self, version_id: str) -> Version | None:
        with self._database.reading() as session:
            return self._found(session, version_id)

    def get(self, version_id: str) -> Version:
        """Raises UnknownVersion."""
        with self._database.reading() as session:
            return self._known(session, version_id)

    @property
    def current(self) -> Version:
        """The version that serves; the built-in one where the one that should is gone."""
        with self._database.reading() as session:
            return self._current(session)

    def promote(self, version_id: str) -> Version:
        """Let a version serve. Raises UnknownVersion."""
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
        """The version that served before the current one. Raises VersionInUse where there is none."""
        with self._database.reading() as session:
            return self._before(session)[0]

    def rollback(self) -> Version:
        """Let the version serve that did before. Raises VersionInUse where there is none."""
        with self._alone() as session:
            version, sequence = self._before(session)
            session.execute(delete(PromotionRow).where(PromotionRow.sequence > sequence))
        return version

    def delete(self, version_id: str) -> None:
        """Forget a version. Raises UnknownVersion, or VersionInUse for the one that serves and the built-in one."""
        gone = Path(tempfile.mkdtemp(prefix=".gone-", dir=self._folder))
        try:
            with self._alone() as session:
                version = self._known(session, version_id)
                if version_id == BUILT_IN:
                    raise VersionInUse("the built-in captioner is what is left when all others are deleted: it stays")
                if version_id == self._current(session).id:
                    raise VersionInUse(
                        f"model version {version_id} is in use: promote another one, or roll back, first"
                    )
                session.execute(delete(VersionRow).where(VersionRow.id == version_id))
                os.rename(version.bundle.parent, gone / version_id)
        finally:
            shutil.rmtree(gone, ignore_errors=True)

    def remove_remains(self) -> None:
        """Delete what a process that was killed left."""
        remove_abandoned(self._folder)
        with self._database.reading() as session:
            known = set(session.scalars(select(VersionRow.id)))
        remove_unknown(self._folder, _VERSION, known)

    def _alone(self) -> contextlib.AbstractContextManager[Session]:
        return self._database.writing(alone="versions")

    def _version(self, row: VersionRow) -> Version | None:
        """None where its folder is gone: by hand, or a process was killed while it deleted the version."""
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
            raise UnknownVersion(f"there is no model version {version_id}: it was deleted, or never made")
        return version

    def _current(self, session: Session) -> Version:
        last = _last(session)
        return last and self._found(session, last.version) or self._built_in

    def _before(self, session: Session) -> tuple[Version, int]:
        """The last version before the current one that is still there, and the number of its promotion."""
        earlier = list(session.scalars(select(PromotionRow).order_by(PromotionRow.sequence.desc())))
        current = earlier[0].version if earlier else BUILT_IN
        for row in [*earlier, PromotionRow(sequence=0, version=BUILT_IN)]:
            if row.version != current and (version := self._found(session, row.version)) is not None:
                return version, row.sequence
        raise VersionInUse("there is no version to go back to: the current one is the first that served")


def _last(session: Session) -> PromotionRow | None:
    return session.scalar(select(PromotionRow).order_by(PromotionRow.sequence.desc()).limit(1))
