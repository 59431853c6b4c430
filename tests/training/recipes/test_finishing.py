"""The last steps of a recipe: averaging weights, choosing decoding options, and writing the card."""

import json
from dataclasses import replace

import pytest
import torch

from captioner.bundle.bundle import save_bundle
from captioner.config import DecodingOptions
from tests.support.quick_training import cut_at_spaces
from tests.support.shapes import draw_shapes
from training import validation
from training.data.records import read_records
from training.evaluation.metrics import METRICS
from training.recipes.default import RECIPES
from training.recipes.finishing import DecodingChoice, averaged_bundle, bundle_figures, describe_recipe, finish_card
from training.recipes.options import load_recipe

CARD = """# a and b captioner

- Data: all of it.
- Training: at most 2 epochs,
  then 3; these weights are of epoch 1.

| validation, beam 3 | mean |
|---|---|
| CIDEr | 0.500 |

It says what its training captions would say. Be careful.
"""


def test_averaging_weights_the_checkpoints_and_keeps_everything_else(make_bundle, tmp_path):
    for seed in (0, 1):
        save_bundle(make_bundle(seed), tmp_path / str(seed))
    mean = averaged_bundle({"0": tmp_path / "0", "1": tmp_path / "1"}, {"0": 0.25, "1": 0.75})
    first, second = (make_bundle(seed).model.state_dict() for seed in (0, 1))
    for name, tensor in mean.model.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 0.25 * first[name] + 0.75 * second[name], atol=2e-3, rtol=2e-3)
        else:
            assert torch.equal(tensor, second[name])
    assert mean.vocabulary.words == make_bundle(1).vocabulary.words


@pytest.fixture
def choice(tmp_path, tiny_bundle, monkeypatch):
    monkeypatch.setattr(validation, "tokenise_for_scoring", cut_at_spaces)
    for name, seed in (("a", 1), ("b", 2)):
        draw_shapes(tmp_path / name, {"train": 1, "val": 3}, seed)
    data_sets = [read_records(tmp_path / name) for name in "ab"]
    return lambda: DecodingChoice(tiny_bundle, data_sets, 2, tmp_path / "cache", "cpu")


def test_each_option_is_chosen_with_the_best_of_those_before_it(choice, tmp_path, monkeypatch):
    ciders = {(5, 3): 0.1, (5, 0): 0.2, (5, 2): 0.15, (1, 0): 0.3, (1, 3): 0.9}  # the last is never tried
    tried_options = []

    def score(validator, *_):
        key = validator.options.beam_width, validator.options.block_repeats
        tried_options.append(key)
        return validation.Validation([], {"CIDEr": ciders[key]})

    monkeypatch.setattr(validation.Validator, "__call__", score)
    start = replace(DecodingOptions(), beam_width=5, block_repeats=3)
    selection = choice()
    selection.bundle = replace(selection.bundle, decoding=start)
    values = {"block_repeats": [0, 2], "beam_width": [1, 5]}
    assert selection.choose(values, tmp_path / "tried.json") == replace(start, beam_width=1, block_repeats=0)
    assert tried_options == [(5, 3), (5, 0), (5, 2), (1, 0)]
    selection.choose(values, tmp_path / "tried.json")
    assert len(tried_options) == 4, "results of earlier trials are kept"


def test_decodings_are_scored_on_the_validation_photos_of_all_data_sets(choice, tmp_path):
    decoding = choice().choose({"beam_width": [1, 2]}, tmp_path / "tried.json")
    assert decoding.beam_width in (1, 2, choice().bundle.decoding.beam_width)
    results = json.loads((tmp_path / "tried.json").read_text())
    assert all(set(entry["by_data"]) == {"a", "b"} for entry in results)


def test_the_card_has_the_scores_of_the_evaluations_and_how_it_was_made():
    values = {**dict.fromkeys(METRICS, 0.25), "images": 7}
    with_boxes = values | {"grounding": {"references": {"head": {"attention_correctness": 0.7, "pointing": 0.8}}}}
    recipe = replace(load_recipe(RECIPES / "smoke.json"), notes=("Be kind.",))
    best = {"epoch": 4, "phase": "fine_tune"}
    seconds = {"captions": 3700.0, "average": 1.0}
    description = describe_recipe("python -m recipe", recipe, best, seconds, "2 CPU cores")
    card = finish_card(
        CARD,
        {"a, val": with_boxes, "b, val": values},
        DecodingOptions(beam_width=4, block_repeats=2, repeat_nouns=False),
        description,
    )
    assert "0.500" not in card and card.startswith("# a and b captioner\n\n- Data: all of it.\n\n| official")
    assert (
        "beam 4, length exponent 0.7, no pair of words twice, no noun twice | a, val | b, val |\n|---|---|---|\n"
        in card
    )
    assert "| CIDEr | 0.250 | 0.250 |" in card
    assert "Head nouns with boxes, a, val: attention correctness 0.700, pointing 0.800." in card
    text = " ".join(card.split())
    assert "Made by `python -m recipe` in 2 training runs. Stages: captions (epochs 2, batch_size 6" in text
    assert "the mean of those after the stages: 0.5 of self-critical, 0.5 of captions-again." in text
    assert "It took 1 h 1 min on 2 CPU cores: captions 1 h 1 min, average 1 s." in text
    assert "average 1 s.\n\nBe kind.\n\nIt says what" in card
    assert "Training:" not in card and "epoch 1" not in card
    single_run = describe_recipe("", replace(recipe, average={}), best, seconds, "")
    assert "The weights are those of epoch 4 (fine_tune)." in single_run[0]
    assert card.endswith("\n\nIt says what its training captions would say. Be careful.\n")
    assert bundle_figures(with_boxes)["pointing"] == 0.8 and "pointing" not in bundle_figures(values)
    rated = values | {"confidence": {"captions": {"roc_area": 0.75, "risk_coverage": [[0.5, 0.1]]}}}
    assert bundle_figures(rated)["confidence"] == {"captions": {"roc_area": 0.75}}
