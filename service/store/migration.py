"""How a database comes to have the tables of this version: step by step, by Alembic, from whatever version made it."""

import logging
from pathlib import Path

from sqlalchemy import Connection, inspect

from captioner.errors import ConfigError

_FOLDER = Path(__file__).with_name("migrations")
_BEFORE = "0001"
"""The step at which a file is that was made before there were steps."""


def migrate(connection: Connection, home: Path | None, place: str, variable: str) -> bool:
    """Bring a database up to date, within the transaction of a connection that keeps others away -> whether it is new.

    home: with the files that an earlier version kept. place, variable: what to call it in errors, and what names it.
    Raises ConfigError where a later version or another program made it.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells at length what it is about to do
    # Here, so that whoever only asks for help need not wait for it.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection, "home": home})
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    steps = ScriptDirectory.from_config(config)
    known = [step.revision for step in steps.walk_revisions()]
    match found := _step(connection):
        case "none":
            command.upgrade(config, "head")
        case "before":
            command.stamp(config, _BEFORE)
            command.upgrade(config, "head")
        case step if step == steps.get_current_head():
            pass
        case step if step in known:
            command.upgrade(config, "head")
        case step:
            raise ConfigError(
                f"{place} was not made by this version of the program (its schema is {step}, and this version's is"
                f" {steps.get_current_head()}): start the version that made it, or name another one by {variable}"
            )
    return found == "none"


def _step(connection: Connection) -> str:
    """The step at which a database is: none where it is empty, before where there were no steps yet."""
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" in tables:
        return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "unknown"
    of_file = 0
    if connection.dialect.name == "sqlite":
        of_file = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if not tables and not of_file:
        return "none"
    return "before" if of_file == 1 and "captions" in tables else f"that of another program, or {of_file}"
