"""Fields of option classes become command-line arguments."""

import argparse
from dataclasses import dataclass

import pytest

from captioner.commands.arguments import add_arguments, field_docs, from_arguments
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """Not the text of a field."""

    rounds: int = 3
    """How many rounds, at
    most 100 % of them."""
    rate: float = 0.5
    silent: str = "x"
    """Whom to greet."""
    warm: bool = True
    """Whether to warm up."""
    seed: int | None = None
    """Makes it repeatable."""


def parser_of(options: type, **changes) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_arguments(parser, options, "options", **changes)
    return parser


def test_field_docstrings_are_read():
    assert field_docs(Options) == {
        "rounds": "How many rounds, at most 100 % of them.",
        "silent": "Whom to greet.",
        "warm": "Whether to warm up.",
        "seed": "Makes it repeatable.",
    }


@pytest.mark.parametrize("options", [CaptionerConfig, DecodingOptions])
def test_every_option_is_documented(options):
    assert set(field_docs(options)) == set(options.__dataclass_fields__)


@pytest.mark.parametrize("options", [CaptionerConfig, DecodingOptions, Options])
def test_no_arguments_give_the_defaults(options):
    assert from_arguments(options, parser_of(options).parse_args([])) == options()


def test_arguments_have_the_types_of_their_fields():
    words = ["--rounds", "7", "--rate", "1", "--silent", "5", "--no-warm", "--seed", "9"]
    options = from_arguments(Options, parser_of(Options).parse_args(words))
    assert options == Options(7, 1.0, "5", False, 9)
    assert [type(value) for value in vars(options).values()] == [int, float, str, bool, int]


def test_a_value_of_the_wrong_type_ends_the_program_with_its_name(capsys):
    with pytest.raises(SystemExit) as caught:
        parser_of(DecodingOptions).parse_args(["--beam-width", "wide"])
    assert caught.value.code == 2
    assert "--beam-width" in capsys.readouterr().err


def test_a_value_out_of_range_is_a_config_error():
    with pytest.raises(ConfigError, match="beam_width must be"):
        from_arguments(DecodingOptions, parser_of(DecodingOptions).parse_args(["--beam-width", "0"]))


def test_the_help_shows_text_and_defaults():
    text = " ".join(parser_of(Options).format_help().split())
    assert "--rounds INT How many rounds, at most 100 % of them. Default: 3." in text
    assert "--warm, --no-warm Whether to warm up. Default: True." in text
    assert "--seed INT Makes it repeatable. --" not in text and "Default: None" not in text


def test_defaults_can_be_replaced_and_options_left_out():
    parser = parser_of(DecodingOptions, leave_out=["captions_per_image", "seed"], beam_width=2)
    assert from_arguments(DecodingOptions, parser.parse_args([])) == DecodingOptions(beam_width=2)
    assert "captions-per-image" not in parser.format_help() and "Default: 2." in parser.format_help()


def test_given_values_take_precedence_over_arguments():
    arguments = parser_of(DecodingOptions).parse_args(["--max-words", "9", "--beam-width", "4"])
    assert from_arguments(DecodingOptions, arguments, beam_width=7) == DecodingOptions(beam_width=7, max_words=9)
