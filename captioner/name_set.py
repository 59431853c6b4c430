"""A set of millions of names in eight bytes each."""

import os
from hashlib import blake2b

import numpy as np

_RECENT = 65_536


def name_hash(name: str) -> int:
    """64 bits of a name, the same in every process and on every machine."""
    return int.from_bytes(blake2b(os.fsencode(name), digest_size=8).digest())


class NameSet:
    """Names by their 64-bit hashes: of ten million names, two are taken for one with a chance of three in a million."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, dtype=np.uint64)
        self._recent: set[int] = set()
        """Hashes that are not among the sorted ones yet; few, as each takes ten times as much memory."""

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def __contains__(self, name: str) -> bool:
        return self._holds(name_hash(name))

    def add(self, name: str) -> bool:
        """Whether the name was not there yet."""
        value = name_hash(name)
        if self._holds(value):
            return False
        self._recent.add(value)
        if len(self._recent) >= _RECENT:
            recent = np.fromiter(self._recent, np.uint64, len(self._recent))
            recent.sort()
            # Stable: two sorted runs are merged in linear time.
            self._sorted = np.sort(np.concatenate([self._sorted, recent]), kind="stable")
            self._recent.clear()
        return True

    def _holds(self, value: int) -> bool:
        if value in self._recent:
            return True
        place = self._sorted.searchsorted(np.uint64(value))  # a plain int would make floats of all
        return place < len(self._sorted) and int(self._sorted[place]) == value
