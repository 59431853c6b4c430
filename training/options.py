"""Training options: every option of `fit`, validated on construction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from captioner.config import JsonOptions
from captioner.errors import ConfigError

BASELINES = ("samples", "greedy")

KEPT_EPOCHS = ("best", "last")

MAX_TRAINING_WORDS = 30
"""Maximum number of words of a training caption; longer ones are cut, without an end token."""

PRESETS = {
    "quick": {"epochs": 12, "patience": 4, "validation_images": 200},
    "thorough": {"epochs": 30, "patience": 6, "validation_images": 1000},
}
"""Length of training: minutes for a few hundred photos on a small machine, or until it stops improving."""

QUICK_EPOCHS = ((100_000, 12), (400_000, 6))
"""Size of the training captions in running words -> epochs of the preset quick below that size, if the run starts from
a captioner; above, `FEWEST_QUICK_EPOCHS`. An epoch of more photos has more steps."""
FEWEST_QUICK_EPOCHS = 3

TRANSLATOR_PRESETS = {
    "quick": {"epochs": 40, "patience": 10, "batch_size": 16, "validation_pairs": 200},
    "thorough": {"epochs": 60, "patience": 8, "validation_pairs": 1000},
}
"""The same for a translator: minutes for a few hundred pairs, or until it stops improving on tens of thousands."""

MIN_COUNTS = ((20_000, 1), (200_000, 2))
"""Size of the training captions in running words -> default of min_count below that size; above, that of FitOptions.
In small data, a higher limit would make too large a share of the text unknown."""

SENTENCE_MIN_COUNTS = ((20_000, 2), (200_000, 5))
"""The same for sentences without photos and sentence_min_count. They teach less about a word than captions with a
photo, which show its meaning, and texts from other sources have more misspelt words."""

SMALL_DATA = {"batch_size": 8, "least_batches": 50, "min_count": 2, "warmup_steps": 50, "average_decay": 0.97}
"""Defaults of every run that starts from a captioner, with a few hundred photos rather than thousands."""

WITH_REPLAY = {"learning_rate": 1e-3, "distillation_weight": 0.0}
WITHOUT_REPLAY = {"learning_rate": 5e-4, "distillation_weight": 1.0}
"""Defaults against forgetting: with earlier photos mixed in, or else smaller steps with distillation."""

NEW_LANGUAGE = {"learning_rate": 1e-3, "distillation_weight": 0.0}
MOSTLY_NEW = 0.5
"""Share of new words above which the data is another language, so that distillation would not help."""


TRANSLATOR_SMALL_DATA = {"learning_rate": 5e-4, "batch_size": 16, "warmup_steps": 50, "average_decay": 0.99}
"""Defaults of every run that starts from a translator, with some hundred pairs of sentences."""

LIKE_BEFORE = ("doubly_stochastic_weight",)
"""Options that a run keeps from the captioner that it starts from, because they shaped its maps."""


@dataclass(frozen=True)
class LoopOptions(JsonOptions):
    """Options of the training loop, whatever it trains."""

    epochs: int = 20
    """Epochs of cross-entropy training, for a captioner with the encoder frozen."""
    batch_size: int = 32
    """Number of images, or of sentence pairs, in a batch."""
    seed: int = 0
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    """Number of steps in which the learning rate rises from 0; then it falls along a cosine to 0 at the phase's end."""
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    """Maximum norm of the gradient; larger ones are scaled down."""
    label_smoothing: float = 0.1
    average_decay: float = 0.999
    """Decay per step of the moving average of the weights, which is validated and kept. In each phase it rises from 0
    to this, as in `training.runs.averaging`."""
    patience: int = 5
    """Number of epochs without a better score on the validation data after which a phase ends early."""
    keep: str = "best"
    """Epoch whose weights are kept, and later phases start from: best (by the score on the validation data) or last.
    With last, no phase ends early."""

    def __post_init__(self) -> None:
        self._require("keep", self.keep in KEPT_EPOCHS, f"one of {', '.join(KEPT_EPOCHS)}")
        self._require_whole(0, "epochs", "seed", "warmup_steps")
        self._require_whole(1, "batch_size", "patience")
        self._require_positive("learning_rate", "clip_norm")
        self._require_not_negative("weight_decay")
        self._require_share("label_smoothing", "average_decay")


@dataclass(frozen=True)
class TranslatorOptions(LoopOptions):
    """Options of a run that trains a translator."""

    epochs: int = 30
    """Epochs of cross-entropy training."""
    batch_size: int = 64
    """Number of sentence pairs in a batch."""
    learning_rate: float = 2e-3
    patience: int = 8
    """Number of epochs without a better BLEU on the validation pairs after which training ends early."""
    source_pieces: int = 5000
    """Maximum number of pieces of words (byte-pair encoding) of the source language."""
    target_pieces: int = 5000
    """The same of the target language."""
    caption_share: float = 0.3
    """Share of the pairs, drawn each time, to learn in the form of a caption: the source in lower case, without a full
    stop."""
    validation_pairs: int = 0
    """Maximum number of validation pairs, drawn at random, to translate after each epoch; 0 for all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_whole(1, "epochs")
        self._require_whole(10, "source_pieces", "target_pieces")
        self._require_whole(0, "validation_pairs")
        self._require("caption_share", self._is_number("caption_share") and 0 <= self.caption_share <= 1, "0 to 1")


@dataclass(frozen=True)
class FitOptions(LoopOptions):
    """Options of a training run. Its phases follow each other, each starting from the best weights so far."""

    fine_tune_epochs: int = 0
    """Epochs of cross-entropy training with the final stages of the encoder trained as well."""
    self_critical_epochs: int = 0
    """Epochs of self-critical training on the CIDEr of sampled captions (Rennie et al. 2017)."""

    least_batches: int = 0
    """Minimum number of batches of an epoch: a small data set is repeated."""
    captions_per_image: int = 5
    """Maximum number of captions of an image in a batch; if it has more, they are drawn each time."""
    min_count: int = 5
    """Words that are rarer in the training captions become unknown. The default depends on the size of these captions:
    1 below 20,000 running words, 2 below 200,000, else 5; at most 2 with --from-bundle, which also keeps its words."""
    balance: float = 0.7
    """With several data sets (--also), the share of each in an epoch is proportional to its number of photos to the
    power of this. 1 uses every photo once; 0 gives all data sets equal shares; in between, small ones get more than
    their proportional share. An epoch has as many photos as all data sets together."""
    sentence_min_count: int = 20
    """Words that are rarer in the sentences of --sentences become unknown, unless the captions have them often enough
    or they name a label. The default depends on the size of the sentences: 2 below 20,000 running words, 5 below
    200,000, else 20."""
    sentences_per_batch: int = 160
    """Number of sentences without photos, from --sentences, with each batch of images."""
    sentence_weight: float = 0.5
    """Loss weight of sentences without photos; 0 only adds their words to the vocabulary."""
    replay_share: float = 0.5
    """Share of each batch that is drawn from the earlier data of --replay."""
    replay_images: int = 2000
    """Maximum number of photos of the earlier data to encode and draw from; 0 for all."""
    distillation_weight: float = 0.0
    """Loss weight of distillation from the captioner that a run starts from: its word probabilities and its maps."""
    mirror: bool = False
    """Also train on the mirror image of each photo, drawn each time with probability 1/2."""

    fine_tune_learning_rate: float = 2e-4
    """Learning rate of the decoder while the encoder is fine-tuned."""
    encoder_learning_rate: float = 5e-5
    self_critical_learning_rate: float = 3e-5
    doubly_stochastic_weight: float = 1.0
    """Lambda of Xu et al. 2015, eq. 14; for soft attention only."""
    supervision_weight: float = 1.0
    """Loss weight of attention supervision by --boxes."""
    expected_share: float = 0.75
    """Hard attention: share of the images that use the expected annotation instead of a sampled one. It falls linearly
    from 1 to this over the epochs before fine-tuning."""
    reinforce_weight: float = 0.1
    """Hard attention: lambda_r of Xu et al. 2015, eq. 12, the weight of the REINFORCE term."""
    entropy_weight: float = 0.002
    """Hard attention: lambda_e of eq. 12, the weight of the entropy of the maps, against early convergence."""
    label_weight: float = 1.0
    """With --labels: loss weight that keeps the encoder's classifier close to its output before fine-tuning."""
    fine_tune_stages: int = 0
    """Number of final encoder stages to fine-tune; -1 for all."""

    self_critical_samples: int = 5
    """Number of captions to sample for each image."""
    self_critical_baseline: str = "samples"
    """Baseline of the reward: samples (the mean of the image's other samples) or greedy (the greedy caption)."""
    cross_entropy_weight: float = 0.1
    """Loss weight of cross-entropy in self-critical training, which keeps captions fluent."""

    confidence: bool = True
    """Whether to fit a confidence model on the validation photos at the end."""
    validation_images: int = 0
    """Maximum number of validation photos, drawn at random, to caption after each epoch; 0 for all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_whole(0, "fine_tune_epochs", "self_critical_epochs")
        self._require_whole(0, "validation_images", "replay_images", "least_batches")
        self._require_whole(1, "captions_per_image", "min_count")
        self._require_whole(1, "sentences_per_batch", "sentence_min_count")
        self._require_whole(2, "self_critical_samples")
        self._require_positive("fine_tune_learning_rate", "encoder_learning_rate", "self_critical_learning_rate")
        self._require_not_negative("doubly_stochastic_weight", "cross_entropy_weight")
        self._require_not_negative("sentence_weight")
        self._require_not_negative("distillation_weight", "supervision_weight", "reinforce_weight", "entropy_weight")
        self._require("expected_share", self._is_number("expected_share") and 0 <= self.expected_share <= 1, "0 to 1")
        self._require_not_negative("label_weight")
        self._require("balance", self._is_number("balance") and 0 <= self.balance <= 1, "0 to 1")
        self._require_share("replay_share")
        for name in ("mirror", "confidence"):
            self._require(name, isinstance(getattr(self, name), bool), "true or false")
        self._require(
            "self_critical_baseline", self.self_critical_baseline in BASELINES, f"one of {', '.join(BASELINES)}"
        )
        stages = self.fine_tune_stages
        self._require("fine_tune_stages", type(stages) is int and stages >= -1, "-1 for all, or a number of stages")
        if self.fine_tune_epochs and not self.fine_tune_stages:
            raise ConfigError(
                "fine_tune_epochs needs fine_tune_stages: give the number of final encoder stages to fine-tune"
            )
        if not (self.epochs or self.fine_tune_epochs or self.self_critical_epochs):
            raise ConfigError("there is nothing to do: epochs, fine_tune_epochs and self_critical_epochs are all 0")


def read_options(path: Path, kind: type[JsonOptions]) -> dict[str, Any]:
    """Read training options from a JSON file. Raises ConfigError if it cannot be read, or `kind` refuses them."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as JSON ({error}): name another by --options") from error
    kind.from_json(values)
    return values


def choose_translator_options(
    given_options: Mapping[str, Any],
    preset: str | None = None,
    resumed: Mapping[str, Any] | None = None,
    start_pieces: Mapping[str, int] | None = None,
) -> TranslatorOptions:
    """Return the options of a translator's run: the given ones, else the preset's, the resumed run's, the defaults.

    start_pieces: `source_pieces` and `target_pieces` of the translator to start from; None from scratch.
    Raises ConfigError for an unknown preset, and as TranslatorOptions does.
    """
    defaults = resumed or ({} if start_pieces is None else {**TRANSLATOR_SMALL_DATA, **start_pieces})
    return TranslatorOptions.from_json({**defaults, **_preset(TRANSLATOR_PRESETS, preset), **given_options})


def choose_options(
    given_options: Mapping[str, Any],
    preset: str | None = None,
    start_options: Mapping[str, Any] | None = None,
    replay: bool = False,
    new_words: float = 0.0,
    running_words: int | None = None,
    resumed: "FitOptions | None" = None,
    sentence_words: int | None = None,
) -> FitOptions:
    """Return the options of a run: the given ones, else those of the preset and the kind of run, else the defaults.

    start_options: training options of the captioner to start from, as far as they are known; None from scratch.
    new_words: share of the words in the captions that the captioner to start from does not know.
    running_words: size of the training captions, which sets `min_count`, and the epochs of the preset quick; None if
    there are none to count.
    sentence_words: the same for the sentences without photos and `sentence_min_count`.
    resumed: the options of the run to resume, which replace the defaults and those of the kind of run.
    Raises ConfigError for an unknown preset, and as FitOptions does.
    """
    preset_options, defaults = _preset(PRESETS, preset), {}
    if preset == "quick" and start_options is not None:
        preset_options = preset_options | {"epochs": _below(QUICK_EPOCHS, running_words or 0, FEWEST_QUICK_EPOCHS)}
    if resumed is not None:
        defaults = resumed.to_json()
    elif start_options is not None:
        without_replay = NEW_LANGUAGE if new_words > MOSTLY_NEW else WITHOUT_REPLAY
        kept_options = {name: start_options[name] for name in LIKE_BEFORE if name in start_options}
        defaults = SMALL_DATA | (WITH_REPLAY if replay else without_replay) | kept_options
    if running_words is not None and resumed is None:
        defaults["min_count"] = default_min_count(running_words, from_captioner=start_options is not None)
    if sentence_words is not None and resumed is None:
        defaults["sentence_min_count"] = _below(SENTENCE_MIN_COUNTS, sentence_words, FitOptions.sentence_min_count)
    return FitOptions(**{**defaults, **preset_options, **given_options})


def _preset(presets: Mapping[str, dict[str, Any]], name: str | None) -> dict[str, Any]:
    """Return the options of a preset; none without one. Raises ConfigError for an unknown preset."""
    if name is not None and name not in presets:
        raise ConfigError(f"there is no preset {name!r}: the presets are {', '.join(presets)}")
    return presets[name] if name is not None else {}


def default_min_count(running_words: int, from_captioner: bool = False) -> int:
    """Return the default of `min_count` for training captions of this size in running words."""
    default = SMALL_DATA["min_count"] if from_captioner else FitOptions.min_count
    return min(default, _below(MIN_COUNTS, running_words, default))


def _below(limits: Sequence[tuple[int, int]], running_words: int, default: int) -> int:
    """Return the value of the lowest limit above this number of running words; `default` above all limits."""
    return next((value for below, value in limits if running_words < below), default)


@dataclass(frozen=True)
class Phase:
    """Part of a run with one objective and one learning-rate schedule."""

    name: str
    """cross_entropy, fine_tune or self_critical."""
    epochs: int
    learning_rate: float
    encoder_learning_rate: float = 0.0


def at_batch(options: FitOptions, phase: Phase, phase_share: float) -> FitOptions:
    """Return the options of one batch. phase_share: share of the phase's batches before it, 0 to 1."""
    if phase.name != "cross_entropy":
        return options
    return replace(options, expected_share=1 - phase_share * (1 - options.expected_share))


def phases(options: FitOptions, current: str = "") -> list[Phase]:
    """Return the phases of a run, in order: those with epochs, and the phase `current`, which has started."""
    all_phases = [
        Phase("cross_entropy", options.epochs, options.learning_rate),
        Phase("fine_tune", options.fine_tune_epochs, options.fine_tune_learning_rate, options.encoder_learning_rate),
        Phase("self_critical", options.self_critical_epochs, options.self_critical_learning_rate),
    ]
    return [phase for phase in all_phases if phase.epochs or phase.name == current]
