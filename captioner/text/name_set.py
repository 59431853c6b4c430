"""Set of millions of names in eight bytes each."""

import os
from hashlib import blake2b

import numpy as np

_MAX_RECENT = 65_536


def name_hash(name: str) -> int:
    """Return a 64-bit hash of a name, the same in every process and on every machine."""
    return int.from_bytes(blake2b(os.fsencode(name), digest_size=8).digest())


class NameSet:
    """Set of names by 64-bit hash: among ten million names, the probability of a collision is three in a million."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, dtype=np.uint64)
        self._recent: set[int] = set()
        """Hashes that are not sorted in yet; kept few, as each takes ten times as much memory."""

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def __contains__(self, name: str) -> bool:
        return self._holds(name_hash(name))

    def add(self, name: str) -> bool:
        """Add a name; return whether it is new."""
        value = name_hash(name)
        if self._holds(value):
            return False
        self._recent.add(value)
        if len(self._recent) >= _MAX_RECENT:
            recent = np.fromiter(self._recent, np.uint64, len(self._recent))
            recent.sort()
            # A stable sort merges two sorted runs in linear time.
            self._sorted = np.sort(np.concatenate([self._sorted, recent]), kind="stable")
            self._recent.clear()
        return True

    def _holds(self, value: int) -> bool:
        if value in self._recent:
            return True
        index = self._sorted.searchsorted(np.uint64(value))  # a plain int would convert the array to floats
        return index < len(self._sorted) and int(self._sorted[index]) == value
