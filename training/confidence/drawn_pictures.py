"""Randomly drawn pictures that are no photos: noise, shades, patterns, text, shapes, charts and scribbles.

Any caption of such a picture is a guess. The confidence model learns that from these pictures, as data sets have none.
"""

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

_SIDES = (200, 900)  # minimum and maximum, pixels
_WORDS = (
    "the of and to in is that for it as was with be by on not he but at are this have from or had an they which one"
    " you were all her she there would their we him been has when who will more no if out so said what its about"
).split()

Draw = Callable[[np.random.Generator, int, int], Image.Image]


def drawn_pictures(count: int, seed: int) -> Iterator[tuple[str, Image.Image]]:
    """Draw `count` RGB pictures of all kinds in turn -> kind, picture. The same seed draws the same pictures."""
    rng = np.random.default_rng(seed)
    kinds = list(KINDS.items())
    for number in range(count):
        kind, draw = kinds[number % len(kinds)]
        width, height = rng.integers(*_SIDES, size=2).tolist()
        yield kind, draw(rng, width, height)


def _noise(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Draw independent pixels, fine or coarse, in colour or grey, sometimes blurred."""
    grain, channels = int(rng.choice([1, 1, 2, 4, 8, 16])), int(rng.choice([1, 3]))
    shape = -(-height // grain), -(-width // grain), channels
    if rng.random() < 0.5:
        levels = rng.integers(0, 256, shape)
    else:
        levels = rng.normal(rng.uniform(60, 200), rng.uniform(15, 90), shape).clip(0, 255)
    small = Image.fromarray(np.broadcast_to(levels, (*shape[:2], 3)).astype(np.uint8))
    picture = small.resize((width, height), Image.Resampling.NEAREST)
    return picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 6))) if rng.random() < 0.3 else picture


def _shade(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Draw a plain colour, or a gradient along a line or around a point."""
    first, second = rng.integers(0, 256, (2, 3))
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    kind = rng.integers(3)
    if kind == 0:
        share = np.zeros((height, width))
    elif kind == 1:
        angle = rng.uniform(0, 2 * np.pi)
        share = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.5
    else:
        share = np.hypot(x - rng.random(), y - rng.random())
    share = share.clip(0, 1)[..., None]
    return Image.fromarray(((1 - share) * first + share * second).astype(np.uint8))


def _pattern(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Draw stripes or a chequerboard of two colours, at any angle."""
    colours = rng.integers(0, 256, (2, 3)).astype(np.uint8)
    y, x = np.mgrid[0:height, 0:width]
    angle, period = rng.uniform(0, np.pi), rng.uniform(6, 120)
    along = np.floor((x * np.cos(angle) + y * np.sin(angle)) / period)
    across = np.floor((y * np.cos(angle) - x * np.sin(angle)) / period) if rng.random() < 0.5 else 0
    return Image.fromarray(colours[((along + across) % 2).astype(int)])


def _text(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Draw lines of words in one or two columns, dark on light or the reverse, some with a bar and a heading."""
    light = rng.integers(225, 256, 3)
    dark = rng.integers(0, 90, 3)
    paper, ink = (light, dark) if rng.random() < 0.7 else (dark, light)
    picture = Image.new("RGB", (width, height), tuple(paper.tolist()))
    pen, size = ImageDraw.Draw(picture), int(rng.integers(9, 40))
    face, heading = ImageFont.load_default(size), ImageFont.load_default(2 * size)
    top = int(rng.integers(5, 40))
    if rng.random() < 0.3:
        pen.rectangle((0, 0, width, top + size), fill=_colour(rng))
        top += 2 * size
    if rng.random() < 0.4:
        pen.text((20, top), " ".join(rng.choice(_WORDS, 3)), font=heading, fill=tuple(ink.tolist()))
        top += 3 * size
    columns = 1 if width < 500 else int(rng.integers(1, 3))
    for column in range(columns):
        left, end, y = 15 + column * width // columns, (column + 1) * width // columns - 15, top
        while y < height - size and (y < top + 4 * size or rng.random() > 0.01):
            x, stop = float(left), end if rng.random() < 0.8 else rng.integers(left, end + 1)
            while x < stop - 3 * size:
                word = str(rng.choice(_WORDS))
                pen.text((x, y), word, font=face, fill=tuple(ink.tolist()))
                x += face.getlength(word + " ")
            y += int(1.5 * size)
    return picture


def _shapes(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Draw a few filled or outlined shapes on a plain background."""
    picture = Image.new("RGB", (width, height), _colour(rng))
    pen = ImageDraw.Draw(picture)
    for _ in range(rng.integers(1, 12)):
        points = _points(rng, width, height, int(rng.integers(3, 6)))
        box = (*np.min(points, axis=0).tolist(), *np.max(points, axis=0).tolist())
        style = {"fill" if rng.random() < 0.7 else "outline": _colour(rng)}
        line = {"width": int(rng.integers(2, 9))} if "outline" in style else {}
        kind = rng.integers(3)
        if kind == 0:
            pen.polygon(points, **style)
        else:
            (pen.ellipse if kind == 1 else pen.rectangle)(box, **style, **line)
    return picture


def _chart(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Draw axes with ticks and numbers, and curves, dots, bars or a pie."""
    picture = Image.new("RGB", (width, height), "white")
    pen, face = ImageDraw.Draw(picture), ImageFont.load_default(int(rng.integers(9, 18)))
    left, right, top, bottom = 0.12 * width, 0.94 * width, 0.1 * height, 0.86 * height
    kind = rng.integers(4)
    if kind == 3:
        angles = np.sort(rng.uniform(0, 360, rng.integers(2, 8)))
        radius = 0.38 * min(width, height)
        box = (width / 2 - radius, height / 2 - radius, width / 2 + radius, height / 2 + radius)
        for start, end in zip(angles, [*angles[1:], angles[0] + 360], strict=True):
            pen.pieslice(box, start, end, fill=_colour(rng), outline="white")
        return picture
    pen.line((left, top, left, bottom, right, bottom), fill="black", width=int(rng.integers(1, 4)))
    for tick in range(6):
        x, y = left + tick * (right - left) / 6, bottom - tick * (bottom - top) / 6
        pen.text((x, bottom + 4), str(tick * 10), font=face, fill="black")
        pen.text((4, y - 6), str(tick), font=face, fill="black")
        if rng.random() < 0.5:
            pen.line((left, y, right, y), fill=(210, 210, 210))
    for _ in range(rng.integers(1, 4)):
        count, colour = int(rng.integers(5, 60)), _colour(rng)
        xs = np.linspace(left, right, count)
        ys = (bottom - (bottom - top) * (0.5 + np.cumsum(rng.normal(0, 0.08, count)))).clip(top, bottom)
        if kind == 0:
            pen.line(list(zip(xs, ys, strict=True)), fill=colour, width=int(rng.integers(1, 5)))
        elif kind == 1:
            for x, y in zip(xs, ys, strict=True):
                pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
        else:
            for x, y in zip(xs[:-1], ys[:-1], strict=True):
                pen.rectangle((x, y, x + 0.7 * (xs[1] - xs[0]), bottom), fill=colour)
    return picture


def _scribble(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Draw random curves in one colour on paper."""
    picture = Image.new("RGB", (width, height), tuple(rng.integers(215, 256, 3).tolist()))
    pen, colour = ImageDraw.Draw(picture), tuple(rng.integers(0, 120, 3).tolist())
    for _ in range(rng.integers(2, 15)):
        start = rng.uniform(0.1, 0.9, 2) * (width, height)
        steps = rng.normal(0, 0.04 * min(width, height), (int(rng.integers(5, 80)), 2))
        smooth = np.cumsum(np.cumsum(steps, axis=0) * 0.2, axis=0)
        pen.line([tuple(point) for point in (start + smooth).tolist()], fill=colour, width=int(rng.integers(1, 6)))
    return picture


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    return tuple(rng.integers(0, 256, 3).tolist())


def _points(rng: np.random.Generator, width: int, height: int, count: int) -> list[tuple[float, float]]:
    """Return the points of one shape around a centre."""
    centre, reach = rng.random(2) * (width, height), rng.uniform(0.05, 0.4) * min(width, height)
    return [tuple(point) for point in (centre + rng.uniform(-reach, reach, (count, 2))).tolist()]


KINDS: dict[str, Draw] = {
    "noise": _noise,
    "shade": _shade,
    "pattern": _pattern,
    "text": _text,
    "shapes": _shapes,
    "chart": _chart,
    "scribble": _scribble,
}
"""Kind of picture -> function that draws it."""
