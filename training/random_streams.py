"""Independent streams of random numbers from the seed of a run."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

ORDER, BATCH, REPLAY, VALIDATION, WEIGHTS, COMPARISON, OCCLUSION, TRAINING_SUBSET, SENTENCES, MIXING = range(10)
CORRECTIONS = 10
"""Purposes of streams: the order of an epoch's images, the draws of a batch, the replayed photos of a run, its
validation photos, its first weights, the earlier photos that captioners are compared on, the photos whose occlusion
maps are measured, a subset of the training photos, the sentences of a batch, the order of each of several data sets,
the photos to correct."""


def stream(seed: int, purpose: int, *numbers: int) -> np.random.Generator:
    """Return the stream for a purpose and numbers, such as the epoch.

    `SeedSequence.spawn` gives child n the spawn key n, and its children's keys begin with that. This function sets the
    keys directly, so that a stream can be made without those before it. A list as the seed would not work: NumPy pads
    it with zeros, so [seed, 3] and [seed, 3, 0] would be the same stream.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, *numbers)))


def torch_seed(seed: int, purpose: int) -> int:
    """Return a seed for `torch.manual_seed`, which uses only its low 32 bits on a CPU; it depends on all of `seed`."""
    return int(stream(seed, purpose).integers(2**63))


def sample(items: Sequence[T], max_count: int, rng: np.random.Generator) -> list[T]:
    """Sample at most `max_count` items without replacement, in their order."""
    if len(items) <= max_count:
        return list(items)
    return [items[number] for number in sorted(rng.choice(len(items), max_count, replace=False))]
