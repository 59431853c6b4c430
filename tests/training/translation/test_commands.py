"""The commands train and evaluate a translator, and say what is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.parallel_texts import OPTIONS, PAIRS, SIZES, write_pairs
from tests.support.training_runs import lines_of
from training.__main__ import main
from training.runs.checkpoint import save_checkpoint

ROOT = Path(__file__).parents[3]


def flags(values):
    return [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", str(value))]


@pytest.fixture
def fit_translator(parallel_folder, tmp_path):
    def fit(*more, source="en", target="de", data=parallel_folder, epochs="2", attention="soft"):
        arguments = ["fit-translator", "--data", str(data), "--source", source, "--target", target]
        arguments += ["--output", str(tmp_path / "run"), "--device", "cpu", *flags({**SIZES, **OPTIONS})]
        return main(
            [*arguments, "--beam-width", "2", "--max-words", "20", "--epochs", epochs, "--attention", attention, *more]
        )

    return fit


def test_a_translator_is_trained_and_evaluated(fit_translator, parallel_folder, tmp_path, capsys):
    assert fit_translator() == 0
    assert "the translator is in" in capsys.readouterr().out
    assert fit_translator("--resume", epochs="3") == 0
    arguments = ["evaluate-translator", "--data", str(parallel_folder), "--split", "test_tiny"]
    arguments += ["--bundle", str(tmp_path / "run" / "bundle"), "--output", str(tmp_path / "test"), "--device", "cpu"]
    assert main(arguments) == 0
    metrics = json.loads((tmp_path / "test" / "metrics.json").read_text())
    assert metrics["sentences"] == 3 and metrics["by_length"]["up to 10"]["sentences"] == 3
    assert metrics["decoding"]["beam_width"] == 2
    lines = [json.loads(line) for line in (tmp_path / "test" / "translations.jsonl").read_text().splitlines()]
    assert [line["source"][0] for line in lines] == ["Two", "A", "Two"]
    assert all(sum(word["weights"]) == pytest.approx(1, abs=0.01) for line in lines for word in line["words"])
    page = (tmp_path / "test" / "report.html").read_text()
    assert page.count("<article>") == 3 and "data:image/png" in page and "http" not in page.split("</style>")[1]


@pytest.mark.stress
def test_two_ranks_train_on_a_last_batch_of_one_pair(parallel_folder, tmp_path):
    arguments = ["fit-translator", "--data", parallel_folder, "--source", "en", "--target", "de", "--device", "cpu"]
    arguments += ["--output", tmp_path / "run", *flags({**SIZES, **OPTIONS, "batch_size": len(PAIRS) - 1})]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "training"]
    process = subprocess.run(
        [*launcher, *map(str, arguments)], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True,
        text=True, timeout=300,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert len(lines_of(tmp_path / "run")) == OPTIONS["epochs"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "fr"}, "holds no parallel text of en and fr"),
        ({"target": "en"}, "name two languages"),
        ({"epochs": "0"}, "epochs must be a whole number above 0"),
        ({"attention": "hard"}, "choose soft or none"),
    ],
)
def test_what_is_wrong_is_said(fit_translator, capsys, arguments, message):
    assert fit_translator(**arguments) == 2
    assert message in capsys.readouterr().err


def test_sentences_that_cannot_be_read_are_scored_as_empty_translations(
    fit_translator, parallel_folder, tmp_path, capsys
):
    assert fit_translator() == 0
    write_pairs(parallel_folder, "test_odd", [PAIRS[0], ("...", "..."), ("\u266a la", "la")])
    arguments = ["evaluate-translator", "--data", str(parallel_folder), "--split", "test_odd", "--device", "cpu"]
    assert main([*arguments, "--bundle", str(tmp_path / "run" / "bundle"), "--output", str(tmp_path / "test")]) == 0
    assert "1 sentence cannot be read by the translator" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "test" / "metrics.json").read_text())
    assert metrics["sentences"] == 3 and metrics["unreadable"] == 1
    lines = [json.loads(line) for line in (tmp_path / "test" / "translations.jsonl").read_text().splitlines()]
    assert [bool(line["translation"]) for line in lines] == [True, False, True]


def test_a_device_that_cannot_be_used_is_named(fit_translator, parallel_folder, tmp_path, capsys):
    assert fit_translator("--device", "abacus") == 2
    assert "the device abacus cannot be used" in capsys.readouterr().err and not (tmp_path / "run").exists()
    assert fit_translator() == 0
    arguments = ["evaluate-translator", "--data", str(parallel_folder), "--output", str(tmp_path / "test")]
    assert main([*arguments, "--bundle", str(tmp_path / "run" / "bundle"), "--device", "meta"]) == 2
    assert "the device meta cannot be used" in capsys.readouterr().err


def write_checkpoint(folder, kind):
    folder.mkdir()
    run = {kind: {}, "options": {"seed": 0}}
    save_checkpoint(folder / "checkpoint.pt", {"run": run, "progress": {"phase": "cross_entropy"}})


def test_the_run_of_a_captioner_is_not_resumed_as_a_translator(fit_translator, tmp_path, capsys):
    write_checkpoint(tmp_path / "run", "captioner")
    assert fit_translator("--resume") == 2
    error = capsys.readouterr().err
    assert "of the run of a captioner, not of a translator: resume it with `python -m training fit --resume`" in error


@pytest.mark.parametrize("more", [[], ["--check"]])
def test_the_run_of_a_translator_is_not_resumed_as_a_captioner(parallel_folder, tmp_path, capsys, more):
    write_checkpoint(tmp_path / "run", "translator")
    assert main(["fit", "--data", str(parallel_folder), "--output", str(tmp_path / "run"), "--resume", *more]) == 2
    error = capsys.readouterr().err
    assert "of the run of a translator, not of a captioner" in error and "training fit-translator --resume`" in error


def test_a_split_that_is_not_there_is_named(fit_translator, parallel_folder, tmp_path, capsys):
    assert fit_translator() == 0
    arguments = ["evaluate-translator", "--data", str(parallel_folder), "--output", str(tmp_path / "test")]
    assert main([*arguments, "--bundle", str(tmp_path / "run" / "bundle")]) == 2
    assert "there is no split 'test': the parallel text has test_tiny, train, val" in capsys.readouterr().err
