"""One computation at a time, and a limited number that wait."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.store.turns import LineFull, Turns, WaitedTooLong


def enter(turns: Turns) -> str:
    with turns:
        return "in"


def test_the_number_of_waiting_computations_is_limited_and_each_gets_its_turn():
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


def test_waiting_times_out_and_makes_room():
    turns = Turns(waiting=1, seconds=0.01)
    with turns, ThreadPoolExecutor(1) as threads:
        for _ in range(3):
            with pytest.raises(WaitedTooLong):
                threads.submit(enter, turns).result(60)
    assert enter(turns) == "in"


def test_an_error_ends_the_turn():
    turns = Turns(waiting=1)
    with pytest.raises(ZeroDivisionError), turns:
        raise ZeroDivisionError
    assert enter(turns) == "in"
