"""Measure the time of a batch of photos against its size: from 8-bit pixels to captions, as the bulk run captions it.

A line through the times of batches says what a batch costs whatever its size, and what one more photo costs. The time
per photo falls towards the latter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.examples import example_photos
from benchmarks.growth import curves
from benchmarks.growth.curves import Curve
from benchmarks.timing import Contestant, Spread, time_in_turns
from captioner.captioner import Captioner
from captioner.images.fitting import ImageFrame

TITLE = "Time against batch size"


@dataclass(frozen=True)
class Sizes:
    rounds: int = 9
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)


QUICK = Sizes(rounds=2, batch_sizes=(1, 2, 3))


@dataclass(frozen=True)
class Results:
    curve: Curve
    """Of whole batches."""
    per_photo: tuple[Spread, ...]
    """Milliseconds, for each batch size."""


def measure(captioner: Captioner, quick: bool = False) -> Results:
    sizes = QUICK if quick else Sizes()
    prepared = [captioner.prepare(photo) for photo in example_photos()]
    contestants = {size: caption_batch(captioner, prepared, size) for size in sizes.batch_sizes}
    seconds = time_in_turns(contestants, sizes.rounds, captioner.device)
    ms = {size: [1000 * elapsed for elapsed in times] for size, times in seconds.items()}
    per_photo = tuple(Spread.of([elapsed / size for elapsed in times]) for size, times in ms.items())
    return Results(Curve.of("photos per batch", "ms per batch", ms), per_photo)


def caption_batch(captioner: Captioner, prepared: Sequence[tuple[np.ndarray, ImageFrame]], size: int) -> Contestant:
    """Caption one batch, in which the photos are repeated as needed. Each round starts with another photo."""

    def caption(number: int) -> None:
        batch = [prepared[(number + index) % len(prepared)] for index in range(size)]
        captioner.caption_pixels(np.stack([square for square, _ in batch]), [frame for _, frame in batch])

    return caption


def curve(results: Results) -> Curve:
    return results.curve


def report(results: Results) -> str:
    return curves.report(results.curve, {"ms per photo": results.per_photo})
