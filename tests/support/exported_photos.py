"""Photos with odd names and captions, for the tests of exports."""

import io
from collections.abc import Iterator

from PIL import Image

from captioner.exports import ExportRecord

CAPTIONS = (
    "a dog runs through the grass",
    "one,\ttwo\tthree,\n and a second line",
    "she said \"no\", and 'left'; a < b & c > d",
    "كلب يجري في العشب، ثم يقفز",
    "שלום \u200f(עולם)\u200f 123",
    "a dög \U0001f415\u200d\U0001f9ba naïve café",
    "=SUM(A1:A9)",
    "first\r\nsecond\rthird",
    "&amp; <b>bold</b> \\n {x} %s",
    "   spaces around   ",
)
NAMES = (
    "plain.jpg",
    "deep/er/still.jpg",
    "quotes \" and ' in it.jpg",
    "line\nbreak.jpg",
    "hund \U0001f415 ü.png",
    "x" * 246 + ".jpg",
    "100% of #1 & more?.jpg",
    "two.dots.in it.jpeg",
    "كلب.jpg",
    "deep/plain.jpg",
)


def photo_bytes(number: int = 0, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8 + number, 6), (20 * number % 255, 90, 40)).save(file, kind)
    return file.getvalue()


def odd_records() -> list[ExportRecord]:
    """Return a record for each name, with a caption each."""
    return [
        ExportRecord(name, (caption,), photo_bytes(number), (8 + number, 6), number / 16)
        for number, (name, caption) in enumerate(zip(NAMES, CAPTIONS, strict=True))
    ]


def many_records(count: int) -> Iterator[ExportRecord]:
    """Yield records of one small photo, made as they are asked for."""
    content = photo_bytes()
    for number in range(count):
        yield ExportRecord(
            f"folder {number % 7}/photo-{number}.jpg", (f"a dog, number {number}",), content, (8, 6), 0.5
        )
