"""Runs of the training loop on drawn photos."""

import dataclasses

import pytest

from captioner.config import DecodingOptions
from tests.support.shapes import draw_shapes
from tests.support.training_setups import make_training_setup
from training import captioning
from training.captioning import fit
from training.data.records import read_records


@pytest.fixture(autouse=True)
def plain_pictures(monkeypatch) -> None:
    """Draw photos in place of figure strips, which take most of a run's time; one test draws the strips."""
    monkeypatch.setattr(captioning, "figure_strip", lambda photo, caption: photo)


@pytest.fixture
def make_setup(tmp_path, three_stages, three_stages_config, words_without_java):
    draw_shapes(tmp_path / "shapes", {"train": 8, "val": 3})

    def make(options):
        return make_training_setup(
            read_records(tmp_path / "shapes"), three_stages_config, DecodingOptions(beam_width=2, max_words=9),
            options, tmp_path / "cache", three_stages, "cpu",
        )  # fmt: skip

    return make


@pytest.fixture
def run(tmp_path, make_setup):
    def run(name, options, resume=False):
        return fit(make_setup(options), options, tmp_path / name, resume)

    return run


@pytest.fixture
def at_batch(monkeypatch):
    """Call a function at the nth batch from now on; its result, if any, becomes the batch's loss."""
    original = captioning.batch_loss

    def at_batch(number, act):
        losses = []

        def intercept(*arguments):
            result = original(*arguments)
            losses.append(result.loss)
            new_loss = act(result.loss) if len(losses) == number else None
            return result if new_loss is None else dataclasses.replace(result, loss=new_loss)

        monkeypatch.setattr(captioning, "batch_loss", intercept)

    return at_batch
