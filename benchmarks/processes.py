"""Processor time and memory of a process with its children."""

import contextlib
from collections.abc import Iterator

import psutil


def family(process: psutil.Process) -> Iterator[psutil.Process]:
    """Yield a process and its children that run."""
    yield process
    with contextlib.suppress(psutil.NoSuchProcess):
        yield from process.children(recursive=True)


def cpu_seconds(process: psutil.Process) -> float:
    """Return the processor time of a process and its children, also of those that have ended."""
    seconds = 0.0
    for each in family(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            seconds += times.user + times.system
            if each == process:
                seconds += times.children_user + times.children_system
    return seconds


def memory_mb(process: psutil.Process) -> float:
    """Return the memory of a process and its children in MB. Pages that they share count once, where Linux tells."""
    size = 0
    for each in family(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            memory = each.memory_full_info()
            size += getattr(memory, "pss", memory.rss)
    return size / 1e6
