"""Connect the ranks of a training run, and choose their devices; `captioner.ranks` defines ranks."""

import datetime
import signal
from dataclasses import replace

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from captioner.errors import ConfigError
from captioner.ranks import Ranks

RANK_TIMEOUT = datetime.timedelta(minutes=10)
"""Maximum time that a rank waits for the others. Work of a single rank that may take longer comes last, when no other
waits for it. The end of a process is noticed at once; this limit is for machines that become unreachable."""


def connect(ranks: Ranks, device: str | None) -> tuple[Ranks, str | None]:
    """Connect to the other processes -> ranks and this process's device; a single process gets its arguments back.

    device: cpu or cuda; by default GPUs if there are any, one for each process.
    Afterwards SIGTERM, which torchrun sends when one of the processes has ended, raises KeyboardInterrupt.
    Raises ConfigError for another device, or if there are fewer GPUs than processes on this machine.
    """
    if ranks.size == 1:
        return ranks, device
    device = rank_device(ranks, device, torch.cuda.device_count())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    on_gpu = device != "cpu"
    if on_gpu:
        torch.cuda.set_device(device)
    store, _, _ = next(rendezvous("env://", timeout=RANK_TIMEOUT))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        store=dist.PrefixStore("group", store), rank=ranks.rank, world_size=ranks.size, timeout=RANK_TIMEOUT,
    )  # fmt: skip
    return replace(ranks, store=store), device


def disconnect(ranks: Ranks) -> None:
    """Disconnect from the other processes at the end."""
    if ranks.size > 1:
        dist.destroy_process_group()


def rank_device(ranks: Ranks, device: str | None, gpus: int) -> str:
    """Return the device of this rank. gpus: number of GPUs of this machine. Raises ConfigError."""
    if device is None:
        device = "cuda" if gpus else "cpu"
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"--device {device} is one device, and torchrun starts a process for each: give cpu or cuda")
    if device == "cuda" and gpus < ranks.local_size:
        raise ConfigError(
            f"torchrun started {ranks.local_size} processes on a machine with {gpus} GPUs: give --nproc-per-node"
            f" {gpus or 1}, or --device cpu"
        )
    return f"cuda:{ranks.local_rank}" if device == "cuda" else "cpu"
