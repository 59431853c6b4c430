"""Drawn toy data: two small data sets, boxes and sentences, to try a recipe without real data."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"red": (225, 35, 35), "green": (30, 165, 55), "blue": (40, 70, 225)}
SHAPES = ("ball", "box")
COUNTS = {"train": 12, "val": 6, "test": 6}
SIDE = 96


@dataclass(frozen=True)
class DrawnData:
    """Paths of the drawn data."""

    first: Path
    second: Path
    boxes: Path
    """Boxes of the first data set."""
    sentences: tuple[Path, ...]


def draw_data(folder: Path) -> DrawnData:
    """Draw everything into a folder, the same each time, unless it is complete already."""
    data = DrawnData(folder / "first", folder / "second", folder / "boxes.json", (folder / "sentences.txt",))
    if not data.sentences[0].exists():  # written last
        boxes = _draw_data_set(data.first, seed=0)
        _draw_data_set(data.second, seed=1)
        data.boxes.write_text(json.dumps(boxes))
        lines = [f"a {colour} {shape} on a table" for colour in COLOURS for shape in (*SHAPES, "cup")]
        data.sentences[0].write_text("\n".join(lines * 20) + "\n")
    return data


def _draw_data_set(folder: Path, seed: int) -> dict[str, dict]:
    """Draw photos with one object each, and write their captions -> their boxes."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    boxes, rows = {}, []
    for split, count in COUNTS.items():
        for number in range(count):
            name = f"{split}{number}-{seed}.png"
            colour, shape = rng.choice(list(COLOURS)), rng.choice(SHAPES)
            left, top = (int(offset) for offset in rng.integers(0, SIDE // 2, 2))
            box = [left, top, left + SIDE // 2, top + SIDE // 2]
            noise = rng.normal(130, 20, (SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
            photo = Image.fromarray(noise)
            draw = ImageDraw.Draw(photo)
            (draw.ellipse if shape == "ball" else draw.rectangle)(box, fill=COLOURS[colour])
            photo.save(folder / name)
            caption = f"a {colour} {shape} is here"
            rows += [[name, caption, split], [name, f"there is a {colour} {shape}", split]]
            phrase = {"id": "1", "types": ["other"], "first_word_index": 0, "phrase": f"a {colour} {shape}"}
            boxes[name] = {
                "width": SIDE, "height": SIDE, "boxes": {"1": [box]}, "scene": [], "nobox": [],
                "sentences": [{"sentence": caption, "phrases": [phrase]}],
            }  # fmt: skip
    with open(folder / "captions.csv", "w", newline="") as file:
        csv.writer(file).writerows([["image", "caption", "split"], *rows])
    return boxes
