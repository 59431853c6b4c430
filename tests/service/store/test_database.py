"""Every database gets this version's tables or an error that says why not,
and the data of earlier versions is kept."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

import service.store.home
from captioner.errors import ConfigError
from service.jobs.trainings import Trainings
from service.settings import Settings
from service.store.captions import Store
from service.store.database import Database
from service.store.datasets import DataSets
from service.store.tables import CaptionRow, Table
from service.store.versions import BUILT_IN, Versions

ROOT = Path(__file__).parents[3]
HOME_BEFORE = Path(__file__).with_name("home_of_schema_1.zip")
"""A home as the last version before migrations left it, without photos and weights: two captions, one
of them corrected, a data set, a training in each of three states, and a promoted captioner."""
VERSION, DATA_SET = "cc53284aa37c", "b4f66f6c23ec4b1096c1522c0fe22205"
WAITS, IS_CANCELLED, FINISHED = (
    "21af8376aecd4f12895ba0965991de02",
    "7cc9e103e4d7406984d461beb0e61c91",
    "9e4c051f88d4450daa8c06d5de55aa55",
)


@pytest.fixture
def home_before(tmp_path) -> Path:
    with zipfile.ZipFile(HOME_BEFORE) as archive:
        archive.extractall(tmp_path / "home")
    return tmp_path / "home"


def test_the_migrations_lead_to_the_tables_of_the_models(database):
    with database.reading() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, Table.metadata) == []


def test_the_data_of_an_earlier_version_is_kept(home_before, open_database, database_settings):
    """SQLite keeps using its file; an empty PostgreSQL imports the data of the file and the folders."""
    database = open_database()
    settings = Settings(home=home_before, **database_settings)
    with database.reading() as session:
        assert compare_metadata(MigrationContext.configure(session.connection()), Table.metadata) == []

    store = Store(database)
    (newest, oldest), total = store.page(1, 9)
    assert (total, newest.caption, newest.correction) == (2, "ein Hund läuft 🐕", "zwei Hunde")
    assert oldest.created_at == datetime(2026, 11, 20, 12, 0, 0, 123456, UTC)
    assert store.get(oldest.id).document["captions"][0]["text"] == "naïve 犬"
    assert newest.corrected_at.year == 2026 and newest.warnings is None

    trainings = Trainings(database, settings.trainings_folder)
    assert [training.id for training in trainings.waiting()] == [WAITS]
    running, finished = trainings.get(IS_CANCELLED), trainings.get(FINISHED)
    assert (running.status, running.cancelling, running.state["started_at"]) == ("running", True, 1764000000.5)
    assert (finished.status, finished.cancelling, finished.state["seconds"]) == ("finished", False, {"fit": 9.5})
    assert finished.request["options"] == {"epochs": 2} and len(trainings.all()) == 3

    (data,) = DataSets(settings, database).all()
    assert (data.id, data.name, data.usable, data.report["total"]["images"]) == (DATA_SET, "dogs", True, 4)
    assert data.root == home_before / "datasets" / DATA_SET / "data" / "dogs" and data.root.is_dir()

    versions = Versions(database, home_before, Path("built-in"))
    assert versions.current.id == VERSION and versions.current.facts["scores"]["data"]["new"] == {"CIDEr": 1.5}
    assert versions.current.comparison.is_dir()
    assert versions.rollback().id == BUILT_IN

    # New captions sort after the old ones, and a second start changes nothing.
    assert versions.promote(VERSION).id == VERSION
    reopened = open_database()
    assert Versions(reopened, home_before, Path("built-in")).current.id == VERSION
    assert Store(reopened).page(1, 9) == ([newest, oldest], 2)
    with reopened.writing() as session:
        session.add(CaptionRow(**_caption_values()))
    assert [summary.caption for summary in Store(reopened).page(1, 9)[0]][0] == "new"


def _caption_values() -> dict:
    values = {"id": "f" * 32, "created_at": 1.0, "caption": "new", "probability": 1.0, "width": 1, "height": 1}
    return values | {"model_version": VERSION, "document": {}}


def test_a_version_before_migrations_refuses_the_file(home_before):
    Database(f"sqlite:///{home_before / 'captioner.db'}", home_before).close()
    with contextlib.closing(sqlite3.connect(home_before / "captioner.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_an_interrupted_start_does_no_harm(open_database, monkeypatch):
    def fail(*_):
        raise OSError("cut short")

    with monkeypatch.context() as patch:
        patch.setattr("service.store.database.check_home", fail)  # after the tables were created
        with pytest.raises(ConfigError, match="cut short"):
            open_database()
    open_database().check()


def test_the_folder_of_the_database_is_created(tmp_path):
    Database(f"sqlite:///{tmp_path / 'new' / 'folder' / 'captioner.db'}", tmp_path).close()
    assert (tmp_path / "new" / "folder" / "captioner.db").is_file()


def garbage(file):
    file.write_bytes(b"no database" * 500)


def folder(file):
    file.mkdir()


def newer_version(file):
    Database(f"sqlite:///{file}", file.parent).close()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0099'")
    connection.close()


def of_another_program(file):
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()


def of_another_program_with_a_version(file):
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
        connection.execute("PRAGMA user_version = 1")
    connection.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (garbage, "file is not a database"),
        (folder, "unable to open database file"),
        (newer_version, "its schema is 0099, and this version's is 0006"),
        (of_another_program, "was not created by this version of the program"),
        (of_another_program_with_a_version, "was not created by this version of the program"),
    ],
)
def test_a_file_that_is_no_database_of_this_service_is_refused_unchanged(tmp_path, make, message):
    file = tmp_path / "captioner.db"
    make(file)
    before = None if file.is_dir() else file.read_bytes()
    with pytest.raises(ConfigError) as caught:
        Database(f"sqlite:///{file}", tmp_path)
    assert message in str(caught.value)
    assert f"the database {file} " in str(caught.value) and "CAPTIONER_HOME" in str(caught.value)
    assert before is None or file.read_bytes() == before


def test_a_path_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file" / "captioner.db", "/proc/captioner.db"):  # not even root may write to /proc
        with pytest.raises(ConfigError, match=f"the database {path} cannot be used .*CAPTIONER_HOME"):
            Database(f"sqlite:///{path}", tmp_path)


def test_an_unreachable_postgresql_and_a_foreign_schema_are_refused(postgresql, tmp_path):
    settings = Settings(home=tmp_path, database_url=postgresql)
    with psycopg.connect(postgresql) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(ConfigError, match="its schema is that of another program.* CAPTIONER_DATABASE_URL"):
        Database(settings.database, tmp_path)
    away = settings.database.set(host="127.0.0.1", port=1, password="secret-word", query={})
    with pytest.raises(ConfigError, match="check that .* its server is running.*CAPTIONER_DATABASE_URL") as caught:
        Database(away, tmp_path)
    assert "secret-word" not in str(caught.value)


def test_a_read_sees_a_single_snapshot(open_database):
    """Two queries of a page must not see two states of the database."""
    database, other = open_database(), open_database()
    with database.reading() as session:
        assert session.query(CaptionRow).count() == 0
        with other.writing() as writer:
            writer.add(CaptionRow(**_caption_values()))
        assert session.query(CaptionRow).count() == 0
    with database.reading() as session:
        assert session.query(CaptionRow).count() == 1


def test_a_home_belongs_to_the_database_that_knows_its_photos(postgresql, tmp_path):
    def start(home: str, url: str | None = postgresql) -> None:
        settings = Settings(home=tmp_path / home, database_url=url)
        settings.make_home()
        Database(settings.database, settings.home).close()

    start("shared")
    start("shared")
    with pytest.raises(ConfigError, match="is not the folder of the other replicas"):
        start("own")
    with pytest.raises(ConfigError, match="belong to a shared database"):
        start("shared", None)
    mark = tmp_path / "shared" / service.store.home.MARK
    (tmp_path / "own" / service.store.home.MARK).write_text(mark.read_text())
    start("own")
    mark.write_text(json.dumps({"id": "0" * 32}))
    with pytest.raises(ConfigError, match="belong to another database"):
        start("shared")


HOLDER = """
import sys
from pathlib import Path
from sqlalchemy import make_url
from service.store.database import Database
with Database(make_url(sys.argv[1]), Path(sys.argv[2])).lock("it") as is_lost:
    print(is_lost(), flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_held_across_connections_until_its_holder_ends_in_any_way(postgresql, tmp_path):
    settings = Settings(home=tmp_path, database_url=postgresql)
    database = Database(settings.database, tmp_path)
    arguments = [settings.database.render_as_string(hide_password=False), str(tmp_path)]
    command = [sys.executable, "-c", HOLDER, *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == "False\n"
        with database.lock("it") as is_lost, database.lock("another") as other:
            assert is_lost is None and other() is False
        process.kill()
    end = time.monotonic() + 10
    while True:
        with database.lock("it") as is_lost:
            if is_lost is not None:
                break
        assert time.monotonic() < end
    with database.lock("it") as is_lost:
        with psycopg.connect(postgresql, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert is_lost(), "its connection is closed"
    database.check()
    database.close()
