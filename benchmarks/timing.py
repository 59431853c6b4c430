"""Timing of contestants in turn, round after round, so that a slow phase of the machine affects all of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TypeVar

import torch

from benchmarks.tables import figure

T, Name = TypeVar("T"), TypeVar("Name")

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
    """Return the seconds of each contestant in each round, by name: see `take_turns`."""
    measures = {name: partial(time_round, contestant, device=device) for name, contestant in contestants.items()}
    return take_turns(measures, rounds)


def take_turns(measures: Mapping[Name, Callable[[int], T]], rounds: int) -> dict[Name, list[T]]:
    """Return what each measure gives in each round, by name. A measure gets the number of the round.

    Each runs once before as a warm-up. Every other round is in reverse order.
    """
    for measure in measures.values():
        measure(0)
    results: dict[Name, list[T]] = {name: [] for name in measures}
    for number in range(rounds):
        names = list(measures)
        for name in names if number % 2 == 0 else names[::-1]:
            results[name].append(measures[name](number))
    return results


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
