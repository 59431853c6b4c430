"""Timing of contestants in turn, round after round, so that a slow phase of the machine affects all of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from benchmarks.tables import figure

Contestant = Callable[[int], object]
"""A function to time; it gets the number of the round, so that it may use another photo each time."""


@dataclass(frozen=True)
class Spread:
    """A value over the rounds: its median, the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{figure(self.median)} ({figure(self.least)} to {figure(self.most)})"


def time_in_turns(contestants: Mapping[str, Contestant], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Return the seconds of each contestant in each round, by name.

    Each runs once before as a warm-up. Every other round is in reverse order.
    """
    for contestant in contestants.values():
        contestant(0)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        names = list(contestants)
        for name in names if number % 2 == 0 else names[::-1]:
            seconds[name].append(time_round(contestants[name], number, device))
    return seconds


def time_round(contestant: Contestant, number: int, device: torch.device) -> float:
    """Return the seconds of one round, until the device has finished."""
    synchronise(device)
    started_at = time.perf_counter()
    contestant(number)
    synchronise(device)
    return time.perf_counter() - started_at


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has finished; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ratio(seconds: Sequence[float], of: Sequence[float]) -> Spread:
    """Return the ratio of two times, per round."""
    return Spread.of([first / second for first, second in zip(seconds, of, strict=True)])
