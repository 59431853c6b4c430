"""Two services and two workers as processes, on one PostgreSQL, one Redis and one folder: any may be killed."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from captioner.bundle import save_bundle
from service.settings import Settings
from tests.service.photo_sets import photo_set, zipped
from tests.service.pictures import picture_bytes

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
    )


@pytest.fixture
def begin(settings) -> Iterator[Callable[..., subprocess.Popen]]:
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
        process.terminate()  # a worker's training ends with it
    for process in processes:
        with process:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture
def replicas(begin) -> Iterator[list[tuple[subprocess.Popen, httpx.Client]]]:
    """Two services, which begin at once, with a client that has the token."""
    processes = [begin(stdout=subprocess.PIPE) for _ in range(2)]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with contextlib.ExitStack() as clients:
        yield [
            (
                process,
                clients.enter_context(
                    httpx.Client(
                        base_url=process.stdout.readline().split()[-1], headers=headers, trust_env=False, timeout=60
                    )
                ),
            )
            for process in processes
        ]


def caption(client: httpx.Client) -> dict:
    response = client.post("/api/captions", files={"image": ("a.jpg", picture_bytes())})
    assert response.status_code == 201, response.text
    return response.json()


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_one_replica_does_the_others_know_and_none_is_missed(replicas, make_bundle, tmp_path):
    (first_process, first), (_, second) = replicas
    made = caption(first)
    assert second.get(f"/api/captions/{made['id']}").json() == first.get(f"/api/captions/{made['id']}").json()
    assert second.get(f"/api/captions/{made['id']}/image").content == first.get(made["image"]["url"]).content
    assert second.put(f"/api/captions/{made['id']}/correction", json={"text": "A\0 dog."}).status_code == 200
    assert first.get(f"/api/captions/{made['id']}").json()["correction"]["text"] == "A dog."
    assert second.delete(f"/api/captions/{made['id']}").status_code == 204
    assert first.get(f"/api/captions/{made['id']}").status_code == 404
    ids = [caption(client)["id"] for client in (first, second, first)]
    for client in (first, second):
        assert [each["id"] for each in client.get("/api/captions").json()["captions"]] == ids[::-1]

    save_bundle(make_bundle(seed=1), tmp_path / "other")
    files = {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()}
    version = first.post("/api/models", content=zipped(files), headers=ZIP).json()["version"]
    assert first.post(f"/api/models/{version}/promote").status_code == 200
    wait_until(lambda: caption(second)["model"]["version"] == version, 5)
    assert second.delete(f"/api/models/{version}").status_code == 409, "it is in use"

    stranger = {"Authorization": "Bearer guess"}
    codes = [client.get("/api/models", headers=stranger).status_code for client in 6 * [first, second]]
    assert codes == [401] * 10 + [429] * 2, "they count together"

    first_process.kill()
    first_process.wait()
    assert second.get("/api/health/ready").status_code == 200
    assert caption(second)["model"]["version"] == version
    assert second.get("/api/captions").json()["total"] == len(second.get("/api/captions").json()["captions"])


def test_a_training_of_a_worker_that_is_killed_goes_on_at_another(replicas, begin):
    """And a data set that one replica was given, and the training's progress, are seen from the other."""
    (_, first), (_, second) = replicas
    data = first.post("/api/datasets?name=dogs", content=zipped(photo_set(30)), headers=ZIP).json()["id"]
    training = second.post("/api/trainings", json={"dataset": data, "options": ENDLESS}).json()["id"]
    assert first.get(f"/api/trainings/{training}").json()["position"] == 1

    def epochs() -> int:
        document = first.get(f"/api/trainings/{training}").json()
        assert document["state"] in ("queued", "running"), document
        return len(document["epochs"])

    worker = begin("worker")
    wait_until(lambda: epochs() > 1, 90)
    (child,) = psutil.Process(worker.pid).children()
    other = begin("worker")
    worker.kill()
    before = epochs()
    wait_until(lambda: psutil.Process(other.pid).children(), 60)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "never two at once"
    wait_until(lambda: epochs() > before, 90)
    assert first.post(f"/api/trainings/{training}/cancel").status_code == 200
    wait_until(lambda: second.get(f"/api/trainings/{training}").json()["state"] == "cancelled", 20)
