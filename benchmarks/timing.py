"""Contestants timed side by side: in turn, round after round, so that what slows the machine down slows all of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from benchmarks.tables import figure

Contestant = Callable[[int], object]
"""What is timed; it is told the number of the round, so that it may take another photo each time."""


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds: its median, and from the least to the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{figure(self.median)} ({figure(self.least)} to {figure(self.most)})"


def interleaved(contestants: Mapping[str, Contestant], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds that each contestant takes in each round, by name.

    Each runs once before, to warm up. Every other round is in the opposite order.
    """
    for contestant in contestants.values():
        contestant(0)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        names = list(contestants)
        for name in names if number % 2 == 0 else names[::-1]:
            seconds[name].append(timed(contestants[name], number, device))
    return seconds


def timed(contestant: Contestant, number: int, device: torch.device) -> float:
    """Seconds of one round, until the device has done all of it."""
    synchronise(device)
    started = time.perf_counter()
    contestant(number)
    synchronise(device)
    return time.perf_counter() - started


def synchronise(device: torch.device) -> None:
    """Wait for what the device was given; a CPU has done it already."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ratio(seconds: Sequence[float], of: Sequence[float]) -> Spread:
    """How many times as long one takes as the other, round by round."""
    return Spread.of([ours / theirs for ours, theirs in zip(seconds, of, strict=True)])
