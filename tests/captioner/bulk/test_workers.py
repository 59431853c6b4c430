"""Worker processes read photos, and a photo that crashes or hangs its worker affects no other photo."""

import os
import signal
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import psutil
import pytest

from captioner.bulk.workers import open_workers, start_ahead
from captioner.errors import ImageError


def read(name: str, folder: str = "") -> object:
    """Stand in for decoding: the name decides the fate of the process."""
    if name.startswith("once") and not Path(folder, name).exists():
        Path(folder, name).touch()
        name = name.removeprefix("once-")
    if name == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "exit":
        os._exit(3)
    if name == "hang":
        time.sleep(3600)
    if name == "bad":
        raise ImageError("bad is damaged")
    if name == "mistake":
        raise KeyError("ours")
    if name == "torch":
        return "torch" in sys.modules, os.getpid()
    return name


def test_photos_are_read_in_a_process_without_torch():
    with open_workers(1, 60) as workers:
        has_torch, process = workers.submit(read, "torch").result()
        assert not has_torch and process != os.getpid() and psutil.pid_exists(process)
    assert not psutil.pid_exists(process)


def pixels(name: str, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [np.random.default_rng(len(shape)).integers(0, 255, shape, dtype=np.uint8) for shape in shapes]


def test_pixels_arrive_unchanged():
    small, large = (320, 320, 3), (2**22,)
    with open_workers(1, 60) as workers:
        for shapes in ((small,), (large,), ((7,), small, large, (5, 5), (0, 3))):
            answer = workers.submit(pixels, "a", *shapes).result()
            workers.submit(pixels, "a", (2**22,)).result()
            for array, expected in zip(answer, pixels("a", *shapes), strict=True):
                np.testing.assert_array_equal(array, expected)
                assert array.flags.writeable


def test_a_photo_that_kills_or_hangs_its_worker_is_named_and_the_others_are_read():
    names = ["a", "kill", "b", "exit", "hang", "c", "bad", "d"]
    with open_workers(2, 2) as workers:
        futures = {name: workers.submit(read, name) for name in names}
        for name in "abcd":
            assert futures[name].result() == name
        for name, reason in {
            "kill": r"kill ended the process that read it \(SIGKILL\)",
            "exit": r"exit ended the process that read it \(exit status 3\)",
            "hang": "hang took more than 2 s to read",
            "bad": "bad is damaged",
        }.items():
            with pytest.raises(ImageError, match=reason):
                futures[name].result()


@pytest.mark.parametrize("name", ["once-kill", "once-hang"])
def test_a_photo_is_retried_where_the_machine_may_be_the_cause(name, tmp_path):
    with open_workers(1, 2) as workers:
        assert workers.submit(read, name, str(tmp_path)).result() == name


def test_a_programming_error_is_not_reported_as_a_bad_photo():
    with open_workers(1, 60) as workers, pytest.raises(RuntimeError, match="KeyError.*ours"):
        workers.submit(read, "mistake").result()


def test_closing_does_not_wait_for_a_photo_that_hangs():
    with open_workers(1, 3600) as workers:
        workers.submit(read, "a").result()
        workers.submit(read, "hang")
        time.sleep(0.1)
        started_at = time.monotonic()
    assert time.monotonic() - started_at < 10


def finished_future(value: object) -> Future:
    future: Future = Future()
    future.set_result(value)
    return future


def test_a_limited_number_of_tasks_is_started_ahead_in_order():
    started_count, yielded_count = 0, 0

    def tasks():
        nonlocal started_count
        for number in range(100):
            started_count += 1
            assert started_count - yielded_count <= 9  # eight that wait, and the requested one
            yield number

    for number, future in start_ahead(tasks(), finished_future, 8):
        assert future.result() == number == yielded_count
        yielded_count += 1
    assert yielded_count == 100


def test_an_error_of_the_tasks_is_raised_after_earlier_results():
    def tasks():
        yield 1
        raise ImageError("the source is gone")

    before = set(threading.enumerate())
    ahead = start_ahead(tasks(), finished_future, 8)
    assert next(ahead)[0] == 1
    with pytest.raises(ImageError, match="gone"):
        next(ahead)
    ahead.close()
    assert set(threading.enumerate()) <= before
