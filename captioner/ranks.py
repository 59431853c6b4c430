"""The processes that torchrun starts for one run, called ranks, and which of them this one is.

Every rank runs the same program on its slice of each batch. What they add up (gradients, counts, losses) is the same
on all of them, so they take the same decisions. The first one, rank 0, leads: it alone writes output. Without torchrun
there is one rank, and nothing here does anything. Torch is imported only where several ranks meet.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

from captioner.errors import CaptionerError, ConfigError
from captioner.name_set import name_hash

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed import Store

T = TypeVar("T")

_TOLD_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_PATIENCE = timedelta(days=365)
"""Time limit of a barrier, for ranks with less work; if one rank dies, torchrun ends the others."""


class RankLost(CaptionerError):
    """Another process of the run has ended, or does not answer."""


@dataclass(frozen=True)
class BatchSlice:
    """The images of a batch that one rank has: those from the position `first` on."""

    first: int
    whole: int
    """Images in the batch."""


@dataclass(frozen=True)
class Ranks:
    """The group of processes of a run, and the rank of this one; by default it is alone.

    Methods that exchange values must be called by all ranks, after `connected` or `training.distributed.meet`.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Rank among the processes of this machine."""
    local_size: int = 1
    store: "Store | None" = field(default=None, repr=False)
    """Shared by the processes; None if there is one alone, and before they have met."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the variables that torchrun sets; without torchrun, alone."""
        if not all(name in environment for name in _TOLD_BY_TORCHRUN):
            return cls()
        return cls(*(int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))

    @property
    def leads(self) -> bool:
        """Return whether this is rank 0, the only process that writes output."""
        return self.rank == 0

    def say(self, sentence: str) -> None:
        """Print a sentence to standard error: by the first rank that calls this; before they meet, by one a machine."""
        if self.store is None:
            first = self.local_rank == 0
        else:
            try:
                first = self.store.add("said", 1) == 1
            except RuntimeError:  # the store went with the rank that is gone
                first = True
        if first:
            print(sentence, file=sys.stderr)

    def has(self, name: str) -> bool:
        """Whether a name belongs to this rank. Each name belongs to one, in whatever order they see them."""
        return name_hash(name) % self.size == self.rank

    def part(self, images: int) -> slice:
        """This rank's part of a batch of so many images."""
        return slice(self.rank * images // self.size, (self.rank + 1) * images // self.size)

    def share(self, images: int) -> BatchSlice | None:
        """The same part, as random numbers are drawn for it; None if it is the whole batch."""
        return None if self.size == 1 else BatchSlice(self.part(images).start, images)

    def wait(self) -> None:
        """Wait until all ranks are here."""
        if self.size > 1:
            import torch.distributed as dist

            dist.barrier()

    def total(self, values: "Tensor") -> "Tensor":
        """The sum over all ranks, without a gradient: the shape of `values`."""
        if self.size == 1:
            return values
        from torch.distributed import ReduceOp

        return _reduced(values, ReduceOp.SUM)

    def largest(self, value: int) -> int:
        """The largest of the ranks' values."""
        if self.size == 1:
            return value
        import torch
        from torch.distributed import ReduceOp

        return int(_reduced(torch.tensor(value), ReduceOp.MAX))

    def gathered(self, value: T) -> list[T]:
        """The value of each rank, in their order: on the leading one; on the others, nothing."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        found: list[Any] | None = [None] * self.size if self.leads else None
        dist.gather_object(value, found)
        return found or []

    def from_leader(self, make: Callable[[], T]) -> T:
        """What the leading rank makes, on all."""
        if self.size == 1:
            return make()
        import torch.distributed as dist

        values = [make() if self.leads else None]
        dist.broadcast_object_list(values)
        return values[0]

    def mapped(self, work: Callable[[int], T], count: int) -> Iterator[T]:
        """work(0), ..., work(count - 1), in this order, each done by one rank; the leading one has all, others none.

        All ranks have to go through to the end. None runs ahead of the others.
        """
        for start in range(0, count, self.size):
            number = start + self.rank
            for results in self.gathered([work(number)] if number < count else []):
                yield from results

    def check_same(self, value: Any, message: str) -> None:
        """Raise ConfigError with the message on every rank unless they all have the same value."""
        values = self.gathered(value)
        if not self.from_leader(lambda: all(each == values[0] for each in values)):
            raise ConfigError(message)

    @contextmanager
    def together(self) -> Iterator[None]:
        """The context of all that ranks do together. Raises RankLost if one of them is gone."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not _is_of_the_group(error):
                raise
            raise RankLost(
                f"rank {self.rank} of {self.size} waits for another in vain, which has ended or cannot be reached: what"
                " was written is whole; start all of them again with --resume"
            ) from error


ALONE = Ranks()


def _reduced(values: "Tensor", operation: Any) -> "Tensor":
    import torch.distributed as dist

    reduced = values.detach().clone()
    dist.all_reduce(reduced, operation)
    return reduced


def _is_of_the_group(error: RuntimeError) -> bool:
    """Whether an error is of the connection between ranks; gloo raises plain ones."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or "gloo" in str(error)


@contextmanager
def connected(ranks: Ranks) -> Iterator[None]:
    """The context in which ranks that have not met can wait for each other."""
    if ranks.size == 1:
        yield
        return
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()
