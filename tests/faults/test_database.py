"""A locked database delays or refuses writes, and recovers."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import OperationalError

from service.store import captions as store
from service.store import database
from tests.support.pictures import picture_bytes

KEEPER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock in another process."""
    command = [sys.executable, "-c", KEEPER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield


def test_a_locked_database_refuses_writes_allows_reads_and_recovers(start, monkeypatch, wait_for):
    monkeypatch.setattr(database, "_BUSY_MS", 3000)
    monkeypatch.setattr(database, "_CHECK_MS", 200)
    running = start()
    client, file = running.client, running.service.settings.home / "captioner.db"

    def caption():
        return client.post("/api/captions", content=picture_bytes(), headers={"Content-Type": "image/jpeg"})

    document = caption().json()
    correction = f"/api/captions/{document['id']}/correction"
    with locked(file):
        assert "locked" in wait_for(client, "database")["database"]
        answers = []
        writers = [
            threading.Thread(target=lambda: answers.append(client.put(correction, json={"text": "late"})))
            for _ in range(20)
        ]
        for writer in writers:
            writer.start()
        assert client.get("/api/captions").json()["total"] == 1
        assert client.get(f"/api/captions/{document['id']}").json() == document
        assert not answers, "reads do not wait for the lock that these writers wait for"
        for writer in writers:
            writer.join()
        assert {answer.status_code for answer in answers} == {503}
        assert all("database" in answer.json()["detail"] for answer in answers)
        assert caption().status_code == 503
        assert len(list(running.service.settings.photos_folder.iterdir())) == 1
    wait_for(client)
    assert caption().status_code == 201

    with locked(file):
        writer = threading.Thread(target=lambda: answers.append(client.put(correction, json={"text": "in time"})))
        writer.start()
        time.sleep(0.5)
    writer.join()
    assert answers[-1].status_code == 200, "the lock was released before the writer timed out"
    assert client.get(f"/api/captions/{document['id']}").json()["correction"]["text"] == "in time"


def test_a_caption_is_kept_where_trimming_the_history_fails(start, monkeypatch, caplog):
    running = start(history=1)
    monkeypatch.setattr(store.Store, "trim", _locked)
    for _ in range(2):
        response = running.client.post("/api/captions", content=picture_bytes(), headers={"Content-Type": "image/jpeg"})
        assert response.status_code == 201 and running.client.get(response.headers["Location"]).status_code == 200
    assert "The oldest captions could not be deleted yet" in caplog.text


def _locked(*_):
    raise OperationalError("DELETE", {}, Exception("database is locked"))
