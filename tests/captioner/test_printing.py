"""The printed output fits every terminal, and every picture has a unique name."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from captioner.captioner import Caption
from captioner.images.fitting import ImageFrame
from captioner.printing import JsonLines, unique_names


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_stays_valid_in_a_terminal_of_another_encoding(monkeypatch, encoding):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", stdout)
    lines = JsonLines()
    frame = ImageFrame(4, 3, (0.0, 0.0, 4.0, 3.0))
    values = np.ones(1, dtype=np.float32)
    lines.photo(
        Path("é.png"), [Caption("étoile 🐕", ("étoile",), (4,), np.ones((1, 1, 1)), values, -values, -1.0, -1.0, frame)]
    )
    lines.end()
    stdout.seek(0)
    (entry,) = json.loads(stdout.read())
    assert (entry["image"], entry["caption"]) == ("é.png", "étoile 🐕")
    assert ("é" in stdout.buffer.getvalue().decode(encoding)) == (encoding == "utf-8")


def test_file_names_of_dots_give_names_within_the_folder():
    assert list(unique_names([Path("...jpg"), Path("..png"), Path(".a.jpg")]).values()) == [
        "photo", "photo-2", "a",
    ]  # fmt: skip
