"""A home with photos and captioners belongs to the one database that knows them.

Else a replica whose folder is not mounted would find no photo, and one with another database would delete all of them,
as nobody knows them. A file of SQLite lies in its home; of a database elsewhere the home has a mark.
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
    """Raises ConfigError where a home belongs to another database; marks it where it belongs to none yet.

    connection: keeps others away. is_shared: whether the database may serve other machines. is_new: just made.
    """
    mark = home / MARK
    try:
        marked = (read_json(mark) or {}).get("id")
    except (ValueError, AttributeError):
        marked = "damaged"
    if not is_shared:
        if marked is not None:
            raise ConfigError(
                f"the photos in {home} belong to a database that machines share: name it by CAPTIONER_DATABASE_URL, or"
                f" delete {mark} where that database is gone for good"
            )
        return
    identity = connection.scalar(select(IdentityRow.id))
    if marked is None and is_new:
        identity = uuid.uuid4().hex
        connection.execute(insert(IdentityRow), {"id": identity})
        write_json(mark, {"id": identity})
    elif marked is None:
        raise ConfigError(
            f"{home} is not the folder that other replicas with this database use: let CAPTIONER_HOME name the folder"
            f' that they share, or, where it was lost, write {{"id": "{identity}"}} into {mark}'
        )
    elif marked != identity:
        raise ConfigError(
            f"the photos in {home} belong to another database than the one that CAPTIONER_DATABASE_URL names: name"
            f" that one, or delete {mark} where it is gone for good"
        )


def is_there(folder: Path) -> bool:
    """Whether a folder is there, also where another machine has just made it.

    A network's file system remembers for seconds that there was none; to list the folder around it asks again.
    """
    return folder.is_dir() or folder.name in os.listdir(folder.parent)
