"""Binding of a home folder, with its photos and captioners, to its database.

Without it, a replica whose folder is not mounted would find no photos, and a replica with another database would delete
all photos as orphans. An SQLite file lies in its home; for a shared database, the home has a mark file.
"""

import os
import uuid
from pathlib import Path

from sqlalchemy import Connection, insert, select

from captioner.errors import ConfigError
from captioner.files import read_json, write_json
from service.store.tables import IdentityRow

MARK = "database.json"


def check_home(connection: Connection, home: Path, is_shared: bool, is_new: bool) -> None:
    """Check that a home belongs to the database, and mark a new one. Raises ConfigError if it belongs to another.

    connection: in an exclusive transaction. is_shared: other machines may use the database. is_new: just created.
    """
    mark = home / MARK
    try:
        marked_id = (read_json(mark) or {}).get("id")
    except (ValueError, AttributeError):
        marked_id = "damaged"
    if not is_shared:
        if marked_id is not None:
            raise ConfigError(
                f"the photos in {home} belong to a shared database: set CAPTIONER_DATABASE_URL to it, or"
                f" delete {mark} if that database is lost for good"
            )
        return
    identity = connection.scalar(select(IdentityRow.id))
    if marked_id is None and is_new:
        identity = uuid.uuid4().hex
        connection.execute(insert(IdentityRow), {"id": identity})
        write_json(mark, {"id": identity})
    elif marked_id is None:
        raise ConfigError(
            f"{home} is not the folder of the other replicas of this database: set CAPTIONER_HOME to their shared"
            f' folder or, if it is lost, write {{"id": "{identity}"}} to {mark}'
        )
    elif marked_id != identity:
        raise ConfigError(
            f"the photos in {home} belong to another database than the one in CAPTIONER_DATABASE_URL: set the variable"
            f" to that database, or delete {mark} if it is lost for good"
        )


def folder_exists(folder: Path) -> bool:
    """Return whether a folder exists, even if another machine has just created it.

    A network file system caches a missing folder for seconds; listing its parent refreshes the cache.
    """
    return folder.is_dir() or folder.name in os.listdir(folder.parent)
