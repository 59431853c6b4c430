"""Options of a translator's run come from the command line, a file, a preset, the run to resume, the defaults."""

import json

import pytest

from tests.support.training_runs import lines_of
from training.__main__ import main
from training.options import TRANSLATOR_PRESETS, TranslatorOptions


@pytest.fixture
def command(parallel_folder, tmp_path):
    """The arguments of a run, whose options are those of a file of 2 epochs."""
    (tmp_path / "options.json").write_text('{"epochs": 2, "batch_size": 4, "source_pieces": 60}')
    arguments = ["fit-translator", "--data", parallel_folder, "--source", "en", "--target", "de", "--device", "cpu"]
    return [str(part) for part in [*arguments, "--output", tmp_path / "run", "--options", tmp_path / "options.json"]]


def checked(command, capsys, *more):
    assert main([*command, "--check", *more]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_command_line_comes_before_the_file_and_the_file_before_the_preset(command, capsys, tmp_path):
    options = checked(command, capsys, "--preset", "quick", "--epochs", "3")
    expected = TranslatorOptions.from_json(
        TRANSLATOR_PRESETS["quick"] | {"epochs": 3, "batch_size": 4, "source_pieces": 60}
    )
    assert options == expected.to_json()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "more, message",
    [
        (["--preset", "slow"], "no preset 'slow'"),
        (["--epochs", "0"], "epochs must be"),
        (["--target", "fr"], "holds no parallel text of en and fr"),
    ],
)
def test_the_check_refuses_what_the_run_would_refuse(command, capsys, more, message):
    assert main([*command, "--check", *more]) == 2
    assert message in capsys.readouterr().err


def test_a_file_with_an_option_of_captioners_is_refused(command, tmp_path, capsys):
    (tmp_path / "options.json").write_text('{"mirror": true}')
    assert main(command) == 2
    assert "unknown option mirror" in capsys.readouterr().err


def test_a_resumed_run_keeps_its_options_unless_they_are_given(command, tmp_path, capsys):
    small = ["--embedding-dim", "16", "--hidden-dim", "16", "--attention-dim", "16"]
    assert main([*command, *small, "--max-words", "10"]) == 0
    capsys.readouterr()
    resumed = [part for part in command if "options" not in part]
    assert checked(resumed, capsys, "--resume")["batch_size"] == 4
    assert main([*command, "--resume", "--epochs", "3"]) == 0
    assert [line["epoch"] for line in lines_of(tmp_path / "run")] == [1, 2, 3]


def test_the_help_has_the_defaults_of_translations(capsys):
    for command, heading, default in (
        ("fit-translator", "decoding in validation:", "Default: 400."),
        ("evaluate-translator", "decoding (defaults are the translator's):", ""),
    ):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        decoding = capsys.readouterr().out.partition(heading)[2]
        assert "--max-words" in decoding and default in decoding and "Default: 20." not in decoding
