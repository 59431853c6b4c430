"""Random numbers for the images of a batch, which several processes may share.

Numbers are drawn for the whole batch, and each process keeps those of its own images: what is drawn for an image does
not depend on how many processes there are, as long as their generators stand at the same place.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from captioner.ranks import BatchSlice


def drawn(
    draw: Callable[[tuple[int, ...]], Tensor], shape: Sequence[int], batch_slice: BatchSlice | None = None
) -> Tensor:
    """`draw(shape)` for all images [B, ...]; of a slice, its part of what is drawn for the whole batch."""
    if batch_slice is None:
        return draw(tuple(shape))
    return draw((batch_slice.whole, *shape[1:]))[batch_slice.first : batch_slice.first + shape[0]]


def seeded_generator(seed: int, device: torch.device) -> torch.Generator:
    """Make a generator that depends on every bit of the seed.

    On a CPU, a generator uses only the lowest 32 bits of its seed, so larger seeds are hashed.
    """
    if seed >= 2**32:
        seed = int(np.random.SeedSequence(seed).generate_state(1)[0])
    return torch.Generator(device).manual_seed(seed)


def choose(probs: Tensor, uniforms: Tensor) -> Tensor:
    """One of V for each distribution, by inverting its distribution function: [..., V], [...] from 0 to 1 -> [...].

    The distributions need not sum to 1. What has a probability of 0 is never chosen.
    """
    sums = probs.cumsum(dim=-1)
    total = sums[..., -1:]
    reached = torch.minimum(uniforms.unsqueeze(-1) * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(sums, reached, right=True).squeeze(-1)
