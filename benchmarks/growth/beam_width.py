"""Measure the time of one photo, from the bytes of its JPEG to its caption, against the beam's width."""

from dataclasses import dataclass, replace

from benchmarks.examples import example_photos
from benchmarks.growth import curves
from benchmarks.growth.contestants import caption_each
from benchmarks.growth.curves import Curve
from benchmarks.timing import time_in_turns
from captioner.captioner import Captioner

TITLE = "Time per photo against beam width"


@dataclass(frozen=True)
class Sizes:
    rounds: int = 9
    photos: int | None = None
    """None: all photos of examples/."""
    widths: tuple[int, ...] = tuple(range(1, 11))


QUICK = Sizes(rounds=2, photos=1, widths=(1, 2, 3))


@dataclass(frozen=True)
class Results:
    curve: Curve
    words: tuple[float, ...]
    """Mean number of words of the captions at each width."""


def measure(captioner: Captioner, quick: bool = False) -> Results:
    sizes = QUICK if quick else Sizes()
    photos = example_photos(sizes.photos)
    options = {width: replace(captioner.decoding, beam_width=width, captions_per_image=1) for width in sizes.widths}
    contestants = {width: caption_each(captioner, photos, options[width]) for width in sizes.widths}
    seconds = time_in_turns(contestants, sizes.rounds, captioner.device)
    ms = {width: [1000 * elapsed / len(photos) for elapsed in times] for width, times in seconds.items()}
    words = tuple(
        sum(len(caption.words) for caption in captioner.caption(photos, options[width])) / len(photos)
        for width in sizes.widths
    )
    return Results(Curve.of("beam width", "ms per photo", ms), words)


def curve(results: Results) -> Curve:
    return results.curve


def report(results: Results) -> str:
    return curves.report(results.curve, {"words per caption": results.words})
