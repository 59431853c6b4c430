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

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from captioner.errors import BundleError, CaptionerError
from captioner.files import replace_folder, sync_tree
from service.store.database import Database
from service.store.home import folder_exists
from service.store.leftovers import remove_abandoned, remove_unknown
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
    """A captioner or a translator that the service can use."""

    id: str
    """12 hex digits, which the captions of a captioner carry, or BUILT_IN."""
    bundle: Path
    comparison: Path | None = None
    """Folder of its comparison with the previous version."""
    facts: dict[str, Any] = field(default_factory=dict)
    """name, origin (built-in, training or upload), created_at, source (of a translator), and the facts of its training.
    """
    language: str = ""
    """Language that a translator writes, which is what requests name; empty for a captioner."""


def prepare_to_add() -> None:
    """Import what `Versions.add` needs, which takes a second or two, as that includes torch."""
    import service.store.fingerprint  # noqa: F401


class Versions:
    """The versions of one service. Safe for concurrent processes, which see changes at once."""

    def __init__(self, database: Database, home: Path, built_in: Path) -> None:
        self._database = database
        self._folder = home / "models"
        self._built_in = Version(BUILT_IN, built_in, facts={"name": built_in.name, "origin": BUILT_IN})
        self._folder.mkdir(exist_ok=True)

    def add(self, bundle: Path, facts: dict[str, Any], comparison: Path | None = None) -> Version:
        """Store a copy of the bundle of a captioner or a translator. The same one keeps its version.

        Raises BundleError if the bundle cannot be used, WeightsError if its encoder's weights are missing.
        """
        from service.store.fingerprint import identify  # imports torch, which listing versions does not need

        staging = Path(tempfile.mkdtemp(prefix=".add-", dir=self._folder))
        try:
            shutil.copytree(bundle, staging / "bundle")
            identity = identify(staging / "bundle")
            version_id = identity.version
            if comparison is not None:
                shutil.copytree(comparison, staging / "comparison")
            sync_tree(staging)
            facts = {"created_at": datetime.now(UTC).isoformat(), **facts}
            if identity.language:
                facts["source"] = identity.source
            with self._writing() as session:
                if self._find(session, version_id) is None:
                    os.chmod(staging, 0o755)
                    # A killed process may have left a folder without its row, which is replaced.
                    replace_folder(staging, self._folder / version_id)
                    is_compared = comparison is not None
                    session.merge(
                        VersionRow(id=version_id, language=identity.language, facts=facts, compared=is_compared)
                    )
            return self.get(version_id)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def all(self) -> list[Version]:
        """Return all versions of captioners and translators, newest first, the built-in captioner last."""
        with self._database.reading() as session:
            versions = [self._to_version(row) for row in session.scalars(select(VersionRow))]
        versions = [version for version in versions if version is not None]
        return [*sorted(versions, key=lambda version: version.facts["created_at"], reverse=True), self._built_in]

    def find(self, version_id: str) -> Version | None:
        with self._database.reading() as session:
            return self._find(session, version_id)

    def get(self, version_id: str) -> Version:
        """Return a version. Raises UnknownVersion if it does not exist."""
        with self._database.reading() as session:
            return self._get(session, version_id)

    @property
    def current(self) -> Version:
        """The captioner in use; the built-in one if the promoted version is missing."""
        with self._database.reading() as session:
            return self._promoted(session, "") or self._built_in

    def current_translators(self) -> dict[str, Version]:
        """Return language -> promoted translator, without languages whose built-in translator is in use, if any."""
        newest = select(func.max(PromotionRow.sequence)).where(PromotionRow.language != "")
        newest = newest.group_by(PromotionRow.language)
        with self._database.reading() as session:
            rows = session.scalars(select(PromotionRow).where(PromotionRow.sequence.in_(newest)))
            versions = {row.language: self._find(session, row.version) for row in rows}
        return {language: version for language, version in versions.items() if version is not None}

    def promote(self, version_id: str) -> Version:
        """Make a version the current captioner, or the current translator to its language. Raises UnknownVersion."""
        with self._writing() as session:
            version = self._get(session, version_id)
            last_promotion = _last_promotion(session, version.language)
            if (last_promotion.version if last_promotion else BUILT_IN) != version_id:
                session.add(PromotionRow(version=version_id, language=version.language))
                session.flush()
                newest = _promotions(version.language).with_only_columns(PromotionRow.sequence).limit(_HISTORY)
                is_older = PromotionRow.sequence.not_in(newest)
                session.execute(delete(PromotionRow).where(PromotionRow.language == version.language, is_older))
        return version

    def previous(self, language: str = "") -> Version | None:
        """Return the version before the current one; None for the built-in translator to a language, if any.

        language: of a translator; empty for the captioner. Raises VersionInUse if there is none.
        """
        with self._database.reading() as session:
            return self._find_previous(session, language)[0]

    def rollback(self, language: str = "") -> Version | None:
        """Return to the version before the current one, as `previous` does."""
        with self._writing() as session:
            version, sequence = self._find_previous(session, language)
            is_later = PromotionRow.sequence > sequence
            session.execute(delete(PromotionRow).where(PromotionRow.language == language, is_later))
        return version

    def delete(self, version_id: str) -> None:
        """Delete a version. Raises UnknownVersion, or VersionInUse for the current and the built-in version."""
        trash = Path(tempfile.mkdtemp(prefix=".gone-", dir=self._folder))
        try:
            with self._writing() as session:
                version = self._get(session, version_id)
                if version_id == BUILT_IN:
                    raise VersionInUse("the built-in captioner cannot be deleted: it is the fallback for all others")
                current = self._promoted(session, version.language)
                if current is not None and version_id == current.id:
                    raise VersionInUse(
                        f"model version {version_id} is in use: promote another version or roll back first"
                    )
                session.execute(delete(VersionRow).where(VersionRow.id == version_id))
                os.rename(version.bundle.parent, trash / version_id)
        finally:
            shutil.rmtree(trash, ignore_errors=True)

    def remove_leftovers(self) -> None:
        """Delete files left by killed processes."""
        remove_abandoned(self._folder)
        with self._database.reading() as session:
            known_ids = set(session.scalars(select(VersionRow.id)))
        remove_unknown(self._folder, _VERSION, known_ids)

    def _writing(self) -> contextlib.AbstractContextManager[Session]:
        return self._database.writing(lock_name="versions")

    def _to_version(self, row: VersionRow) -> Version | None:
        """Return the version; None if its folder is missing: deleted by hand, or by a process that was killed."""
        folder = self._folder / row.id
        if not folder_exists(folder):
            return None
        comparison = folder / "comparison" if row.compared else None
        return Version(row.id, folder / "bundle", comparison, dict(row.facts), row.language)

    def _find(self, session: Session, version_id: str) -> Version | None:
        if version_id == BUILT_IN:
            return self._built_in
        row = session.get(VersionRow, version_id) if _VERSION.fullmatch(version_id) else None
        return row and self._to_version(row)

    def _get(self, session: Session, version_id: str) -> Version:
        if (version := self._find(session, version_id)) is None:
            raise UnknownVersion(f"model version {version_id} does not exist: it was deleted, or the id is wrong")
        return version

    def _promoted(self, session: Session, language: str) -> Version | None:
        """Return the version promoted last; None if there is none, or it is missing."""
        promotion = _last_promotion(session, language)
        return promotion and self._find(session, promotion.version)

    def _find_previous(self, session: Session, language: str) -> tuple[Version | None, int]:
        """Return the last existing version before the current one, and the number of its promotion."""
        promotions = list(session.scalars(_promotions(language)))
        current = promotions[0].version if promotions else BUILT_IN
        for row in [*promotions, PromotionRow(sequence=0, version=BUILT_IN)]:
            if row.version != current and (version := self._find(session, row.version)) is not None:
                return (None if language and row.version == BUILT_IN else version), row.sequence
        raise VersionInUse("there is no version to return to: the current one is the first that was used")


def changed_bundle(version: Version) -> BundleError:
    """Return the error for a version whose files are no longer those that its id stands for."""
    return BundleError(
        f"{version.bundle} changed after it became version {version.id}: delete the version, then add it again"
    )


def _promotions(language: str) -> Select[tuple[PromotionRow]]:
    """Return the query of the promotions of a language, newest first."""
    return select(PromotionRow).where(PromotionRow.language == language).order_by(PromotionRow.sequence.desc())


def _last_promotion(session: Session, language: str) -> PromotionRow | None:
    return session.scalar(_promotions(language).limit(1))
