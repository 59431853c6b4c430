"""Garbage is collected again after a start, whatever happened in it."""

import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from captioner.commands.collector import paused_collector


class Cycle:
    """Object that only the collector frees."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_nothing_is_collected_in_the_context():
    assert gc.isenabled()
    with paused_collector():
        assert not gc.isenabled()
        with paused_collector():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_objects_of_the_start_are_not_visited_again_and_later_ones_are(monkeypatch):
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    gc.unfreeze()
    with paused_collector():
        objects = [[] for _ in range(100)]
    assert gc.get_freeze_count() >= len(objects)
    later = weakref.ref(Cycle())
    gc.collect()
    assert later() is None


def test_a_process_with_triton_frees_its_objects_at_the_end(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    gc.unfreeze()
    with paused_collector():
        pass
    assert gc.get_freeze_count() == 0


def test_an_error_in_the_context_resumes_the_collection():
    with pytest.raises(ValueError), paused_collector():
        raise ValueError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    try:
        with paused_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
