"""Options are checked on construction and survive JSON."""

import dataclasses
import json

import pytest

from captioner.config import MANY_PHOTOS, RUNTIMES, CaptionerConfig, DecodingOptions, choose_runtime
from captioner.errors import ConfigError


@pytest.mark.parametrize(
    "options",
    [
        CaptionerConfig(),
        CaptionerConfig(
            "vgg19",
            224,
            "pad",
            2,
            attention="hard",
            score="dot",
            activation="tanh",
            query="hidden_word",
            gate="vector",
            deep_output=False,
            embedding_dim=1,
            hidden_dim=2,
            attention_dim=3,
            dropout=0.0,
        ),
    ],
)
def test_a_config_survives_json(options):
    assert CaptionerConfig.from_json(json.loads(json.dumps(options.to_json()))) == options


@pytest.mark.parametrize("options", [DecodingOptions(), DecodingOptions(1, 1, 5, 0.0, 0, 0.7, 0.9, 3)])
def test_decoding_options_survive_json(options):
    assert DecodingOptions.from_json(json.loads(json.dumps(options.to_json()))) == options


def test_options_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DecodingOptions().beam_width = 3


@pytest.mark.parametrize("kind", [CaptionerConfig, DecodingOptions])
def test_unknown_options_are_refused_with_the_known_ones(kind):
    with pytest.raises(ConfigError, match=f"unknown option beam_with.*{kind.__name__} knows .*dropout|.*beam_width"):
        kind.from_json({"beam_with": 3})


@pytest.mark.parametrize("values", [[], None, "beam_width", 5, [["beam_width", 3]]])
def test_options_without_names_are_refused(values):
    with pytest.raises(ConfigError, match="options by name"):
        DecodingOptions.from_json(values)


NOT_NUMBERS = ["0.5", None, True, float("nan"), float("inf"), 10**400, -(10**400), [0.5]]


@pytest.mark.parametrize(
    ("name", "bad_values"),
    [
        ("encoder", ["", None, 3, ["vgg16"]]),
        ("fit", ["stretch", None, ["crop"], ""]),
        ("activation", ["gelu", None, 1]),
        ("image_size", [0, -1, 320.0, "320", None, True]),
        ("embedding_dim", [0, 1.5]),
        ("hidden_dim", [0, "512"]),
        ("attention_dim", [-3, None]),
        ("dropout", [1.0, -0.1, *NOT_NUMBERS]),
    ],
)
def test_a_bad_value_of_a_config_is_named(name, bad_values):
    for value in bad_values:
        with pytest.raises(ConfigError) as caught:
            CaptionerConfig(**{name: value})
        assert str(caught.value).startswith(f"{name} must be ") and str(caught.value).endswith(f"not {value!r}")


@pytest.mark.parametrize(
    ("name", "bad_values"),
    [
        ("beam_width", [0, -1, 2.0, "5", None, True]),
        ("captions_per_image", [0, 1.0]),
        ("max_words", [0, None]),
        ("block_repeats", [-1, 1.0, False, None]),
        ("length_penalty", [-0.1, *NOT_NUMBERS]),
        ("temperature", [-1, *NOT_NUMBERS]),
        ("top_p", [0, 1.01, -1, *NOT_NUMBERS]),
        ("seed", [-1, 1.0, "1", True, 2**63]),
    ],
)
def test_a_bad_value_of_decoding_options_is_named(name, bad_values):
    for value in bad_values:
        with pytest.raises(ConfigError) as caught:
            DecodingOptions(**{name: value})
        assert str(caught.value).startswith(f"{name} must be ") and str(caught.value).endswith(f"not {value!r}")


def test_a_beam_cannot_return_more_captions_than_it_keeps():
    with pytest.raises(ConfigError, match="widen the beam, or sample"):
        DecodingOptions(beam_width=2, captions_per_image=3)
    DecodingOptions(beam_width=3, captions_per_image=3)
    DecodingOptions(beam_width=1, captions_per_image=3, temperature=0.5)  # sampling keeps no beam


@pytest.mark.parametrize(
    ("photos", "chosen"),
    [(0, "exact"), (1, "exact"), (MANY_PHOTOS - 1, "exact"), (MANY_PHOTOS, "fast"), (None, "fast")],
)
def test_auto_is_exact_for_few_photos_and_fast_for_many_or_an_unknown_number(photos, chosen):
    assert choose_runtime("auto", photos) == chosen


@pytest.mark.parametrize("photos", [1, MANY_PHOTOS, None])
def test_a_runtime_chosen_by_name_does_not_depend_on_the_number_of_photos(photos):
    assert [choose_runtime(name, photos) for name in RUNTIMES[1:]] == ["fast", "exact"]


def test_an_unknown_runtime_is_refused_with_the_names_that_exist():
    with pytest.raises(ConfigError, match="no runtime 'quick': take one of auto, fast, exact"):
        choose_runtime("quick", 1)
