"""Fixtures of bulk runs: a tiny captioner, drawn photos, and the command in this process."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def bundle(tiny_bundle, tmp_path) -> Path:
    from captioner.bundle.bundle import save_bundle

    save_bundle(tiny_bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def photos(tmp_path):
    """Return a function that draws a number of photos into a folder."""

    def draw(count: int, folder: str = "photos") -> Path:
        path = tmp_path / folder
        path.mkdir()
        rng = np.random.default_rng(0)
        for number in range(count):
            pixels = rng.integers(0, 255, (4, 5, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((80, 64)).save(path / f"photo-{number:06}.jpg")
        return path

    return draw


@pytest.fixture
def run(bundle, capsys):
    """Return a function that runs the command in this process -> (exit status, standard error)."""

    from captioner import __main__ as command

    def run(*arguments: object) -> tuple[int, str]:
        status = command.main([*map(str, arguments), "--bundle", str(bundle), "--runtime", "exact"])
        out, err = capsys.readouterr()
        assert out == ""
        return status, err

    return run
