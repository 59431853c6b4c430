"""How the ranks of a training meet and part, and which device each has; the ranks themselves are `captioner.ranks`."""

import datetime
import signal
from dataclasses import replace

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from captioner.errors import ConfigError
from captioner.ranks import Ranks

PATIENCE = datetime.timedelta(minutes=10)
"""So long a rank waits for the others: longer than anything that one of them does alone. That a process has ended is
seen at once; this is for machines that can be reached no more."""


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
