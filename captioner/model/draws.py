"""Random numbers for the images of a batch, which several processes may share.

Every process draws the numbers of the whole batch and keeps those of its own images. So the numbers of an image do not
depend on the number of processes, as long as their generators are in the same state.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from captioner.ranks import BatchSlice


def draw_for_batch(
    draw: Callable[[tuple[int, ...]], Tensor], shape: Sequence[int], batch_slice: BatchSlice | None = None
) -> Tensor:
    """Return `draw(shape)` for all images [B, ...]; for a slice, the slice of the whole batch's draws."""
    if batch_slice is None:
        return draw(tuple(shape))
    return draw((batch_slice.batch_size, *shape[1:]))[batch_slice.first : batch_slice.first + shape[0]]


def seeded_generator(seed: int, device: torch.device) -> torch.Generator:
    """Make a generator that depends on every bit of the seed.

    On a CPU, a generator uses only the lowest 32 bits of its seed, so larger seeds are hashed.
    """
    if seed >= 2**32:
        seed = int(np.random.SeedSequence(seed).generate_state(1)[0])
    return torch.Generator(device).manual_seed(seed)


def choose(probs: Tensor, uniforms: Tensor) -> Tensor:
    """Sample an index of each distribution by inverting its cumulative sums: [..., V], [...] from 0 to 1 -> [...].

    The distributions need not sum to 1. An index with probability 0 is never chosen.
    """
    sums = probs.cumsum(dim=-1)
    total = sums[..., -1:]
    targets = torch.minimum(uniforms.unsqueeze(-1) * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(sums, targets, right=True).squeeze(-1)
