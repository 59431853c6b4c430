"""Several data sets in one run: names, slices of the list of photos, and how often an epoch uses each."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from captioner.errors import ConfigError
from captioner.text.counting import counted
from training.data.records import DataSet
from training.random_streams import MIXING, stream


@dataclass(frozen=True)
class Part:
    """Slice of one data set in the concatenated list of photos."""

    name: str
    first: int
    """Index of its first photo."""
    count: int

    @property
    def positions(self) -> range:
        return range(self.first, self.first + self.count)


def parts_of(names: Sequence[str], counts: Sequence[int]) -> tuple[Part, ...]:
    """Return the slices of a list of data sets with these numbers of photos."""
    starts = [sum(counts[:number]) for number in range(len(counts))]
    return tuple(Part(*values) for values in zip(names, starts, counts, strict=True))


def names_of(data_sets: Iterable[DataSet]) -> tuple[str, ...]:
    """Return unique names: a repeated name gets a number."""
    names: list[str] = []
    for data in data_sets:
        numbered = (f"{data.name} {number}" for number in range(2, len(names) + 3))
        names.append(data.name if data.name not in names else next(name for name in numbered if name not in names))
    return tuple(names)


def check_different(data_sets: Sequence[DataSet]) -> None:
    """Raise ConfigError if a data set is given twice: its photos would be counted twice."""
    known_files = set()
    for data in data_sets:
        files = frozenset((record.image_id, record.path) for record in data.records)
        if files and files in known_files:
            raise ConfigError(f"--also names {data.root} a second time: name each data set once")
        known_files.add(files)


def spread(parts: Sequence[Part], max_photos: int) -> list[int]:
    """Return the indices of at most `max_photos` photos, evenly from all parts and within each; at least one each."""
    per_part, extra = divmod(max_photos, len(parts))
    positions = []
    for number, part in enumerate(parts):
        count = max(1, per_part + (number < extra))
        positions += sorted({part.first + index * part.count // count for index in range(count)})
    return positions


class Balance:
    """Balance of data sets: how often an epoch uses the photos of each.

    A pass has as many photos as all data sets together. The share of a data set is proportional to its size to the
    power of `exponent`: with 1, each photo occurs once; with 0, all data sets have equal shares; in between, small data
    sets get more than their proportional share.
    """

    def __init__(self, parts: Sequence[Part], exponent: float):
        self.parts = tuple(parts)
        sizes = np.array([part.count for part in parts], np.float64)
        exact = sizes.sum() * sizes**exponent / (sizes**exponent).sum()
        counts = np.floor(exact).astype(int)
        missing = round(sizes.sum()) - counts.sum()
        counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1  # those that rounding reduced most
        self.counts = tuple(counts.tolist())
        """Number of photos of each data set in a pass."""

    def sentence(self) -> str:
        """Describe the share of each data set in an epoch."""
        total = sum(self.counts)
        shares = (
            f"{part.name} {counted(part.count, 'photo')}, {count / total:.1%} of an epoch"
            for part, count in zip(self.parts, self.counts, strict=True)
        )
        return f"data: {'; '.join(shares)}"

    def positions(self, seed: int, number: int) -> np.ndarray:
        """Return the indices of the photos in a pass, by data set.

        Each data set is shuffled, used to its end and shuffled again, across passes, so that over a run the uses of its
        photos differ by at most one.
        """
        positions = [self._part_positions(seed, index, number) for index in range(len(self.parts))]
        return np.concatenate(positions)

    def _part_positions(self, seed: int, index: int, number: int) -> np.ndarray:
        part, count = self.parts[index], self.counts[index]
        rounds = range(number * count // part.count, math.ceil((number + 1) * count / part.count))
        orders = [stream(seed, MIXING, index, round_number).permutation(part.count) for round_number in rounds]
        start = number * count - rounds[0] * part.count
        return part.first + np.concatenate(orders)[start : start + count]
