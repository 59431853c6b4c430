"""Settings of the C library's memory allocator for loops that allocate the same large blocks repeatedly."""

import ctypes
import sys

LARGE_BLOCK = 4 * 2**20
"""Size in bytes from which the blocks of a service return to the kernel. Batches and photos of a service have many
sizes, so kept blocks of several megabytes are often too small for the next one, and its memory would grow."""

_settings: list[tuple[int, int]] = []
"""Options and values of `keep_freed_memory`; empty before it is called."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8
"""Options of glibc: M_TRIM_THRESHOLD and so on, of its malloc.h."""
_ARENAS = 2
"""Number of heaps that threads share. The default is eight per core, each of which keeps its peak size."""


def keep_freed_memory(smaller_than: int | None = None) -> None:
    """Keep freed tensors in the process instead of returning them to the kernel, page by page, at every step or batch.

    Without it, a CPU spends up to 40 % of its time in the kernel when it trains, and about 30 % when it captions eight
    photos at once. Does nothing where there is no glibc.

    smaller_than: size in bytes from which a block is returned nevertheless; None: all are kept.
    """
    large = (_MMAP_MAX, 0) if smaller_than is None else (_MMAP_THRESHOLD, smaller_than)
    _settings[:] = [(_ARENA_MAX, _ARENAS), large, (_TRIM_THRESHOLD, 2**31 - 1)]
    restore_allocator()


def restore_allocator() -> None:
    """Restore `keep_freed_memory`, if it was called, after a library has changed the allocator's settings."""
    if not _settings or sys.platform != "linux":
        return
    # No package sets glibc's allocator in a running process; its environment variables are read before Python starts.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _settings:
            mallopt(option, value)
