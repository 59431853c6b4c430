"""A follower calls its function until it is closed, whatever the function raises."""

import threading
import time

import pytest
from sqlalchemy.exc import OperationalError

from service.inference import following
from service.inference.following import Follower


def test_failures_are_logged_and_tried_again(monkeypatch, caplog):
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    down = OperationalError("SELECT 1", {}, Exception("no connection"))
    outcomes, done = [down, down, None, ValueError("odd"), down], threading.Event()

    def follow():
        if not outcomes:
            done.set()
        elif outcome := outcomes.pop(0):
            raise outcome

    follower = Follower(follow, "translators")
    assert done.wait(20)
    follower.close()
    assert follower.is_closed
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split(" (")[0] for message in messages] == [
        "The current translators cannot be read from the database:",
        "The current translators cannot be used: the previous one stays in use",
        "The current translators cannot be read from the database:",
    ], "a database that stays away is logged once"


@pytest.mark.parametrize("closes_itself", [False, True])
def test_closing_waits_for_a_call_in_progress(monkeypatch, closes_itself):
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    started, ended = threading.Event(), threading.Event()

    def follow():
        if not started.is_set():
            started.set()
            if closes_itself:
                follower.close()
            time.sleep(0.3)
            ended.set()

    follower = Follower(follow, "translators")
    assert started.wait(20)
    follower.close()
    assert ended.is_set() and not follower._thread.is_alive()
