"""Random photos and captions of realistic size and length, as only these affect the speed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from captioner.text.vocabulary import SPECIAL_WORDS, Vocabulary
from training.data.records import ImageRecord

WIDTH, HEIGHT = 640, 480
"""Of most photos of COCO, in pixels."""

CAPTIONS_PER_PHOTO = 5
"""As in COCO and Flickr8k."""

WORDS, WORDS_DEVIATION, FEWEST_WORDS, MOST_WORDS = 10.5, 2.3, 7, 20
"""Words per caption of COCO: mean and standard deviation, and the limits used here."""


def draw_photos(folder: Path, count: int, width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> list[Path]:
    """Draw `count` JPEG files in `folder`, each of some ellipses on noise."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        noise = rng.normal(128, 40, (height // 4, width // 4, 3)).clip(0, 255).astype(np.uint8)
        photo = Image.fromarray(noise).resize((width, height)).filter(ImageFilter.GaussianBlur(1))
        draw = ImageDraw.Draw(photo)
        for _ in range(12):
            left, top = rng.integers(0, width), rng.integers(0, height)
            box = (left, top, left + rng.integers(10, width // 2), top + rng.integers(10, height // 2))
            draw.ellipse([int(edge) for edge in box], fill=tuple(rng.integers(0, 256, 3).tolist()))
        paths.append(folder / f"{number:05}.jpg")
        photo.save(paths[-1], quality=90)
    return paths


def draw_captions(
    words: Sequence[str], photos: int, per_photo: int = CAPTIONS_PER_PHOTO, seed: int = 0
) -> list[tuple[str, ...]]:
    """Draw `per_photo` captions per photo from `words`."""
    rng = np.random.default_rng(seed)
    lengths = rng.normal(WORDS, WORDS_DEVIATION, (photos, per_photo)).round().clip(FEWEST_WORDS, MOST_WORDS).astype(int)
    return [tuple(" ".join(rng.choice(words, length)) for length in photo_lengths) for photo_lengths in lengths]


def draw_records(vocabulary: Vocabulary, photos: int, folder: Path, blank: bool = False) -> list[ImageRecord]:
    """Draw photos in `folder` with captions of the vocabulary's words. blank: create empty files, never to be read."""
    if blank:
        paths = [folder / f"{number}.jpg" for number in range(photos)]
        for path in paths:
            path.touch()
    else:
        paths = draw_photos(folder / "photos", photos)
    return make_records(vocabulary, paths)


def make_records(vocabulary: Vocabulary, paths: Sequence[Path]) -> list[ImageRecord]:
    """Return existing photos with captions of the vocabulary's words, the same each time."""
    captions = draw_captions(vocabulary.words[len(SPECIAL_WORDS) :], len(paths))
    return [ImageRecord(path.name, path, texts, "train") for path, texts in zip(paths, captions, strict=True)]
