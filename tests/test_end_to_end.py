"""End to end by the command line: from drawn photos to a captioner that names new shapes and attends to them."""

import json
from pathlib import Path

import numpy as np
import pytest

import captioner
from captioner.captioner import Caption
from captioner.overlays import heat_map
from tests.support.shapes import HEIGHT, WIDTH, Drawing, Shape, draw_shapes
from training.__main__ import main

pytestmark = pytest.mark.stress

# The encoder has its real weights, from its package. The doubly stochastic penalty would spread nine words' attention
# evenly over 25 locations, and is left out. After 8 epochs one seed in three has not yet learned the relations: which,
# depends on rounding, and so on the machine.
RECIPE = """
    --encoder efficientnet_lite0 --image-size 160 --fit squash --embedding-dim 64 --hidden-dim 128 --attention-dim 64
    --dropout 0.2 --epochs 10 --batch-size 16 --learning-rate 4e-3 --warmup-steps 20 --label-smoothing 0 --min-count 1
    --doubly-stochastic-weight 0 --average-decay 0.95 --beam-width 2 --device cpu --seed 4
"""


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> tuple[Path, list[Drawing]]:
    """Return the folder of a run and its data, and the contents of photos that it has never seen."""
    folder = tmp_path_factory.mktemp("shapes")
    drawings = draw_shapes(folder / "data", {"train": 600, "val": 40, "test": 60})
    arguments = ["--data", folder / "data", "--cache", folder / "cache", "--output", folder / "run"]
    assert main(["fit", *map(str, arguments), *RECIPE.split()]) == 0
    return folder, drawings["test"]


@pytest.fixture(scope="module")
def results(learned) -> list[tuple[Drawing, Caption]]:
    folder, unseen = learned
    model = captioner.load(folder / "run" / "bundle", "cpu")
    return list(zip(unseen, model.caption([drawing.path for drawing in unseen]), strict=True))


def test_new_photos_get_the_right_captions(results):
    right = [caption.text == drawing.caption for drawing, caption in results]
    assert np.mean(right) > 0.8  # 0.97 when it was written; one caption for all photos would get 0.03


def test_colours_shapes_and_positions_are_named(results):
    for number in (1, 2, -2, -1):
        right = [caption.words[number] == drawing.caption.split()[number] for drawing, caption in results]
        assert np.mean(right) > 0.9
    assert np.mean([drawing.relation in caption.text for drawing, caption in results]) > 0.9


def mass(heat: np.ndarray, shape: Shape) -> float:
    """Return the share of a heat map within a shape's box."""
    left, top, right, bottom = shape.box
    return float(heat[top:bottom, left:right].sum() / heat.sum())


def peak_is_near(caption: Caption, word: int, shape: Shape) -> bool:
    """Return whether the most attended cell's centre is within half a cell of a shape's box."""
    alpha = caption.alphas[word]
    row, column = np.unravel_index(alpha.argmax(), alpha.shape)
    down, across = HEIGHT / alpha.shape[0], WIDTH / alpha.shape[1]
    left, top, right, bottom = shape.box
    x, y = (column + 0.5) * across, (row + 0.5) * down
    return left - across / 2 <= x <= right + across / 2 and top - down / 2 <= y <= bottom + down / 2


def test_overlays_cover_the_shapes_that_words_name(results):
    on_named, on_other, uniform, near = [], [], [], []
    for drawing, caption in results:
        for shape, other in (drawing.shapes, drawing.shapes[::-1]):
            for name in {shape.colour, shape.shape} & {*caption.words}:
                word = caption.words.index(name)
                heat = heat_map(caption.alphas[word], caption.frame)  # of the photo's own pixels
                assert heat.shape == (HEIGHT, WIDTH)
                on_named.append(mass(heat, shape))
                on_other.append(mass(heat, other))
                uniform.append(mass(np.ones_like(heat), shape))
                near.append(peak_is_near(caption, word, shape))
    assert len(near) > 200
    # In brackets: the values measured when this was written.
    assert np.mean(on_named) > 2 * np.mean(uniform)  # (0.40, and 0.12 of a uniform map)
    assert np.mean(np.array(on_named) > on_other) > 0.9  # (0.99; 0.5 by chance)
    assert np.mean(near) > 0.75  # (0.93; 0.3 of the photo is as near)


def test_evaluate_reproduces_the_validation_scores(learned):
    folder, _ = learned
    arguments = [
        str(path) for path in ("--data", folder / "data", "--output", folder / "val", "--bundle", folder / "run/bundle")
    ]
    assert main(["evaluate", *arguments, "--split", "val", "--device", "cpu"]) == 0
    metrics = json.loads((folder / "val" / "metrics.json").read_text())
    best = json.loads((folder / "run" / "bundle" / "metrics.json").read_text())["validation"]
    # Not exactly: a run validates with features in 16 bits and weights in 32, a bundle the other way round.
    assert metrics["CIDEr"] == pytest.approx(best["CIDEr"], abs=0.5)
    assert metrics["Bleu_4"] == pytest.approx(best["Bleu_4"], abs=0.05)
    assert metrics["CIDEr"] > 8 and metrics["Bleu_1"] > 0.9
