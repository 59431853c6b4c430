"""Measure the time of one photo against the number of locations that the decoder attends to.

The shipped captioner gets larger and smaller squares, from the bytes of a JPEG on: the encoder's pixels grow in
proportion to the locations. `benchmarks.attention_cost` measures the decoder's step alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean

from benchmarks.examples import example_photos
from benchmarks.growth import curves
from benchmarks.growth.contestants import caption_each
from benchmarks.growth.curves import Curve
from benchmarks.timing import time_in_turns
from captioner.bundle.bundle import load_bundle
from captioner.captioner import Captioner

TITLE = "Time per photo against locations"


@dataclass(frozen=True)
class Sizes:
    rounds: int = 9
    photos: int | None = None
    """None: all photos of examples/."""
    image_sizes: tuple[int, ...] = (112, 160, 224, 320, 448, 640)
    """Sides of the encoder's input square: 7 x 7 to 40 x 40 locations."""


QUICK = Sizes(rounds=2, photos=1, image_sizes=(64, 96, 128))


@dataclass(frozen=True)
class Results:
    curve: Curve
    image_sizes: tuple[int, ...]
    words: tuple[float, ...]
    """Mean number of words of the captions at each size."""


def measure(captioner: Captioner, quick: bool = False) -> Results:
    """Measure the shipped captioner on the given one's device."""
    sizes = QUICK if quick else Sizes()
    photos = example_photos(sizes.photos)
    contestants, locations, words = {}, {}, []
    for side, resized in zip(sizes.image_sizes, of_sizes(captioner, sizes.image_sizes), strict=True):
        options = replace(resized.decoding, captions_per_image=1)
        captions = resized.caption(photos, options)
        locations[side] = captions[0].alphas[0].size
        words.append(mean(len(caption.words) for caption in captions))
        contestants[side] = caption_each(resized, photos, options)
    seconds = time_in_turns(contestants, sizes.rounds, captioner.device)
    ms = {locations[side]: [1000 * elapsed / len(photos) for elapsed in times] for side, times in seconds.items()}
    return Results(Curve.of("locations", "ms per photo", ms), sizes.image_sizes, tuple(words))


def of_sizes(captioner: Captioner, image_sizes: Sequence[int]) -> list[Captioner]:
    """Return shipped captioners for squares of these sides, on the device of the given one."""
    captioners = []
    for side in image_sizes:
        bundle = load_bundle(None)
        bundle.model.config = replace(bundle.config, image_size=side)
        captioners.append(Captioner(bundle, captioner.device, "auto", "off"))
    return captioners


def curve(results: Results) -> Curve:
    return results.curve


def report(results: Results) -> str:
    further = {"side of the square": results.image_sizes, "words per caption": results.words}
    return curves.report(results.curve, further)
