"""One command makes the translators that ship: training, scores of the test sentences, card."""

import json

import pytest

from captioner.translation.bundle import load_translator_bundle
from tests.support.parallel_texts import OPTIONS, PAIRS, SIZES, write_pairs
from training import __main__ as training
from training.recipes import translators


@pytest.fixture
def make(tmp_path):
    """Run the recipe for German with tiny sizes; the function returns the exit status and the folder of en-de."""
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "val", "test"):
        write_pairs(data, split, PAIRS)
    recipe = {"options": {**SIZES, **OPTIONS}, "test": "test"}
    recipe |= {"pairs_for_rare_words": 9, "notes": ["Data: eight pairs.", "Do not use it."]}

    def run(**changes):
        path = tmp_path / "recipe.json"
        path.write_text(json.dumps(recipe | changes))
        arguments = ["--data", data, "--targets", "de", "--output", tmp_path / "out", "--recipe", path]
        status = translators.main([*map(str, arguments), "--device", "cpu"])
        return status, tmp_path / "out" / "en-de"

    return run


def test_the_translator_carries_its_test_scores_and_its_card(make, capsys):
    status, folder = make()
    assert status == 0
    bundle = load_translator_bundle(folder / "bundle")
    test = json.loads((folder / "test" / "metrics.json").read_text())
    assert bundle.metrics["test"] == test and test["sentences"] == len(PAIRS)
    assert bundle.metrics["validation"] and bundle.metrics["recipe"]["seconds"]["fit"] > 0
    assert f"| all | 8 | {test['bleu']:.1f} | {test['chrf']:.1f} |" in bundle.card
    assert bundle.card.rstrip().endswith("Data: eight pairs.\n\nDo not use it.")
    assert "words of a small lexicon" in bundle.card

    lines = (folder / "data" / "train.de").read_text().splitlines()
    assert lines[: len(PAIRS)] == [german for _, german in PAIRS]
    assert len(lines) > len(PAIRS) and "Ein roter Papagei schläft." in lines

    made = (folder / "run" / "checkpoint.pt").stat().st_mtime_ns
    status, _ = make(notes=["Other words."])  # only the card is made again
    assert status == 0 and (folder / "run" / "checkpoint.pt").stat().st_mtime_ns == made
    assert "fit: done before" in capsys.readouterr().out
    assert load_translator_bundle(folder / "bundle").card.rstrip().endswith("Other words.")


def test_a_stopped_training_is_resumed(make, monkeypatch):
    _, folder = make()
    (folder / "steps.json").unlink()  # as if it had been killed before the step ended
    given = []

    def record(arguments) -> int:
        given.append((arguments[0].removesuffix("-translator"), "--resume" in arguments))
        return 0

    monkeypatch.setattr(training, "main", record)
    assert make()[0] == 0
    assert given == [("fit", True), ("evaluate", False)]


def test_a_missing_test_split_ends_the_recipe_with_a_sentence(make, capsys):
    status, folder = make(test="test_2016")
    assert status == 2
    assert "test_2016" in capsys.readouterr().err
    assert not (folder / "bundle").exists()


@pytest.mark.parametrize("changes", [{"options": None}, {"notes": 3}, {"pairs_for_rare_words": "many"}])
def test_a_damaged_recipe_is_reported(make, changes, capsys):
    assert make(**changes)[0] == 2
    assert "is not a recipe of translators" in capsys.readouterr().err


def test_the_seconds_of_a_run_leave_out_the_validation_of_its_start(tmp_path):
    lines = [{"epoch": 0}, *({"epoch": n, "train_seconds": 2.5, "validation_seconds": 0.5} for n in (1, 2))]
    (tmp_path / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert translators._training_seconds(tmp_path / "log.jsonl") == 6.0
