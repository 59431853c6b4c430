"""A run starts from a translator: it keeps its pieces, its architecture and its languages, and is never worse."""

import dataclasses
import json

import pytest
import torch

from captioner.translation.bundle import load_translator_bundle, save_translator
from captioner.translation.bundle_json import translator_folder
from tests.support.parallel_texts import PAIRS, write_pairs
from tests.support.training_runs import lines_of
from tests.support.translators import SHORT, tiny_translator
from training.__main__ import main
from training.options import TRANSLATOR_SMALL_DATA, TranslatorOptions

FAST = ["--epochs", "2", "--batch-size", "3", "--caption-share", "0"]


@pytest.fixture
def start(tmp_path):
    """The folder of a translator from English into German."""
    save_translator(tiny_translator(decoding=dataclasses.replace(SHORT, beam_width=2)), tmp_path / "start")
    return tmp_path / "start"


@pytest.fixture
def fit(parallel_folder, start, tmp_path):
    def run(*more, output="run", target="de", folder=start):
        arguments = ["fit-translator", "--data", parallel_folder, "--source", "en", "--target", target]
        arguments += ["--output", tmp_path / output, "--device", "cpu", "--from-bundle", folder, *more]
        return main([str(argument) for argument in arguments])

    return run


def checked(capsys):
    return json.loads(capsys.readouterr().out)


def test_the_translator_keeps_its_pieces_its_sizes_and_its_decoding(fit, start, tmp_path):
    assert fit(*FAST) == 0
    before, after = load_translator_bundle(start), load_translator_bundle(tmp_path / "run" / "bundle")
    assert (after.source.to_json(), after.target.to_json()) == (before.source.to_json(), before.target.to_json())
    assert after.model.config == before.model.config
    assert (after.decoding.max_words, after.decoding.beam_width) == (14, 2)
    assert "- Started from: A tiny translator, whose pieces of words it keeps.\n" in after.card


def test_epoch_0_is_the_translator_itself_and_is_kept_if_no_epoch_is_better(fit, start, tmp_path):
    assert fit(*FAST, "--learning-rate", "1e-12") == 0
    lines = lines_of(tmp_path / "run")
    assert [(line["epoch"], line["phase"], line["best"]) for line in lines] == [
        (0, "start", True),
        (1, "cross_entropy", False),
        (2, "cross_entropy", False),
    ]
    assert {"BLEU", "chrF"} <= lines[0].keys()
    before, after = load_translator_bundle(start), load_translator_bundle(tmp_path / "run" / "bundle")
    assert all(map(torch.equal, before.model.state_dict().values(), after.model.state_dict().values()))
    samples = json.loads((tmp_path / "run" / "samples.json").read_text())["sentences"]
    assert [entry["epoch"] for entry in samples[0]["translations"]] == [0, 1, 2]


def test_a_run_learns_from_the_weights_of_the_translator(fit, tmp_path):
    """After some epochs, a second run begins with what the first one has learned."""
    options = ["--batch-size", "3", "--learning-rate", "0.02", "--warmup-steps", "2", "--average-decay", "0.5"]
    assert fit(*options, "--epochs", "30", "--keep", "last") == 0
    assert fit(*FAST, output="second", folder=tmp_path / "run" / "bundle") == 0
    first, second = lines_of(tmp_path / "run"), lines_of(tmp_path / "second")
    assert first[0]["chrF"] < first[-1]["chrF"] == pytest.approx(second[0]["chrF"], abs=2)


def test_options_suit_some_hundred_pairs_unless_they_are_given(fit, start, capsys):
    assert fit("--check") == 0
    bundle = load_translator_bundle(start)
    pieces = {"source_pieces": len(bundle.source), "target_pieces": len(bundle.target)}
    assert checked(capsys) == TranslatorOptions(**TRANSLATOR_SMALL_DATA, **pieces).to_json()
    assert fit("--check", "--preset", "thorough", "--learning-rate", "0.01", "--source-pieces", len(bundle.source)) == 0
    options = checked(capsys)
    assert (options["learning_rate"], options["patience"], options["source_pieces"]) == (0.01, 8, len(bundle.source))


@pytest.mark.parametrize("check", [[], ["--check"]])
@pytest.mark.parametrize(
    "more, message",
    [
        (["--hidden-dim", "20"], "--hidden-dim 20 contradicts {}, which has 10: leave --hidden-dim out"),
        (["--attention", "none"], "--attention none contradicts {}, which has soft"),
        (["--target-pieces", "500"], "--target-pieces 500 contradicts {}, which has"),
    ],
)
def test_options_that_contradict_the_translator_are_refused(fit, start, tmp_path, capsys, check, more, message):
    assert fit(*more, *check) == 2
    assert message.format(start) in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_pieces_in_a_file_of_options_are_refused_too(fit, tmp_path, capsys):
    (tmp_path / "options.json").write_text('{"source_pieces": 5000}')
    assert fit("--options", tmp_path / "options.json") == 2
    assert "--source-pieces 5000 contradicts" in capsys.readouterr().err


@pytest.mark.parametrize("check", [[], ["--check"]])
def test_a_translator_of_other_languages_is_refused(fit, start, parallel_folder, capsys, check):
    (parallel_folder / "train.de").rename(parallel_folder / "train.nl")
    (parallel_folder / "val.de").rename(parallel_folder / "val.nl")
    assert fit(*check, target="nl") == 2
    assert f"--target nl contradict {start}, which translates en into de" in capsys.readouterr().err


def test_regions_may_differ_and_the_language_of_the_data_is_kept(fit, parallel_folder, tmp_path):
    for split in ("train", "val"):
        (parallel_folder / f"{split}.de").rename(parallel_folder / f"{split}.de_AT")
    assert fit(*FAST, target="de_AT") == 0
    assert load_translator_bundle(tmp_path / "run" / "bundle").target_language == "de_AT"


@pytest.mark.parametrize("check", [[], ["--check"]])
def test_what_is_no_translator_is_refused_with_those_that_ship(fit, tmp_path, capsys, check):
    assert fit(*check, folder=tmp_path / "nothing") == 2
    assert f"there is no translator '{tmp_path / 'nothing'}': name a language that ships (de, fr)" in (
        capsys.readouterr().err
    )
    (tmp_path / "empty").mkdir()
    assert fit(*check, folder=tmp_path / "empty") == 2
    assert "is not a whole translator: config.json is missing" in capsys.readouterr().err


def test_a_translator_that_ships_is_named_by_its_language(fit, capsys):
    assert fit("--check", folder="de") == 0
    shipped = json.loads((translator_folder("de") / "source.json").read_text())["pieces"]
    assert checked(capsys)["source_pieces"] == len(shipped)


def test_pairs_with_characters_that_the_translator_lacks_are_counted(fit, parallel_folder, capsys):
    write_pairs(
        parallel_folder, "train", [*PAIRS, ("A \u72d7 runs.", "Ein Hund."), ("\u72d7", "Hund"), ("Dog", "\u732b")]
    )
    assert fit("--check") == 0
    error = capsys.readouterr().err
    assert fit(*FAST) == 0
    output = capsys.readouterr().out
    assert "left out: 2 x training pair with a side that has no character which the translator" in output
    for text in (error, output):
        assert "training pairs have characters that the translator to start from cannot read" in text


def test_a_run_resumes_with_the_same_translator_only(fit, tmp_path, capsys):
    assert fit(*FAST, "--epochs", "1") == 0
    assert fit("--resume", "--epochs", "2") == 0
    assert [line["epoch"] for line in lines_of(tmp_path / "run")] == [0, 1, 2]
    other = tiny_translator(decoding=dataclasses.replace(SHORT, beam_width=2))
    torch.nn.init.ones_(other.model.decoder.output_bias)
    save_translator(other, tmp_path / "other")
    assert fit("--resume", "--epochs", "3", folder=tmp_path / "other") == 2
    assert "another captioner or translator to start from, or none (--from-bundle)" in capsys.readouterr().err
