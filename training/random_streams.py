"""Independent streams of random numbers, all from the one seed of a run."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

ORDER, BATCH, REPLAY, VALIDATION, WEIGHTS, COMPARISON, EVIDENCE, LEARNED, SENTENCES, MIXING = range(10)
"""What a stream is for: the order of an epoch's images, what is drawn for a batch, the earlier photos of a run, its
validation photos, its first weights, the earlier photos that captioners are compared on,
the photos whose occlusion maps are measured, a part of the photos to learn from, the sentences of a
batch, the order of each of several data
sets."""


def stream(seed: int, purpose: int, *numbers: int) -> np.random.Generator:
    """The stream for a purpose and, where there are several, such as one for each epoch, of these numbers.

    `SeedSequence.spawn` gives child n the spawn key n, and its children's keys begin with that. Here keys are given, so
    that a stream can be made without those before it. A list as the seed would not do: NumPy fills it up with zeros, so
    [seed, 3] and [seed, 3, 0] are the same stream.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, *numbers)))


def torch_seed(seed: int, purpose: int) -> int:
    """A seed for `torch.manual_seed`, which reads only the lowest 32 bits of it on a CPU: all bits of `seed` count."""
    return int(stream(seed, purpose).integers(2**63))


def sample(items: Sequence[T], most: int, rng: np.random.Generator) -> list[T]:
    """At most so many of the items, drawn without replacement, in their order."""
    if len(items) <= most:
        return list(items)
    return [items[number] for number in sorted(rng.choice(len(items), most, replace=False))]
