"""The C library's memory allocator, set for a loop that asks for the same large blocks again and again."""

import ctypes
import sys

_keeps = False

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # M_TRIM_THRESHOLD and so on, of glibc's malloc.h
_ARENAS = 2
"""Heaps that threads share: by default eight for each core, each of which keeps what it had at its fullest."""


def keep_freed_memory() -> None:
    """Freed tensors stay with the process instead of going back to the kernel, page by page, at every step or batch.

    Without it, a CPU spends up to 40 % of its time in the kernel when it trains, and about 30 % when it captions eight
    photos at once. Does nothing where there is no glibc.
    """
    global _keeps
    _keeps = True
    if sys.platform != "linux":
        return
    # No package sets glibc's allocator in a running process; its environment variables are read before Python starts.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, _ARENAS)
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def restore_allocator() -> None:
    """After a library has set the allocator for itself: as it was, if it kept freed memory."""
    if _keeps:
        keep_freed_memory()
