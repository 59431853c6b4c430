"""Process group of a run: the processes ("ranks") that torchrun starts, and this process's rank.

Every rank runs the same program on its slice of each batch. Sums over ranks (gradients, counts, losses) are equal on
all ranks, so that they make the same decisions. Only rank 0, the leader, writes output. Without torchrun there is one
rank, and these methods do nothing. Torch is imported only for several ranks.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

from captioner.errors import CaptionerError, ConfigError
from captioner.text.name_set import name_hash

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed import Store

T = TypeVar("T")

_TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_BARRIER_TIMEOUT = timedelta(days=365)
"""Time limit of a barrier, for ranks with less work; if one rank dies, torchrun ends the others."""


class RankLost(CaptionerError):
    """Another process of the run has ended or does not respond."""


@dataclass(frozen=True)
class BatchSlice:
    """Slice of a batch that one rank has, starting at the index `first`."""

    first: int
    batch_size: int
    """Number of images in the batch."""


@dataclass(frozen=True)
class Ranks:
    """Process group of a run, and this process's rank; by default a single process.

    All ranks must call the methods that exchange values, after `connected` or `training.distributed.connect`.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Rank among the processes of this machine."""
    local_size: int = 1
    store: "Store | None" = field(default=None, repr=False)
    """Store shared by the processes; None for a single process, and before they are connected."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read torchrun's environment variables; without them, return the default."""
        if not all(name in environment for name in _TORCHRUN_VARIABLES):
            return cls()
        return cls(*(int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))

    @property
    def leads(self) -> bool:
        """Return whether this is rank 0, the only process that writes output."""
        return self.rank == 0

    def print_once(self, sentence: str) -> None:
        """Print a sentence to standard error once: by the first rank that calls this; before `connect`, per machine."""
        if self.store is None:
            first = self.local_rank == 0
        else:
            try:
                first = self.store.add("said", 1) == 1
            except RuntimeError:  # the store was on the lost rank
                first = True
        if first:
            print(sentence, file=sys.stderr)

    def owns(self, name: str) -> bool:
        """Return whether a name belongs to this rank: each belongs to exactly one, by its hash."""
        return name_hash(name) % self.size == self.rank

    def part(self, images: int) -> slice:
        """Return this rank's slice of a batch of this size."""
        return slice(self.rank * images // self.size, (self.rank + 1) * images // self.size)

    def batch_slice(self, images: int) -> BatchSlice | None:
        """Return the same slice for random draws; None if it is the whole batch."""
        return None if self.size == 1 else BatchSlice(self.part(images).start, images)

    def barrier(self) -> None:
        """Wait until all ranks have called this."""
        if self.size > 1:
            import torch.distributed as dist

            dist.barrier()

    def sum(self, values: "Tensor") -> "Tensor":
        """Return the sum over all ranks, without gradient, in the shape of `values`."""
        if self.size == 1:
            return values
        from torch.distributed import ReduceOp

        return _all_reduce(values, ReduceOp.SUM)

    def max(self, value: int) -> int:
        """Return the largest of the ranks' values."""
        if self.size == 1:
            return value
        import torch
        from torch.distributed import ReduceOp

        return int(_all_reduce(torch.tensor(value), ReduceOp.MAX))

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks in order on the leader; an empty list on the others."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] | None = [None] * self.size if self.leads else None
        dist.gather_object(value, values)
        return values or []

    def from_leader(self, make: Callable[[], T]) -> T:
        """Run `make` on the leader, and return its result on all ranks."""
        if self.size == 1:
            return make()
        import torch.distributed as dist

        values = [make() if self.leads else None]
        dist.broadcast_object_list(values)
        return values[0]

    def map(self, work: Callable[[int], T], count: int) -> Iterator[T]:
        """Yield work(0), ..., work(count - 1) in order on the leader; each is done by one rank; others yield nothing.

        All ranks must iterate to the end. No rank runs ahead of the others.
        """
        for start in range(0, count, self.size):
            number = start + self.rank
            for results in self.gather([work(number)] if number < count else []):
                yield from results

    def check_same(self, value: Any, message: str) -> None:
        """Raise ConfigError with the message on every rank unless they all have the same value."""
        values = self.gather(value)
        if not self.from_leader(lambda: all(other == values[0] for other in values)):
            raise ConfigError(message)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Wrap the work of all ranks. Raises RankLost if one of them is lost."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not _is_group_error(error):
                raise
            raise RankLost(
                f"rank {self.rank} of {self.size} lost another rank, which has ended or cannot be reached: what was"
                " written is complete; start all ranks again with --resume"
            ) from error


ALONE = Ranks()


def _all_reduce(values: "Tensor", operation: Any) -> "Tensor":
    import torch.distributed as dist

    result = values.detach().clone()
    dist.all_reduce(result, operation)
    return result


def _is_group_error(error: RuntimeError) -> bool:
    """Return whether an error comes from the connection between ranks; gloo raises plain RuntimeErrors."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or "gloo" in str(error)


@contextmanager
def connected(ranks: Ranks) -> Iterator[None]:
    """Connect the ranks, so that they can wait for each other."""
    if ranks.size == 1:
        yield
        return
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=_BARRIER_TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()
