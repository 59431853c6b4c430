"""From a data set to a version in use: real processes, some of which are killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import httpx
import psutil
import pytest

from captioner.bundle.bundle import save_bundle
from service.jobs.worker import WorkerProcess
from service.settings import Settings
from tests.support import quick_service
from tests.support.photo_sets import photo_bytes, photo_set, zipped
from tests.support.serving import Running

pytestmark = pytest.mark.stress

ZIP = {"Content-Type": "application/zip"}
BRIEF = {"epochs": 2, "batch_size": 8, "least_batches": 0, "min_count": 1, "warmup_steps": 2, "learning_rate": 0.01}
ENDLESS = {**BRIEF, "epochs": 5000, "patience": 5000}


@pytest.fixture
def service(start, tiny_bundle, tmp_path) -> Running:
    """A service whose built-in captioner is a folder, as other processes need one."""
    save_bundle(tiny_bundle, tmp_path / "bundle")
    return start(bundle=tmp_path / "bundle", device="cpu")


@pytest.fixture
def dataset(service) -> str:
    response = service.client.post("/api/datasets?name=dogs", content=zipped(photo_set(30)), headers=ZIP, timeout=60)
    return response.json()["id"]


@pytest.fixture
def work(service) -> Iterator[Callable[..., WorkerProcess]]:
    """Start workers, by default with trainings that run without Java."""
    workers = []

    def start_worker(module: str = quick_service.MODULE) -> WorkerProcess:
        workers.append(WorkerProcess(service.service.settings, module))
        return workers[-1]

    yield start_worker
    for worker in workers:
        worker.close()


def ask(service: Running, dataset: str, **body) -> str:
    response = service.client.post("/api/trainings", json={"dataset": dataset, "options": BRIEF} | body, timeout=60)
    assert response.status_code == 201, response.text
    return response.json()["id"]


def get(service: Running, training: str) -> dict:
    return service.client.get(f"/api/trainings/{training}").raise_for_status().json()


def wait_until(service: Running, training: str, condition: Callable[[dict], object], seconds: float = 150) -> dict:
    end = time.monotonic() + seconds
    while not condition(document := get(service, training)):
        assert time.monotonic() < end, (document, service.client.get(f"/api/trainings/{training}/log").text)
        time.sleep(0.1)
    return document


def state(*names: str) -> Callable[[dict], bool]:
    return lambda document: document["state"] in names


def learned(epochs: int) -> Callable[[dict], bool]:
    return lambda document: len(document["epochs"]) > epochs


def process_of(worker: WorkerProcess) -> psutil.Process:
    """Return the training process of a worker; it exists a moment after the training began."""
    end = time.monotonic() + 20
    while not (children := psutil.Process(worker.pid).children()):
        assert time.monotonic() < end
        time.sleep(0.01)
    (child,) = children
    return child


def test_a_data_set_becomes_a_promoted_captioner(service, dataset, work, jpeg):
    client = service.client
    training = ask(service, dataset, replay=dataset, promote_margin=-100)
    queued = get(service, training)
    assert (queued["state"], queued["position"], queued["start"]) == ("queued", 1, "built-in")
    assert queued["options"]["epochs"] == 2 and queued["options"]["patience"] == 4, "the preset's value"
    with client.stream("GET", f"/api/trainings/{training}/events", timeout=150) as stream:
        work("service")
        blocks = "".join(stream.iter_text()).split("\n\n")
    events = [json.loads(block.partition("data: ")[2]) for block in blocks if block.startswith("event: training")]
    states = [event["state"] for event in events]
    assert states == sorted(states, key=["queued", "running", "finished"].index) and states[-1] == "finished"
    stages = {event["progress"]["stage"] for event in events if event["progress"]}
    assert {"validating", "comparing"} <= stages <= {"starting", "encoding", "training", "validating", "comparing"}

    finished = events[-1]
    assert finished == get(service, training)
    assert [epoch["epoch"] for epoch in finished["epochs"]] == [0, 1, 2] and finished["epochs"][1]["loss"] > 0
    losses = [epoch["losses"] for epoch in finished["epochs"]]
    assert losses[0] == {} and losses[1].keys() >= {"cross_entropy", "doubly_stochastic"}
    assert 0 < losses[1]["cross_entropy"] <= finished["epochs"][1]["loss"] + 1e-4
    assert set(finished["seconds"]) == {"fit", "compare", "switching"} and finished["promoted"] is True
    sample = finished["samples"][0]
    assert [caption["epoch"] for caption in sample["captions"]] == [0, 1, 2] and sample["references"]
    assert client.get(sample["photo"]).headers["Content-Type"] == "image/jpeg"

    while not (version := client.get(f"/api/models/{finished['version']}").json())["current"]:
        time.sleep(0.1)  # until the service has loaded it
    assert version["dataset"] == {"id": dataset, "name": "dogs"}
    assert (version["training"], version["started_from"], version["compared_with"]) == (
        training,
        "built-in",
        "built-in",
    )
    assert version["scores"]["replay"]["split"] == "val", "replayed photos are scored"
    scores = version["scores"]["data"]
    assert scores["images"] >= 1 and {"CIDEr", "METEOR"} <= scores["new"].keys() == scores["old"].keys()
    assert "Started from" in version["card"] and version["options"] == finished["options"]
    comparison = client.get(f"/api/models/{finished['version']}/comparison").json()
    for photo in comparison["photos"]:
        assert photo["references"] and photo["new"]["words"] and photo["old"]["words"]
        assert client.get(photo["photo"]).headers["Content-Type"] == "image/jpeg"

    document = client.post("/api/captions", content=jpeg, headers={"Content-Type": "image/jpeg"}).json()
    assert document["model"]["version"] == finished["version"]
    assert client.post("/api/models/rollback").json()["version"] == "built-in"
    assert client.delete(f"/api/trainings/{training}").status_code == 204
    model_url = f"/api/models/{finished['version']}"
    assert client.get(model_url).status_code == 200, "the version is kept without its training"


def test_one_training_runs_at_a_time_and_cancelling_takes_seconds(service, dataset, work):
    client = service.client
    first, second, third = (ask(service, dataset, options=ENDLESS) for _ in range(3))
    assert [get(service, training_id)["position"] for training_id in (first, second, third)] == [1, 2, 3]
    worker, other = work(), work()
    wait_until(service, first, learned(1))
    assert psutil.Process(worker.pid).children() == [] or psutil.Process(other.pid).children() == []
    running = next(children for candidate in (worker, other) if (children := psutil.Process(candidate.pid).children()))
    assert running[0].nice() == 19, "captions come first"
    assert [get(service, training_id)["position"] for training_id in (second, third)] == [1, 2]
    assert client.delete(f"/api/trainings/{first}").status_code == 409
    assert client.delete(f"/api/datasets/{dataset}").status_code == 409

    assert client.post(f"/api/trainings/{third}/cancel").json()["state"] == "cancelled", "it was queued"
    began = time.monotonic()
    client.post(f"/api/trainings/{first}/cancel")
    cancelled = wait_until(service, first, state("cancelled"), 20)
    assert time.monotonic() - began < 20 and not cancelled["stopping"]
    folder = service.service.settings.trainings_folder / first
    assert (folder / "run" / "checkpoint.pt").is_file() and (folder / "run" / "bundle" / "config.json").is_file()
    wait_until(service, second, state("running"))
    assert client.post(f"/api/trainings/{first}/cancel").status_code == 409

    assert client.post(f"/api/trainings/{first}/resume").json()["position"] == 1
    client.post(f"/api/trainings/{second}/cancel")
    epochs_before = len(cancelled["epochs"])
    resumed = wait_until(service, first, learned(epochs_before))
    assert resumed["epochs"][:epochs_before] == cancelled["epochs"], "it resumes where it stopped"
    client.post(f"/api/trainings/{first}/cancel")
    wait_until(service, first, state("cancelled"), 20)


def test_a_killed_training_fails_and_can_be_resumed(service, dataset, work):
    training = ask(service, dataset, options=ENDLESS)
    worker = work()
    progress = wait_until(service, training, learned(2))
    process_of(worker).send_signal(signal.SIGKILL)
    failed = wait_until(service, training, state("failed"))
    assert "ran out of memory" in failed["message"] and "resume it" in failed["message"]
    assert "--- fit ---" in service.client.get(f"/api/trainings/{training}/log").text
    assert service.client.get("/api/health/ready").status_code == 200
    service.client.post(f"/api/trainings/{training}/resume")
    resumed = wait_until(service, training, learned(len(failed["epochs"])))
    assert resumed["epochs"][: len(progress["epochs"])] == progress["epochs"]


@pytest.mark.parametrize("moment", ["starting", "training", "comparing"])
def test_a_killed_worker_loses_no_training(service, dataset, work, moment):
    training = ask(service, dataset, options={**BRIEF, "epochs": 4})
    worker = work()
    wait_until(service, training, lambda document: (document["progress"] or {}).get("stage") == moment)
    child = process_of(worker)
    psutil.Process(worker.pid).kill()  # the service restarts its own worker
    psutil.wait_procs([child], timeout=30)
    assert not child.is_running(), "its training ends with it"
    finished = wait_until(service, training, state("finished", "failed"))
    assert finished["state"] == "finished", finished
    assert [epoch["epoch"] for epoch in finished["epochs"]] == [0, 1, 2, 3, 4]
    models = [model["version"] for model in service.client.get("/api/models").json()["models"]]
    assert models == [finished["version"], "built-in"]


def test_a_worker_that_ends_returns_its_training_to_the_queue(service, dataset, work):
    training = ask(service, dataset, options=ENDLESS)
    worker = work()
    progress = wait_until(service, training, learned(1))
    worker.close()
    assert get(service, training)["state"] == "queued"
    work()
    wait_until(service, training, learned(len(progress["epochs"])))


def test_invalid_requests_and_diverged_trainings_are_reported(service, dataset, work):
    requests = {
        "unknown option epoch": {"options": {"epoch": 3}},
        "patience must be": {"options": {"patience": 0}},
        "learning_rate must be": {"options": {"learning_rate": 10**400}},
        "by --seed": {"options": {"seed": 1}},
        "leave it out, or change start": {"start": "scratch", "replay": dataset},
    }
    for message, body in requests.items():
        response = service.client.post("/api/trainings", json={"dataset": dataset} | body, timeout=60)
        assert response.status_code == 422 and message in response.json()["detail"].lower(), response.text
    for body in (
        {"dataset": "0" * 32},
        {"dataset": dataset, "replay": "0" * 32},
        {"dataset": dataset, "start": "0" * 12},
    ):
        assert service.client.post("/api/trainings", json=body).status_code == 404
    assert service.client.get("/api/trainings").json()["trainings"] == []

    training = ask(service, dataset, options={**BRIEF, "learning_rate": 1e30})
    work()
    failed = wait_until(service, training, state("failed"))
    assert "start again with a lower learning rate" in failed["message"]


def test_training_from_scratch_needs_no_start_version(service, dataset):
    training = ask(service, dataset, start="scratch", preset=None)
    document = get(service, training)
    assert document["start"] == "scratch" and document["options"]["distillation_weight"] == 0


def test_a_training_that_kills_its_worker_repeatedly_fails(service, dataset, work):
    training = ask(service, dataset)
    trainings = service.service.trainings
    trainings.change(training, lambda now: now.state | {"state": "running", "attempts": 3, "started_at": time.time()})
    work()
    failed = wait_until(service, training, state("failed"), 30)
    assert "its worker was killed 3 times" in failed["message"]
    service.client.post(f"/api/trainings/{training}/resume")
    wait_until(service, training, state("running"))


def test_an_unknown_training_is_not_found(client):
    for request in ("GET ", "GET /events", "GET /log", "GET /samples/0.jpg", "POST /cancel", "POST /resume", "DELETE "):
        method, path = request.split(" ")
        assert client.request(method, f"/api/trainings/{'0' * 32}{path}").status_code == 404


def test_redis_can_hold_the_queue(start, tiny_bundle, tmp_path, redis):
    save_bundle(tiny_bundle, tmp_path / "bundle")
    service = start(bundle=tmp_path / "bundle", device="cpu", redis_url=redis)
    response = service.client.post("/api/datasets", content=zipped(photo_set(30)), headers=ZIP, timeout=60)
    worker = WorkerProcess(service.service.settings, quick_service.MODULE)
    try:
        training = ask(service, response.json()["id"], options=ENDLESS)
        wait_until(service, training, state("running"))
    finally:
        worker.close()
    assert not (service.service.settings.home / "queue.db").exists()


@pytest.mark.parametrize("moment", ["training", "comparing"])
def test_a_killed_service_continues_its_training_after_a_restart(tiny_bundle, tmp_path, moment):
    """End to end as processes: the service, its own worker, and the training."""
    save_bundle(tiny_bundle, tmp_path / "bundle")
    token = "0123456789abcdef"
    settings = Settings(home=tmp_path / "home", bundle=tmp_path / "bundle", port=0, admin_token=token, device="cpu")
    environment = os.environ | settings.environment()
    command = [sys.executable, "-m", quick_service.MODULE]

    @contextlib.contextmanager
    def service() -> Iterator[httpx.Client]:
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                url = process.stdout.readline().split()[-1]
                headers = {"Authorization": f"Bearer {token}"}
                with httpx.Client(base_url=url, headers=headers, trust_env=False, verify=False, timeout=60) as client:
                    yield client
            finally:
                process.kill()

    def stage(client: httpx.Client) -> str:
        document = client.get(f"/api/trainings/{training}").raise_for_status().json()
        return (document["progress"] or {}).get("stage") or document["state"]

    def wait_for(client: httpx.Client, *stages: str) -> str:
        end = time.monotonic() + 120
        while (now := stage(client)) not in stages:
            assert time.monotonic() < end and now != "failed", client.get(f"/api/trainings/{training}").text
            time.sleep(0.05)
        return now

    with service() as client:
        dataset = client.post("/api/datasets", content=zipped(photo_set(30)), headers=ZIP).json()["id"]
        body = {"dataset": dataset, "options": {**BRIEF, "epochs": 8}, "promote_margin": -100}
        training = client.post("/api/trainings", json=body).json()["id"]
        wait_for(client, moment, "finished")
    with service() as client:
        wait_for(client, "finished")
        document = client.get(f"/api/trainings/{training}").json()
        assert [epoch["epoch"] for epoch in document["epochs"]] == list(range(len(document["epochs"])))
        current = client.get("/api/models").json()["models"][0]
        assert current["version"] == document["version"] and document["promoted"]
        while client.get("/api/models/current").json()["version"] != document["version"]:
            time.sleep(0.1)
        caption = client.post("/api/captions", files={"image": photo_bytes(1)}).json()
        assert caption["model"]["version"] == document["version"]
