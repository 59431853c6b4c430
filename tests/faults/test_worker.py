"""A worker that hangs is reported, and replaced after a while."""

import signal
import time

import psutil
import pytest

from service import readiness
from service.jobs import worker
from service.jobs.worker import WorkerProcess


@pytest.fixture
def own(start, bundle, monkeypatch):
    """Start a service with a worker and short time limits -> both."""
    monkeypatch.setattr(readiness, "SILENT_SECONDS", 3.0)
    running = start(bundle=bundle, device="cpu")
    process = WorkerProcess(running.service.settings)
    yield running, process
    process.close()


def test_a_hanging_worker_is_reported_and_then_replaced(own, wait_for, monkeypatch):
    running, process = own
    wait_for(running.client, seconds=60)
    pid = process.pid
    psutil.Process(pid).suspend()
    message = wait_for(running.client, "worker")["worker"]
    assert "no worker has given a heartbeat" in message and "restarts its worker" in message
    psutil.Process(pid).resume()
    wait_for(running.client)
    assert process.pid == pid

    monkeypatch.setattr(worker, "HUNG_SECONDS", 4.0)
    hanging = psutil.Process(process.pid)
    hanging.send_signal(signal.SIGSTOP)
    assert hanging.wait(30) is not None or not hanging.is_running()
    monkeypatch.setattr(worker, "HUNG_SECONDS", 120.0)
    end = time.monotonic() + 30
    while process.pid == hanging.pid:
        assert time.monotonic() < end
        time.sleep(0.1)
    wait_for(running.client, seconds=60)


def test_a_missing_external_worker_is_a_fault_only_while_trainings_wait(start, monkeypatch, wait_for):
    monkeypatch.setattr(readiness, "SILENT_SECONDS", 0.5)
    running = start(worker="external")
    time.sleep(1)
    wait_for(running.client)
    training = running.service.trainings.add({"dataset": "0" * 32, "replay": None})
    assert "check that `python -m service worker` is running" in wait_for(running.client, "worker")["worker"]
    running.service.trainings.cancel(training.id)
    wait_for(running.client)
