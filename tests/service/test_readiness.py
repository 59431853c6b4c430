"""Readiness reports faults of the captioner and of checks; other faults are tested in tests/faults."""

import threading
import time

from captioner.captioner import Captioner
from service import readiness
from service.jobs.heartbeat import Heartbeat
from tests.support.pictures import picture_bytes


class Blocked(Captioner):
    """A captioner whose model does not finish until it is allowed to."""

    release = threading.Event()

    def encode(self, pixels):
        assert self.release.wait(60)
        return super().encode(pixels)


def faults(client):
    document = client.get("/api/health/ready").json()
    return {error["where"]: error["message"] for error in document.get("errors", [])}


def wait_for(client, *where):
    end = time.monotonic() + 20
    while (messages := faults(client)).keys() != set(where):
        assert time.monotonic() < end, messages
        time.sleep(0.1)
    return messages


def test_a_model_that_hangs_is_reported(start, tiny_bundle):
    captioner = Blocked(tiny_bundle, "cpu")
    captioner.release.set()
    client = start(captioner, deadline_seconds=0.5).client
    wait_for(client)
    captioner.release.clear()
    response = client.post("/api/captions", content=picture_bytes(), headers={"Content-Type": "image/jpeg"})
    assert response.status_code == 503
    assert "busy with one batch for" in wait_for(client, "model")["model"]
    captioner.release.set()
    wait_for(client)


def test_a_stopped_model_is_reported(running):
    running.service.serving.batcher.close()
    assert "restart the service" in wait_for(running.client, "model")["model"]


def test_several_faults_are_reported_separately(running, monkeypatch):
    monkeypatch.setattr(readiness, "SILENT_SECONDS", 0.0)
    running.service.serving.batcher.close()
    messages = wait_for(running.client, "model", "worker")
    assert "captioner has stopped" in messages["model"] and "no worker has given a heartbeat" in messages["worker"]


def test_checks_that_hang_are_reported_and_block_no_other_request(running, monkeypatch):
    hangs, go_on = threading.Event(), threading.Event()

    def hang():
        hangs.set()
        assert go_on.wait(60)
        return []

    monkeypatch.setattr(running.service.readiness, "_disk_faults", hang)
    monkeypatch.setattr(readiness, "_CHECK_TIMEOUT_SECONDS", 0.1)
    first = threading.Thread(target=lambda: running.client.get("/api/health/ready"))
    first.start()
    assert hangs.wait(60)
    response = running.client.get("/api/health/ready")
    assert response.status_code == 503 and "have not finished" in response.json()["detail"]
    assert running.client.get("/api/health/live").status_code == running.client.get("/metrics").status_code == 200
    go_on.set()
    first.join()
    wait_for(running.client)


def test_frequent_requests_share_one_check(running, monkeypatch):
    probes = []
    monkeypatch.setattr(readiness, "_probe_write", probes.append)
    started = time.monotonic()
    for _ in range(20):
        assert running.client.get("/api/health/ready").status_code == 200
    assert len(probes) <= 2 * (1 + (time.monotonic() - started) // 1)


def test_a_heartbeat_counts_when_it_changes(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("service.jobs.heartbeat.time.monotonic", lambda: now[0])
    watcher, worker = Heartbeat(tmp_path), Heartbeat(tmp_path)
    now[0] += 50
    assert watcher.silent_seconds() == 50
    worker.beat()
    assert watcher.silent_seconds() == 0
    now[0] += 7
    assert watcher.silent_seconds() == 7
    worker.beat()
    assert watcher.silent_seconds() == 0
    (tmp_path / ".heartbeat").unlink()
    assert watcher.silent_seconds() == 0
    now[0] += 5
    assert watcher.silent_seconds() == 5
