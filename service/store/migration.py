"""Migrate a database of any earlier version with Alembic."""

import logging
from pathlib import Path

from sqlalchemy import Connection, inspect

from captioner.errors import ConfigError

_FOLDER = Path(__file__).with_name("migrations")
_FIRST_REVISION = "0001"
"""The revision of a file from before migrations existed."""


def migrate(connection: Connection, home: Path | None, name: str, variable: str) -> bool:
    """Migrate a database within the exclusive transaction of `connection` -> whether the database is new.

    home: folder with files of earlier versions. name, variable: name and variable of the database, for errors.
    Raises ConfigError if a later version or another program created it.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it logs every step at level info
    # Imported here to keep `--help` fast.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection, "home": home})
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    steps = ScriptDirectory.from_config(config)
    revisions = [step.revision for step in steps.walk_revisions()]
    match revision := _read_revision(connection):
        case "none":
            command.upgrade(config, "head")
        case "before":
            command.stamp(config, _FIRST_REVISION)
            command.upgrade(config, "head")
        case step if step == steps.get_current_head():
            pass
        case step if step in revisions:
            command.upgrade(config, "head")
        case step:
            raise ConfigError(
                f"{name} was not created by this version of the program (its schema is {step}, and this version's is"
                f" {steps.get_current_head()}): start the version that created it, or set another one with {variable}"
            )
    return revision == "none"


def _read_revision(connection: Connection) -> str:
    """Return the revision of a database: none if it is empty, before if it predates migrations."""
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" in tables:
        return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "unknown"
    user_version = 0
    if connection.dialect.name == "sqlite":
        user_version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if not tables and not user_version:
        return "none"
    return "before" if user_version == 1 and "captions" in tables else f"that of another program, or {user_version}"
