"""Broken caption files and boxes: usable entries are used and the rest reported, or the file is refused."""

import gzip
import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from captioner.errors import DataError
from stress.fuzz.kinds import WrongResult
from stress.fuzz.mutations import json_bytes, mutate_bytes, mutate_text
from training.data.boxes.box_set import phrases_of
from training.data.boxes.readers.formats import read_boxes
from training.data.records import READERS, read_records
from training.inspection.report import inspect_data, render

_PHOTOS = ("a.jpg", "b.jpg", "train/c.jpg", "images/d.jpg", "val2017/e.jpg", "ä.png")

COCO = {
    "info": {"year": 2017},
    "images": [{"id": number, "file_name": name} for number, name in enumerate(("a.jpg", "b.jpg", "e.jpg"))],
    "annotations": [{"id": n, "image_id": n % 3, "caption": f"a dog runs over field {n}"} for n in range(6)],
}
KARPATHY = {
    "dataset": "coco",
    "images": [
        {
            "filename": name, "filepath": "images", "cocoid": n, "imgid": n, "split": split, "sentids": [n],
            "sentences": [{"raw": "a red ball", "tokens": ["a"], "imgid": n, "sentid": n}, {"raw": "two", "sentid": 9}],
        }
        for n, (name, split) in enumerate((("a.jpg", "train"), ("d.jpg", "val"), ("b.jpg", "restval")))
    ],
}  # fmt: skip
CSV = 'image,caption,split\na.jpg,"a dog, running",train\nb.jpg,"two\nlines",val\nimages/d.jpg,a ball,test\nä.png,x,\n'
LINES = "\n".join(
    json.dumps(row)
    for row in (
        {"file_name": "a.jpg", "text": "a dog"},
        {"file_name": "b.jpg", "text": ["one", "two"], "split": "val"},
        {"image": "images/d.jpg", "captions": ["three"]},
    )
)
TOKENS = "a.jpg#0\ta dog runs\na.jpg#1\ta dog\nb.jpg#0\ttwo balls\nd.jpg#0\tgrass\n"
ENTITIES = {
    "a.jpg": {
        "width": 80, "height": 60, "boxes": {"1": [[1, 2, 30, 40]], "2": [[5, 5, 80, 60], [0, 0, 10, 10]]},
        "scene": ["3"], "nobox": ["4"],
        "sentences": [
            {
                "sentence": "A man 's dog runs .",
                "phrases": [{"id": "1", "types": ["people"], "first_word_index": 0, "phrase": "A man 's dog"}],
            },
        ],
    },
}  # fmt: skip
INSTANCES = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 30, 40], "iscrowd": 0}],
    "categories": [{"id": 2, "name": "fire hydrant", "supercategory": "outdoor"}],
}
XML = (
    "<annotation><filename>a.jpg</filename><size><width>80</width><height>60</height></size>"
    "<object><name>1</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>"
    "<object><name>2</name><scene>1</scene><nobndbox>0</nobndbox></object></annotation>\n"
)
SENTENCES = "[/EN#1/people A man] runs over [/EN#2/scene a field] .\nA [/EN#1/people man] .\n"

_JPEG = io.BytesIO()
Image.new("RGB", (8, 6), "red").save(_JPEG, "JPEG")


class CaptionFiles:
    """A caption file of each format, or two mixed ones, beside a few photos."""

    expected: tuple[type[Exception], ...] = (DataError,)

    def __init__(self) -> None:
        self._makers: tuple[tuple[str, Callable[[Random], bytes]], ...] = (
            ("captions_val2017.json", lambda rng: json_bytes(COCO, rng)),
            ("annotations/captions_train2017.json", lambda rng: json_bytes(COCO, rng)),
            ("dataset_coco.json", lambda rng: json_bytes(KARPATHY, rng)),
            ("captions.csv", lambda rng: mutate_text(CSV, rng)),
            ("train.tsv", lambda rng: mutate_text(CSV.replace(",", "\t"), rng)),
            ("train/metadata.jsonl", lambda rng: mutate_text(LINES, rng)),
            ("captions.jsonl", lambda rng: b"\n".join(json_bytes(json.loads(row), rng) for row in LINES.split("\n"))),
            ("Flickr8k.token.txt", lambda rng: mutate_text(TOKENS, rng)),
            ("Flickr_8k.trainImages.txt", lambda rng: mutate_text("a.jpg\nb.jpg\n", rng)),
            ("a.txt", lambda rng: mutate_text("a dog\na red dog\n", rng)),
        )

    def case(self, rng: Random) -> None:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
            root = Path(temporary) / "set"
            for name in _PHOTOS:
                _write(root / name, _JPEG.getvalue())
            files = [rng.choice(self._makers) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
            for name, make in files:
                _write(root / name, make(rng))
            path = root if rng.random() < 0.6 else root / files[0][0]
            images = rng.choice((None, None, root / "images"))
            data = read_records(path, rng.choice((None, None, None, *READERS)), images)
            for record in data.records:
                if not os.path.realpath(record.path).startswith(os.path.realpath(temporary)):
                    raise WrongResult(f"a photo outside the data set is used: {record.path}")
                if not record.captions or not all(caption.strip() for caption in record.captions):
                    raise WrongResult(f"a record has no captions: {record}")
            report = inspect_data(data, open_photos=False, progress=False)
            json.dumps(report.to_json(max_entries=10)).encode()
            render(report).encode()


class BoxFiles:
    """Boxes of each form, compressed and plain."""

    expected: tuple[type[Exception], ...] = (DataError,)

    def case(self, rng: Random) -> None:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
            path = Path(temporary) / "boxes.json"
            if rng.random() < 0.3:
                path = Path(temporary)
                _write(path / "Annotations" / "a.xml", mutate_text(XML.replace("><", ">\n<"), rng))
                _write(path / "Sentences" / "a.txt", mutate_text(SENTENCES, rng))
            else:
                data = json_bytes(rng.choice((ENTITIES, INSTANCES)), rng)
                if rng.random() < 0.2:
                    data = gzip.compress(data, 1, mtime=0)
                    data = mutate_bytes(data, (), rng, max_changes=2) if rng.random() < 0.5 else data
                _write(path, data)
            boxes = read_boxes(path)
            for photo in boxes.photos.values():
                _check_boxes([box for thing in photo.things for box in thing.boxes])
                for words in photo.phrases:
                    for phrase in phrases_of(photo, words) or ():
                        _check_boxes(phrase.boxes)
                        if not 0 <= phrase.first <= phrase.last < len(words):
                            raise WrongResult(f"a phrase lies outside its caption: {phrase}")


def _check_boxes(boxes: Any) -> None:
    for left, top, right, bottom in boxes:
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise WrongResult(f"a box lies outside its photo: {(left, top, right, bottom)}")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
