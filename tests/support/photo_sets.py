"""Captioned photos in the form of user uploads."""

import io
import zipfile

import numpy as np
from PIL import Image


def photo_bytes(number: int, size: tuple[int, int] = (96, 72)) -> bytes:
    """Return a photo of coarse noise, different for each number."""
    noise = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def photo_set(
    count: int = 24, captions: tuple[str, ...] = ("a dog runs on the grass", "a red ball")
) -> dict[str, bytes]:
    """Return name -> content: photos and a table with their captions."""
    files = {f"images/{number}.jpg": photo_bytes(number) for number in range(count)}
    rows = [f"{number}.jpg,{caption}" for number in range(count) for caption in captions]
    return {**files, "captions.csv": "\n".join(["image,caption", *rows]).encode()}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
