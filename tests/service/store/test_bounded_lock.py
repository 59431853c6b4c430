"""One computation at a time, and a limited number that wait."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.store.bounded_lock import BoundedLock, TooManyWaiting, WaitTimeout


def enter(lock: BoundedLock) -> str:
    with lock:
        return "in"


def test_the_number_of_waiting_computations_is_limited_and_each_gets_its_turn():
    lock = BoundedLock(max_waiting=2)
    with ThreadPoolExecutor(2) as threads:
        with lock:
            futures = [threads.submit(enter, lock) for _ in range(2)]
            while lock._waiters._value:  # until both wait
                threading.Event().wait(0.01)
            with pytest.raises(TooManyWaiting):
                enter(lock)
        assert [future.result(60) for future in futures] == ["in", "in"]
    assert enter(lock) == "in"


def test_waiting_times_out_and_makes_room():
    lock = BoundedLock(max_waiting=1, seconds=0.01)
    with lock, ThreadPoolExecutor(1) as threads:
        for _ in range(3):
            with pytest.raises(WaitTimeout):
                threads.submit(enter, lock).result(60)
    assert enter(lock) == "in"


def test_an_error_ends_the_turn():
    lock = BoundedLock(max_waiting=1)
    with pytest.raises(ZeroDivisionError), lock:
        raise ZeroDivisionError
    assert enter(lock) == "in"
