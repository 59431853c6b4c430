"""One run on many devices: a process for each, started by torchrun, called ranks.

Every rank runs the same program on its share of each batch. What they add up (gradients, counts, losses) is the same
for all of them, so that they take the same decisions; the first one, rank 0, leads: it alone writes and speaks.
Without torchrun there is one rank, and nothing here does anything.
"""

import datetime
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from captioner.errors import CaptionerError, ConfigError
from captioner.model.draws import Share
from captioner.ranks import Ranks as Place

T = TypeVar("T")

PATIENCE = datetime.timedelta(minutes=10)
"""So long a rank waits for the others: longer than anything that one of them does alone. That a process has ended is
seen at once; this is for machines that can be reached no more."""


class RankLost(CaptionerError):
    """Another process of the run has ended, or does not answer."""


@dataclass(frozen=True)
class Ranks(Place):
    """The processes of a run, and which of them this one is."""

    store: dist.Store | None = field(default=None, repr=False)
    """Shared by the processes; None where there is one alone, and before they have met."""

    def part(self, images: int) -> slice:
        """This rank's part of a batch of so many images."""
        return slice(self.rank * images // self.size, (self.rank + 1) * images // self.size)

    def share(self, images: int) -> Share | None:
        """How random numbers are drawn for that part; None where it is the whole."""
        return None if self.size == 1 else Share(self.part(images).start, images)

    def total(self, values: Tensor) -> Tensor:
        """The sum over all ranks, without a gradient: the shape of `values`."""
        return self._reduced(values, dist.ReduceOp.SUM)

    def largest(self, value: int) -> int:
        return value if self.size == 1 else int(self._reduced(torch.tensor(value), dist.ReduceOp.MAX))

    def _reduced(self, values: Tensor, operation: Any) -> Tensor:
        if self.size == 1:
            return values
        reduced = values.detach().clone()
        dist.all_reduce(reduced, operation)
        return reduced

    def gathered(self, value: T) -> list[T]:
        """What each rank has, in their order: for the leading one; for the others, nothing."""
        if self.size == 1:
            return [value]
        found: list[Any] | None = [None] * self.size if self.leads else None
        dist.gather_object(value, found)
        return found or []

    def from_leader(self, make: Callable[[], T]) -> T:
        """What the leading rank makes, for all."""
        if self.size == 1:
            return make()
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
        """Raise ConfigError with the message on every rank where they do not all have the same value."""
        values = self.gathered(value)
        if not self.from_leader(lambda: all(each == values[0] for each in values)):
            raise ConfigError(message)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around all that ranks do together. Raises RankLost where one of them is gone."""
        try:
            yield
        except RuntimeError as error:  # of gloo a plain one
            if self.size == 1 or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
                raise
            raise RankLost(
                f"rank {self.rank} of {self.size} waits for another in vain, which has ended or cannot be reached: what"
                " was written is whole; start all of them again with --resume"
            ) from error

    def say(self, sentence: str) -> None:
        """Print why the run ends to standard error, once: the first rank that calls this prints for all."""
        if self.store is None:
            super().say(sentence)
            return
        try:
            first = self.store.add("said", 1) == 1
        except RuntimeError:  # the store went with the rank that is gone
            first = True
        if first:
            print(sentence, file=sys.stderr)


ALONE = Ranks()


def meet(ranks: Ranks, device: str | None) -> tuple[Ranks, str | None]:
    """Join the other processes -> the ranks, and the device of this one; of one alone, what was given.

    device: cpu or cuda; by default GPUs where there are some, one for each process.
    From here on SIGTERM, which torchrun sends once one of the processes has ended, is a KeyboardInterrupt.
    Raises ConfigError where the device is another, or there are fewer GPUs than processes on this machine.
    """
    if ranks.size == 1:
        return ranks, device
    device = rank_device(ranks, device, torch.cuda.device_count())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    on_gpu = device != "cpu"
    if on_gpu:
        torch.cuda.set_device(device)
    store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        store=dist.PrefixStore("group", store), rank=ranks.rank, world_size=ranks.size, timeout=PATIENCE,
    )  # fmt: skip
    return replace(ranks, store=store), device


def leave(ranks: Ranks) -> None:
    """Part from the other processes, when all is done."""
    if ranks.size > 1:
        dist.destroy_process_group()


def rank_device(ranks: Ranks, wanted: str | None, gpus: int) -> str:
    """The device of this rank. gpus: of this machine. Raises ConfigError."""
    if wanted is None:
        wanted = "cuda" if gpus else "cpu"
    if wanted not in ("cpu", "cuda"):
        raise ConfigError(f"--device {wanted} is one device, and torchrun starts a process for each: give cpu or cuda")
    if wanted == "cuda" and gpus < ranks.local_size:
        raise ConfigError(
            f"torchrun started {ranks.local_size} processes on a machine with {gpus} GPUs: give --nproc-per-node"
            f" {gpus or 1}, or --device cpu"
        )
    return f"cuda:{ranks.local_rank}" if wanted == "cuda" else "cpu"
