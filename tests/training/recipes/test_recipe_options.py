"""Shipped recipes are valid, and an invalid one is reported in one sentence."""

import json

import pytest

from captioner.errors import ConfigError
from training.recipes.default import RECIPES
from training.recipes.options import flags, load_recipe

SMOKE = json.loads((RECIPES / "smoke.json").read_text())


@pytest.mark.parametrize("name", ["default", "smoke", "ablations"])
def test_shipped_recipes_are_valid(name):
    assert load_recipe(RECIPES / f"{name}.json").stages


def test_a_stage_inherits_the_options_of_earlier_stages_of_its_run():
    recipe = load_recipe(RECIPES / "default.json")
    last = recipe.options_at(len(recipe.stages) - 1)
    assert last.items() >= recipe.stages[-1].options.items()
    assert {"epochs", "fine_tune_epochs", "self_critical_epochs"} <= last.keys()
    assert "fine_tune_epochs" not in recipe.options_at(0)
    assert [recipe.start_of_run(number) for number in range(len(recipe.stages))] == [0, 0, 0, 3, 3, 3]
    assert recipe.options_at(3) == recipe.stages[3].options


@pytest.mark.parametrize("new_run", [True, "yes"])
def test_the_first_stage_cannot_start_a_new_run(tmp_path, new_run):
    file = tmp_path / "mine.json"
    first = SMOKE["stages"][0] | {"new_run": new_run}
    file.write_text(json.dumps(SMOKE | {"stages": [first]}))
    with pytest.raises(ConfigError, match="mine.json: (the first stage cannot|new_run of a stage must)"):
        load_recipe(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"captioner": {"image_size": 0}}, "image_size must be a whole number above 0"),
        ({"captioner": {"colour": 1}}, "does not have the form of a recipe"),
        ({"extra": 1}, "there is no 'extra' in a recipe, only average, captioner, confidence"),
        ({"stages": []}, "needs stages with different names, not none"),
        ({"stages": [{"name": "a", "options": {"epochs": -1}}]}, "epochs must be a whole number, 0 or above"),
        ({"stages": [{"name": "a", "options": {"fine_tune_epochs": 1}}]}, "needs fine_tune_stages"),
        (
            {"average": {"polish": 1.0}},
            "average names 'polish', which is no stage: the stages are captions, fine",
        ),
        ({"average": {"captions": 0.4}}, "must sum to 1, not to 0.4"),
        ({"decoding": {"beam_width": []}}, "decoding has no value of beam_width"),
        ({"decoding": {"beam_width": [0]}}, "beam_width must be a whole number above 0, not 0"),
        ({"confidence": "yes"}, "confidence must be true or false, not 'yes'"),
        ({"decoding_photos": -1}, "decoding_photos must be a whole number, 0 or above, not -1"),
        ({"notes": "one"}, "notes must be a list of paragraphs, not 'one'"),
        ({"stages": [{"options": {}}]}, "does not have the form of a recipe"),
    ],
)
def test_an_invalid_recipe_is_refused_in_one_sentence(tmp_path, change, message):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(SMOKE | change))
    with pytest.raises(ConfigError, match="mine.json") as error:
        load_recipe(file)
    assert message in str(error.value)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, content):
    if content:
        (tmp_path / "mine.json").write_text(content)
    with pytest.raises(ConfigError, match="mine.json (cannot be read as JSON|does not have the form)"):
        load_recipe(tmp_path / "mine.json")


def test_options_become_arguments():
    assert flags({"image_size": 64, "mirror": True, "tied_output": False, "learning_rate": 1e-4}) == [
        "--image-size", "64", "--mirror", "--no-tied-output", "--learning-rate", "0.0001",
    ]  # fmt: skip
