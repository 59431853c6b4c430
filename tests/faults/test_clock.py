"""A clock that jumps by a day does not affect captions, limits, or trainings."""

import time

import pytest

from service.access.rates import RateLimitExceeded
from tests.support.limited_app import LimitedApp
from tests.support.pictures import picture_bytes

DAY = 24 * 3600.0


@pytest.fixture
def jump(monkeypatch):
    """Return a function that moves the clock by a number of seconds."""
    real = time.time

    def put(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + seconds)

    return put


@pytest.mark.parametrize("seconds", [DAY, -DAY])
def test_captions_and_deadlines_ignore_clock_jumps(start, jump, wait_for, seconds):
    running = start(deadline_seconds=10)
    # An open connection would count as idle for a day after the jump, and be closed.
    running.client.headers["Connection"] = "close"
    for moment in (0, seconds):
        jump(moment)
        response = running.client.post("/api/captions", content=picture_bytes(), headers={"Content-Type": "image/jpeg"})
        assert response.status_code == 201 and 0 <= response.json()["seconds"]["queue"] < 10
        correction = f"{response.headers['Location']}/correction"
        assert running.client.put(correction, json={"text": "a dog"}).status_code == 200
        wait_for(running.client)
    ids = [entry["id"] for entry in running.client.get("/api/captions").json()["captions"]]
    assert ids[0] == response.json()["id"], "the newest is first, whatever the clock"


@pytest.mark.parametrize("seconds", [DAY, -DAY])
def test_clients_are_not_locked_out_for_a_day(start, jump, seconds):
    running = start()
    running.client.headers["Connection"] = "close"
    wrong = {"Authorization": "Bearer wrong"}
    while (answer := running.client.get("/api/datasets", headers=wrong)).status_code == 401:
        pass
    assert answer.status_code == 429 and 0 < int(answer.headers["Retry-After"]) <= 60
    assert running.client.get("/api/datasets").status_code == 429
    jump(seconds)
    assert running.client.get("/api/datasets").status_code == 200
    while (answer := running.client.get("/api/datasets", headers=wrong)).status_code == 401:
        pass
    assert answer.status_code == 429, "guesses are still counted"


@pytest.mark.parametrize("seconds", [DAY, -DAY])
def test_rate_limits_do_not_last_a_day(jump, seconds):
    rates = LimitedApp(2)
    for _ in range(2):
        rates.count("10.0.0.1")
    jump(seconds)
    for _ in range(2):
        rates.count("10.0.0.1")
    with pytest.raises(RateLimitExceeded) as raised:  # requests are counted as before
        rates.count("10.0.0.1")
    assert 1 <= raised.value.seconds <= 60


def test_trainings_stay_queued_and_can_be_cancelled(start, jump):
    trainings = start().service.trainings
    request = {"dataset": "0" * 32, "replay": None}
    first = trainings.add(request)
    jump(-DAY)
    second = trainings.add(request)
    assert {training.id for training in trainings.waiting()} == {first.id, second.id}
    assert trainings.cancel(first.id).status == "cancelled" and trainings.resume(first.id).status == "queued"
