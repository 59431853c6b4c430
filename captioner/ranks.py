"""Which of several processes this one is, as torchrun tells them, and how they wait for each other."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from captioner.name_set import name_hash

_TOLD_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_PATIENCE = timedelta(days=365)
"""For ranks with less to do: where one dies, torchrun ends the others."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that share the work; by default it is alone."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among those of this machine."""
    local_size: int = 1

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """As torchrun tells it; without torchrun, alone."""
        if not all(name in environment for name in _TOLD_BY_TORCHRUN):
            return cls()
        return cls(*(int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, the only process that writes output."""
        return self.rank == 0

    def say(self, sentence: str) -> None:
        """Print a sentence to standard error, once for the processes of this machine."""
        if self.local_rank == 0:
            print(sentence, file=sys.stderr)

    def has(self, name: str) -> bool:
        """Whether what is called so is this process's. Every name is just one's, in whatever order they see them."""
        return name_hash(name) % self.size == self.rank

    def wait(self) -> None:
        """Until all are here. To be called inside `connected`."""
        if self.size > 1:
            import torch.distributed

            torch.distributed.barrier()


ALONE = Ranks()


@contextmanager
def connected(ranks: Ranks) -> Iterator[None]:
    """In here the processes can wait for each other."""
    if ranks.size == 1:
        yield
        return
    import torch.distributed

    torch.distributed.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
