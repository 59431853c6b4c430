"""The C allocator is configured where it supports it, and left alone elsewhere."""

import ctypes
import sys

import pytest

from captioner.model import allocator


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    """Let no test leave settings for others, which would apply them."""
    monkeypatch.setattr(allocator, "_settings", [])


class Library:
    def __init__(self):
        self.calls = []

    def mallopt(self, option, value):
        self.calls.append((option, value))
        return 1


def test_the_allocator_keeps_freed_memory(monkeypatch):
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(sys, "platform", "linux")
    allocator.keep_freed_memory()
    # M_ARENA_MAX 2: threads share two heaps.
    # M_MMAP_MAX 0: no block is mapped separately; M_TRIM_THRESHOLD: no memory is returned to the kernel.
    assert library.calls == [(-8, 2), (-4, 0), (-1, 2**31 - 1)]


def test_large_blocks_return_to_the_kernel_if_asked_for(monkeypatch):
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(sys, "platform", "linux")
    allocator.keep_freed_memory(smaller_than=5000)
    expected = [(-8, 2), (-3, 5000), (-1, 2**31 - 1)]  # M_MMAP_THRESHOLD: larger blocks are mapped separately
    assert library.calls == expected
    library.calls.clear()
    allocator.restore_allocator()
    assert library.calls == expected


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_no_library_is_loaded_on_other_systems(monkeypatch, platform):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("a C library was loaded"))
    monkeypatch.setattr(sys, "platform", platform)
    allocator.keep_freed_memory()


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    monkeypatch.setattr(sys, "platform", "linux")
    allocator.keep_freed_memory()


def test_keep_again_only_repeats_an_earlier_setting(monkeypatch):
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(sys, "platform", "linux")
    allocator.restore_allocator()
    assert not library.calls
    allocator.keep_freed_memory()
    library.calls.clear()
    allocator.restore_allocator()
    assert library.calls == [(-8, 2), (-4, 0), (-1, 2**31 - 1)]
