"""A PostgreSQL that goes away and returns loses nothing and needs no intervention."""

import contextlib
import time

import pytest

from service.jobs.worker import WorkerProcess
from tests.faults.conftest import faults
from tests.support import quick_service
from tests.support.photo_sets import photo_set, zipped
from tests.support.pictures import picture_bytes
from tests.support.servers import postgresql_server

ENDLESS = {"epochs": 5000, "patience": 5000, "batch_size": 8, "least_batches": 0, "min_count": 1, "warmup_steps": 2}


@pytest.fixture
def server():
    with postgresql_server() as server:
        yield server


def test_the_service_and_its_worker_recover_when_postgresql_returns(server, start, bundle, wait_for):
    with server.database() as address:
        running = start(bundle=bundle, device="cpu", database_url=address)
        client = running.client

        def caption():
            return client.post("/api/captions", files={"image": ("a.jpg", picture_bytes())})

        def epochs() -> int:
            document = client.get(training).json()
            assert document["state"] in ("queued", "running"), document
            return len(document["epochs"])

        def wait_for_more_than(count: int) -> int:
            end = time.monotonic() + 90
            while (now := epochs()) <= count:
                assert time.monotonic() < end, client.get(f"{training}/log").text
                time.sleep(0.1)
            return now

        document = caption().json()
        correction = f"/api/captions/{document['id']}/correction"
        assert client.put(correction, json={"text": "kept"}).status_code == 200
        data = client.post("/api/datasets", content=zipped(photo_set(20)), headers={"Content-Type": "application/zip"})
        response = client.post("/api/trainings", json={"dataset": data.json()["id"], "options": ENDLESS})
        training = f"/api/trainings/{response.json()['id']}"
        with contextlib.closing(WorkerProcess(running.service.settings, quick_service.MODULE)):
            learned = wait_for_more_than(1)

            server.stop()
            try:
                assert "check that its server is running" in wait_for(client, "database")["database"]
                assert client.get("/api/health/live").status_code == 200
                for response in (
                    caption(),
                    client.get(f"/api/captions/{document['id']}"),
                    client.put(correction, json={"text": "late"}),
                ):
                    assert response.status_code == 503 and "database" in response.json()["detail"], response.text
                assert len(list(running.service.settings.photos_folder.iterdir())) == 1, "nothing is stored in part"
                time.sleep(1.5)  # long enough for the worker to notice
            finally:
                server.start()

            wait_for(client)
            assert client.get(f"/api/captions/{document['id']}").json()["correction"]["text"] == "kept"
            assert caption().status_code == 201
            wait_for_more_than(learned)
            assert client.get(training).json()["state"] == "running" and faults(client) == {}
