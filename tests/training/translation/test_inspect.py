"""The report of parallel text counts what a run would learn from."""

import json

import pytest

from captioner.errors import DataError
from tests.support.parallel_texts import PAIRS, write_pairs
from training.__main__ import main
from training.translation.inspect import inspect_parallel


def test_the_report_has_languages_counts_advice_and_samples(parallel_folder):
    with open(parallel_folder / "train.en", "a") as english, open(parallel_folder / "train.de", "a") as german:
        english.write("\n"), german.write("Leer.\n")
    report = inspect_parallel(parallel_folder)
    assert (report["source"], report["target"]) == ("en", "de")
    assert report["splits"] == [
        {"split": name, "pairs": pairs} for name, pairs in (("test_tiny", 3), ("train", len(PAIRS)), ("val", 4))
    ]
    assert report["total"] == {"pairs": 7 + len(PAIRS)}
    assert report["left_out"] == ["left out: 1 x pair with an empty side"]
    assert report["advice"][0].startswith("8 training pairs are few: start from a translator of these languages")
    assert {(pair["source"], pair["target"]) for pair in report["samples"]} <= set(PAIRS)


def test_text_that_was_not_translated_is_pointed_out(tmp_path):
    write_pairs(tmp_path, "train", [(english, english) for english, _ in PAIRS])
    write_pairs(tmp_path, "val", PAIRS[:2])
    assert "have the same text on both sides" in inspect_parallel(tmp_path)["advice"][1]


def test_text_without_training_pairs_is_refused(tmp_path):
    write_pairs(tmp_path, "val", PAIRS)
    with pytest.raises(DataError, match="holds no pairs to train on, only val"):
        inspect_parallel(tmp_path)


def test_the_command_prints_text_or_json(parallel_folder, capsys):
    assert main(["inspect-parallel", "--data", str(parallel_folder), "--target", "de"]) == 0
    assert capsys.readouterr().out.startswith("en to de\ntest_tiny: 3 pairs\ntrain: 8 pairs\n")
    assert main(["inspect-parallel", "--data", str(parallel_folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == inspect_parallel(parallel_folder)
    assert main(["inspect-parallel", "--data", str(parallel_folder / "train.en")]) == 2
    assert "in one language, en" in capsys.readouterr().err
