"""A data set of coloured shapes: drawn photos with known captions and boxes."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"red": (225, 35, 35), "green": (30, 165, 55), "blue": (40, 70, 225), "yellow": (240, 215, 30)}
SHAPES = ("circle", "square", "triangle")
WIDTH, HEIGHT = 192, 144
SIDES = (52, 64)
"""Smallest and largest side of a shape's box, in pixels."""


@dataclass(frozen=True)
class Shape:
    colour: str
    shape: str
    box: tuple[int, int, int, int]
    """Left, top, right and bottom in the photo, in pixels."""

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Drawing:
    """Contents of one photo: two shapes that differ in colour and form, the upper or left one first."""

    path: Path
    shapes: tuple[Shape, Shape]
    relation: str

    @property
    def caption(self) -> str:
        first, second = self.shapes
        return f"a {first.name} {self.relation} a {second.name}"


def draw_shapes(folder: Path, counts: Mapping[str, int], seed: int = 0) -> dict[str, list[Drawing]]:
    """Draw a number of photos for each split into `folder`, with a captions.csv -> their contents, by split."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    drawings = {
        split: [_draw(folder / f"{split}{number:04}.png", rng) for number in range(count)]
        for split, count in counts.items()
    }
    with open(folder / "captions.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption", "split"])
        for split, split_drawings in drawings.items():
            table.writerows([drawing.path.name, drawing.caption, split] for drawing in split_drawings)
    return drawings


def write_boxes(file: Path, drawings: Mapping[str, Sequence[Drawing]]) -> None:
    """Write the boxes of both shapes of each caption in the JSON form of Flickr30k Entities."""
    photos = {}
    for drawing in (drawing for split_drawings in drawings.values() for drawing in split_drawings):
        starts = 0, len(drawing.caption.split()) - 3  # of "a red circle" and of "a blue square"
        phrases = [
            {"id": str(number), "types": ["other"], "first_word_index": first, "phrase": f"a {shape.name}"}
            for number, (shape, first) in enumerate(zip(drawing.shapes, starts, strict=True))
        ]
        photos[drawing.path.name] = {
            "width": WIDTH,
            "height": HEIGHT,
            "boxes": {str(number): [shape.box] for number, shape in enumerate(drawing.shapes)},
            "scene": [],
            "nobox": [],
            "sentences": [{"sentence": drawing.caption, "phrases": phrases}],
        }
    file.write_text(json.dumps(photos))


def _draw(path: Path, rng: np.random.Generator) -> Drawing:
    colours, shapes = rng.permutation(list(COLOURS))[:2], rng.permutation(SHAPES)[:2]
    above = rng.random() < 0.5
    drawn_shapes = []
    for number, (colour, shape) in enumerate(zip(colours, shapes, strict=True)):
        far, across = 0.25 + 0.5 * number, rng.uniform(0.35, 0.65)
        x, y = (across, far) if above else (far, across)
        side = rng.uniform(*SIDES)
        left, top = round(x * WIDTH - side / 2), round(y * HEIGHT - side / 2)
        drawn_shapes.append(Shape(str(colour), str(shape), (left, top, left + round(side), top + round(side))))
    noise = rng.normal(rng.uniform(90, 190), 12, (HEIGHT, WIDTH, 1)).clip(0, 255).astype(np.uint8)
    photo = Image.fromarray(noise.repeat(3, axis=2))
    for shape in drawn_shapes:
        _paint(ImageDraw.Draw(photo), shape)
    photo.save(path)
    return Drawing(path, (drawn_shapes[0], drawn_shapes[1]), "above" if above else "left of")


def _paint(draw: ImageDraw.ImageDraw, shape: Shape) -> None:
    left, top, right, bottom = shape.box
    colour = COLOURS[shape.colour]
    if shape.shape == "circle":
        draw.ellipse(shape.box, fill=colour)
    elif shape.shape == "square":
        draw.rectangle(shape.box, fill=colour)
    else:
        draw.polygon([(left, bottom), (right, bottom), (math.floor((left + right) / 2), top)], fill=colour)
