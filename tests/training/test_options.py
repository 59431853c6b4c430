"""Invalid training options are refused in one sentence, and phases follow from the options."""

import dataclasses
import json

import pytest

from captioner.errors import ConfigError
from training.options import PRESETS, FitOptions, Phase, at_batch, choose_options, phases


def test_options_survive_json():
    options = FitOptions(epochs=3, mirror=True, self_critical_epochs=1, self_critical_baseline="greedy")
    assert FitOptions.from_json(json.loads(json.dumps(options.to_json()))) == options


def test_an_unknown_option_is_refused():
    with pytest.raises(ConfigError, match="unknown option learning_rat: FitOptions knows .*learning_rate"):
        FitOptions.from_json({"learning_rat": 1.0})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *((name, (-1, 1.5, True, "3", None)) for name in (
            "epochs", "fine_tune_epochs", "self_critical_epochs", "seed", "warmup_steps", "validation_images",
        )),
        *((name, (0, -1, 2.0, True)) for name in ("batch_size", "captions_per_image", "min_count", "patience")),
        *((name, (0, -0.1, "fast", float("nan"), float("inf"))) for name in (
            "learning_rate", "fine_tune_learning_rate", "encoder_learning_rate", "self_critical_learning_rate",
            "clip_norm",
        )),
        *((name, (-0.1, "x", float("nan"), float("inf"))) for name in (
            "weight_decay", "doubly_stochastic_weight", "cross_entropy_weight",
        )),
        *((name, (-0.1, 1.0, "x", float("nan"))) for name in ("label_smoothing", "average_decay")),
        ("self_critical_samples", (1, 2.5, "5")),
        ("self_critical_baseline", ("mean", None)),
        ("keep", ("first", None)),
        ("fine_tune_stages", (-2, 1.5)),
        ("mirror", ("no", 1)),
    ],
)  # fmt: skip
def test_an_invalid_value_is_refused_by_name(name, values):
    for value in values:
        with pytest.raises(ConfigError, match=f"^{name} must be .*, not "):
            FitOptions(**{name: value})


def test_every_option_is_checked():
    for field in dataclasses.fields(FitOptions):
        with pytest.raises(ConfigError, match=field.name):
            FitOptions(**{field.name: "nonsense"})


def test_fine_tuning_needs_trainable_stages():
    with pytest.raises(ConfigError, match="fine_tune_epochs needs fine_tune_stages"):
        FitOptions(fine_tune_epochs=2)
    FitOptions(fine_tune_epochs=2, fine_tune_stages=-1)


def test_a_run_without_epochs_is_refused():
    with pytest.raises(ConfigError, match="nothing to do"):
        FitOptions(epochs=0)


def test_phases_are_ordered_and_have_their_own_learning_rates():
    options = FitOptions(
        epochs=3, fine_tune_epochs=2, self_critical_epochs=1, fine_tune_stages=1, learning_rate=0.1,
        fine_tune_learning_rate=0.01, encoder_learning_rate=0.001, self_critical_learning_rate=0.0001,
    )  # fmt: skip
    assert phases(options) == [
        Phase("cross_entropy", 3, 0.1),
        Phase("fine_tune", 2, 0.01, 0.001),
        Phase("self_critical", 1, 0.0001),
    ]


def test_a_phase_without_epochs_is_left_out():
    assert [phase.name for phase in phases(FitOptions(epochs=0, self_critical_epochs=4))] == ["self_critical"]


def test_given_options_override_the_preset_and_the_preset_overrides_the_defaults():
    quick = choose_options({}, "quick", start_options={})
    assert quick.epochs == PRESETS["quick"]["epochs"] and quick.distillation_weight > 0
    assert choose_options({"epochs": 3}, "quick", {}).epochs == 3
    assert choose_options({"distillation_weight": 0.0}, "quick", {}).distillation_weight == 0
    assert choose_options({}, "thorough", {}, replay=True).distillation_weight == 0
    assert choose_options({}) == FitOptions()


def test_the_minimum_count_of_words_follows_the_size_of_the_captions():
    sizes = (0, 60, 19_999, 20_000, 199_999, 200_000, 6_000_000)
    assert [choose_options({}, running_words=size).min_count for size in sizes] == [1, 1, 1, 2, 2, 5, 5]
    assert [choose_options({}, None, {}, running_words=size).min_count for size in sizes] == [1, 1, 1, 2, 2, 2, 2]
    assert choose_options({"min_count": 5}, "quick", {}, running_words=60).min_count == 5
    assert choose_options({"min_count": 1}, running_words=6_000_000).min_count == 1


def test_quick_training_from_a_captioner_has_fewer_epochs_of_many_captions():
    sizes = (None, 60, 99_999, 100_000, 399_999, 400_000, 6_000_000)
    assert [choose_options({}, "quick", {}, running_words=size).epochs for size in sizes] == [12, 12, 12, 6, 6, 3, 3]
    assert {choose_options({}, "quick", running_words=size).epochs for size in sizes} == {PRESETS["quick"]["epochs"]}
    thorough = {choose_options({}, "thorough", {}, running_words=size).epochs for size in sizes}
    assert thorough == {PRESETS["thorough"]["epochs"]}
    assert choose_options({"epochs": 3}, "quick", {}, running_words=60).epochs == 3


def test_resuming_a_quick_training_keeps_its_length_and_its_words():
    begun = choose_options({}, "quick", {}, running_words=500_000)
    resumed = choose_options({}, "quick", {}, running_words=500_000, sentence_words=60, resumed=begun)
    assert resumed == begun


def test_the_weight_of_the_penalty_is_kept_from_the_start_captioner():
    earlier = {"doubly_stochastic_weight": 0.3, "epochs": 4}
    options = choose_options({}, "quick", earlier)
    assert (options.doubly_stochastic_weight, options.epochs) == (0.3, PRESETS["quick"]["epochs"])
    assert choose_options({"doubly_stochastic_weight": 0.0}, "quick", earlier).doubly_stochastic_weight == 0


def test_an_unknown_preset_is_named():
    with pytest.raises(ConfigError, match="no preset 'slow': the presets are quick, thorough"):
        choose_options({}, "slow")


def test_another_language_is_trained_without_distillation():
    def chosen(**kind):
        options = choose_options({}, "quick", **{"start_options": {}} | kind)
        return options.learning_rate, options.distillation_weight

    assert chosen(new_words=0.4) == (5e-4, 1.0)
    assert chosen(new_words=0.6) == (1e-3, 0.0)
    assert chosen(new_words=0.6, start_options=None)[1] == 0.0
    assert chosen(new_words=0.6, replay=True) == (1e-3, 0.0)


def test_hard_attention_samples_increasingly_until_fine_tuning():
    options = FitOptions(epochs=2, fine_tune_epochs=1, fine_tune_stages=1, expected_share=0.4)
    first, tuned = phases(options)
    assert [at_batch(options, first, done).expected_share for done in (0, 0.5, 1)] == pytest.approx([1, 0.7, 0.4])
    assert at_batch(options, tuned, 0) == options


@pytest.mark.parametrize(("words", "limit"), [(19_999, 2), (20_000, 5), (199_999, 5), (200_000, 20), (3_000_000, 20)])
def test_the_minimum_count_of_sentence_words_follows_their_number(words, limit):
    assert choose_options({}, sentence_words=words).sentence_min_count == limit
    assert choose_options({"sentence_min_count": 3}, sentence_words=words).sentence_min_count == 3
    earlier = {"sentence_min_count": 7}
    assert choose_options({}, start_options=earlier, sentence_words=words).sentence_min_count == limit
    resumed = FitOptions(sentence_min_count=9)
    assert choose_options({}, resumed=resumed).sentence_min_count == 9
