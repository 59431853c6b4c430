"""Captions and trainings continue while Redis is away or hangs."""

import contextlib
import signal
import time

from service.jobs.worker import POLL_SECONDS, WorkerProcess
from tests.support import quick_service
from tests.support.photo_sets import photo_set, zipped
from tests.support.pictures import picture_bytes
from tests.support.servers import redis_address, redis_process

ENDLESS = {"epochs": 5000, "patience": 5000, "batch_size": 8, "least_batches": 0, "min_count": 1, "warmup_steps": 2}


def test_captions_and_trainings_continue_while_redis_is_away_or_hangs(start, bundle, wait_for, tmp_path):
    running = start(bundle=bundle, device="cpu", redis_url=redis_address(tmp_path))
    client = running.client
    data = client.post("/api/datasets", content=zipped(photo_set(20)), headers={"Content-Type": "application/zip"})

    def caption() -> int:
        return client.post("/api/captions", files={"image": ("a.jpg", picture_bytes())}).status_code

    def train() -> str:
        response = client.post("/api/trainings", json={"dataset": data.json()["id"], "options": ENDLESS})
        assert response.status_code == 201, response.text
        return f"/api/trainings/{response.json()['id']}"

    def begins_and_is_cancelled(training: str, seconds: float) -> None:
        for expected in ("running", "cancelled"):
            end = time.monotonic() + seconds
            while (state := client.get(training).json()["state"]) != expected:
                assert state in ("queued", "running") and time.monotonic() < end, client.get(training).text
                time.sleep(0.05)
            client.post(f"{training}/cancel")

    with redis_process(tmp_path):
        wait_for(client)
        assert caption() == 201
    message = wait_for(client, "redis")["redis"]
    assert "check that it is running" in message and "until then each replica counts" in message
    assert caption() == 201
    asked_meanwhile = train()
    with contextlib.closing(WorkerProcess(running.service.settings, quick_service.MODULE)):
        begins_and_is_cancelled(asked_meanwhile, 60)
        with redis_process(tmp_path) as redis:
            wait_for(client)
            begins_and_is_cancelled(train(), 2 * POLL_SECONDS)

            redis.send_signal(signal.SIGSTOP)
            try:
                started_at = time.monotonic()
                assert [caption() for _ in range(5)] == [201] * 5
                assert time.monotonic() - started_at < 10, "Redis is waited for once"
                wait_for(client, "redis")  # the result of a moment ago is reported again
            finally:
                redis.send_signal(signal.SIGCONT)
            wait_for(client)
