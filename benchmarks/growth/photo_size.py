"""Measure the time of one photo, from the bytes of its JPEG to its caption, against its size in megapixels."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops

from benchmarks.examples import example_photos
from benchmarks.growth import curves
from benchmarks.growth.contestants import caption_each
from benchmarks.growth.curves import Curve
from benchmarks.timing import time_in_turns
from captioner.captioner import Captioner

TITLE = "Time per photo against photo size"


@dataclass(frozen=True)
class Sizes:
    rounds: int = 9
    megapixels: tuple[float, ...] = (0.2, 0.5, 1, 2, 5, 12, 25, 50)


QUICK = Sizes(rounds=2, megapixels=(0.02, 0.05, 0.2))
ASPECT = 4, 3
NOISE = 4.0
"""Standard deviation of the added noise, in 8-bit levels: with it, files are about as large as those of cameras."""
MULTIPLE = 8
"""Sides are multiples of this, as those of cameras: then a JPEG can be decoded at an eighth of its sides."""


@dataclass(frozen=True)
class Results:
    curve: Curve
    megabytes: tuple[float, ...]
    """Size of the file of each photo."""


def measure(captioner: Captioner, quick: bool = False) -> Results:
    sizes = QUICK if quick else Sizes()
    (example,) = example_photos(1)
    photos = enlarged(example, sizes.megapixels)
    contestants = {
        size: caption_each(captioner, [photo], captioner.decoding)
        for size, photo in zip(sizes.megapixels, photos, strict=True)
    }
    seconds = time_in_turns(contestants, sizes.rounds, captioner.device)
    ms = {size: [1000 * elapsed for elapsed in times] for size, times in seconds.items()}
    return Results(Curve.of("megapixels", "ms per photo", ms), tuple(len(photo) / 1e6 for photo in photos))


def enlarged(photo: bytes, megapixels: Sequence[float]) -> list[bytes]:
    """Return a photo as JPEG files of these sizes."""
    with Image.open(io.BytesIO(photo)) as image:
        return [jpeg(image.convert("RGB"), size) for size in megapixels]


def jpeg(image: Image.Image, megapixels: float) -> bytes:
    unit = (megapixels * 1e6 / (ASPECT[0] * ASPECT[1])) ** 0.5
    size = tuple(MULTIPLE * max(1, round(side * unit / MULTIPLE)) for side in ASPECT)
    noise = Image.effect_noise(size, NOISE).convert("RGB")  # around 128
    photo = ImageChops.add(image.resize(size, Image.Resampling.BILINEAR), noise, offset=-128)
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def curve(results: Results) -> Curve:
    return results.curve


def report(results: Results) -> str:
    return curves.report(results.curve, {"file, MB": results.megabytes})
