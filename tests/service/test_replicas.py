"""Two services and two workers as processes, on one PostgreSQL, one Redis and one folder: any may be killed."""

import contextlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from captioner.bundle.bundle import save_bundle
from service.jobs.trainings import Trainings
from service.settings import Settings
from service.store.database import Database
from service.store.datasets import DataSets
from tests.support.photo_sets import photo_set, zipped
from tests.support.pictures import picture_bytes

pytestmark = pytest.mark.stress

ROOT = Path(__file__).parents[2]
TOKEN = "0123456789abcdef"
ZIP = {"Content-Type": "application/zip"}
ENDLESS = {"epochs": 5000, "patience": 5000, "batch_size": 8, "least_batches": 0, "min_count": 1, "warmup_steps": 2}


@pytest.fixture
def settings(postgresql, redis, tiny_bundle, tmp_path) -> Settings:
    save_bundle(tiny_bundle, tmp_path / "bundle")
    return Settings(
        home=tmp_path / "home",
        bundle=tmp_path / "bundle",
        port=0,
        device="cpu",
        admin_token=TOKEN,
        worker="external",
        database_url=postgresql,
        redis_url=redis,
        threads=1,
    )


@pytest.fixture
def start_process(settings) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start `python -m service` with arguments."""
    processes = []

    def start(*arguments: str, **pipes) -> subprocess.Popen:
        command = [sys.executable, "-m", "service", *arguments]
        processes.append(
            subprocess.Popen(command, cwd=ROOT, env=os.environ | settings.environment(), text=True, **pipes)
        )
        return processes[-1]

    yield start
    for process in processes:
        process.terminate()  # the training of a worker ends with it
    for process in processes:
        with process:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def client_of(process: subprocess.Popen) -> Iterator[httpx.Client]:
    """Yield a client with the token, once the service is ready."""
    url = process.stdout.readline().split()[-1]
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, verify=False, timeout=60
    ) as client:
        yield client


def caption(client: httpx.Client) -> dict:
    response = client.post("/api/captions", files={"image": ("a.jpg", picture_bytes())})
    assert response.status_code == 201, response.text
    return response.json()


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_replicas_share_their_state_and_any_may_be_missing(start_process, make_bundle, tmp_path):
    # At the same time: one of them creates the tables.
    processes = [start_process(stdout=subprocess.PIPE) for _ in range(2)]
    with client_of(processes[0]) as first, client_of(processes[1]) as second:
        captions_are_shared(first, second)
        promotions_are_shared(first, second, make_bundle, tmp_path)
        data_sets_and_trainings_are_shared(first, second)
        stranger = {"Authorization": "Bearer guess"}
        codes = [client.get("/api/models", headers=stranger).status_code for client in 6 * [first, second]]
        assert codes == [401] * 10 + [429] * 2, "replicas count together"

        processes[0].kill()
        processes[0].wait()
        assert second.get("/api/health/ready").status_code == 200
        total = second.get("/api/captions").json()["total"]
        caption(second)
        assert second.get("/api/captions").json()["total"] == total + 1


def test_the_collection_of_a_killed_replica_is_captioned_by_another(start_process):
    processes = [start_process(stdout=subprocess.PIPE) for _ in range(2)]
    with client_of(processes[0]) as first, client_of(processes[1]) as second:
        files = {f"{number}.jpg": picture_bytes(seed=number) for number in range(200)}
        created = first.post("/api/collections", content=zipped(files), headers=ZIP).json()
        url = f"/api/collections/{created['id']}"
        wait_until(lambda: second.get(url).json()["captioned"], 60)
        processes[0].kill()
        processes[0].wait()
        assert second.patch(f"{url}/photos/200", json={"caption": "mine", "version": 0}).status_code == 200
        wait_until(lambda: second.get(url).json()["state"] == "done", 90)
        document = second.get(url).json()
        assert (document["photos"], document["captioned"], document["failed"]) == (200, 200, 0)
        photos = second.get(f"{url}/photos?limit=500").json()["photos"]
        assert all(photo["generated"] for photo in photos) and photos[-1]["caption"] == "mine"


def captions_are_shared(first: httpx.Client, second: httpx.Client) -> None:
    document = caption(first)
    assert second.get(f"/api/captions/{document['id']}").json() == first.get(f"/api/captions/{document['id']}").json()
    assert second.get(f"/api/captions/{document['id']}/image").content == first.get(document["image"]["url"]).content
    assert second.put(f"/api/captions/{document['id']}/correction", json={"text": "A\0 dog."}).status_code == 200
    assert first.get(f"/api/captions/{document['id']}").json()["correction"]["text"] == "A dog."
    assert second.delete(f"/api/captions/{document['id']}").status_code == 204
    assert first.get(f"/api/captions/{document['id']}").status_code == 404
    ids = [caption(client)["id"] for client in (first, second, first)]
    for client in (first, second):
        assert [entry["id"] for entry in client.get("/api/captions").json()["captions"]] == ids[::-1]


def promotions_are_shared(first: httpx.Client, second: httpx.Client, make_bundle, tmp_path: Path) -> None:
    save_bundle(make_bundle(seed=1), tmp_path / "other")
    files = {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()}
    version = first.post("/api/models", content=zipped(files), headers=ZIP).json()["version"]
    assert first.post(f"/api/models/{version}/promote").status_code == 200
    wait_until(lambda: caption(second)["model"]["version"] == version, 20)
    assert second.delete(f"/api/models/{version}").status_code == 409, "it is in use"


def data_sets_and_trainings_are_shared(first: httpx.Client, second: httpx.Client) -> None:
    data = first.post("/api/datasets?name=dogs", content=zipped(photo_set(30)), headers=ZIP).json()["id"]
    assert second.get(f"/api/datasets/{data}/thumbnails/0.jpg").status_code == 200
    training = second.post("/api/trainings", json={"dataset": data, "options": ENDLESS}).json()["id"]
    assert first.get(f"/api/trainings/{training}").json()["position"] == 1
    assert first.post(f"/api/trainings/{training}/cancel").json()["state"] == "cancelled"
    assert second.get(f"/api/trainings/{training}").json()["state"] == "cancelled"


def test_the_training_of_a_killed_worker_continues_in_another(settings, start_process):
    settings.make_home()
    with contextlib.closing(Database(settings.database, settings.home)) as database:
        data = DataSets(settings, database).add_zip(io.BytesIO(zipped(photo_set(30))), "dogs", settings.bundle)
        trainings = Trainings(database, settings.trainings_folder)
        request = {"start": "built-in", "preset": None, "replay": None, "promote_margin": None}
        training = trainings.add(request | {"dataset": data.id, "options": ENDLESS, "chosen": ENDLESS})

        def epochs() -> int:
            assert trainings.get(training.id).status in ("queued", "running"), training.log.read_text()
            log = training.run / "log.jsonl"
            return len(log.read_text().splitlines()) if log.exists() else 0

        worker = start_process("worker")
        wait_until(lambda: epochs() > 1, 90)
        (child,) = psutil.Process(worker.pid).children()
        other = start_process("worker")
        worker.kill()
        wait_until(lambda: psutil.Process(other.pid).children(), 60)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "never two trainings at the same time"
        epochs_before = epochs()
        wait_until(lambda: epochs() > epochs_before, 90)
        trainings.cancel(training.id)
        wait_until(lambda: trainings.get(training.id).status == "cancelled", 20)
