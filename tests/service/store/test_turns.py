"""One at a time, and no more than a few that wait."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.store.turns import LineFull, Turns, WaitedTooLong


def enter(turns: Turns) -> str:
    with turns:
        return "in"


def test_no_more_wait_than_may_and_those_have_their_turn():
    turns = Turns(waiting=2)
    with ThreadPoolExecutor(2) as threads:
        with turns:
            waiting = [threads.submit(enter, turns) for _ in range(2)]
            while turns._line._value:  # until both wait
                threading.Event().wait(0.01)
            with pytest.raises(LineFull):
                enter(turns)
        assert [each.result(60) for each in waiting] == ["in", "in"]
    assert enter(turns) == "in"


def test_nobody_waits_longer_than_allowed_and_who_gave_up_makes_room():
    turns = Turns(waiting=1, seconds=0.01)
    with turns, ThreadPoolExecutor(1) as threads:
        for _ in range(3):
            with pytest.raises(WaitedTooLong):
                threads.submit(enter, turns).result(60)
    assert enter(turns) == "in"


def test_a_turn_ends_with_an_error():
    turns = Turns(waiting=1)
    with pytest.raises(ZeroDivisionError), turns:
        raise ZeroDivisionError
    assert enter(turns) == "in"
