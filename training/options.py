"""How a captioner is trained: every option of `fit`, checked where it is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from captioner.config import JsonOptions
from captioner.errors import ConfigError

BASELINES = ("samples", "greedy")

MAX_TRAINING_WORDS = 30
"""Longer captions are cut after this many words, without an end token."""

PRESETS = {
    "quick": {"epochs": 12, "patience": 4, "validation_images": 200},
    "thorough": {"epochs": 30, "patience": 6, "validation_images": 1000},
}
"""How much a run learns: minutes for some hundred photos on a small machine, or for as long as it gets better."""

MIN_COUNTS = ((20_000, 1), (200_000, 2))
"""Size of the training captions in running words -> default of min_count below that size; beyond, that of FitOptions.
Of smaller data, a higher limit would make too large a share of the text unknown."""

SENTENCE_MIN_COUNTS = ((20_000, 2), (200_000, 5))
"""The same of sentences without photos and sentence_min_count. They teach less about a word than a photo's captions do,
which show what it means, and texts from anywhere have more misspelt words."""

SMALL_DATA = {"batch_size": 8, "least_batches": 50, "min_count": 2, "warmup_steps": 50, "average_decay": 0.97}
"""For every run that starts from a captioner: its data is a few hundred photos rather than thousands."""

WITH_REPLAY = {"learning_rate": 1e-3, "distillation_weight": 0.0}
WITHOUT_REPLAY = {"learning_rate": 5e-4, "distillation_weight": 1.0}
"""What keeps a captioner from forgetting: its earlier photos among the new ones, or else smaller steps that stay near
what it said before."""

NEW_LANGUAGE = {"learning_rate": 1e-3, "distillation_weight": 0.0}
MOSTLY_NEW = 0.5
"""Where more than this share of the words are new to it, it learns another language, and what it said is no guide."""


LIKE_BEFORE = ("doubly_stochastic_weight",)
"""What a captioner goes on with as it was trained: its maps have the shape that this gave them."""


@dataclass(frozen=True)
class FitOptions(JsonOptions):
    """One run of training. Its phases follow each other, each starting from the best weights so far."""

    epochs: int = 20
    """Of learning from captions with the encoder frozen."""
    fine_tune_epochs: int = 0
    """Of learning from captions with the last stages of the encoder learning too."""
    self_critical_epochs: int = 0
    """Of learning from the CIDEr of sampled captions (Rennie et al. 2017)."""

    batch_size: int = 32
    """Images in a batch."""
    least_batches: int = 0
    """An epoch passes over a small data set as often as it takes for so many batches."""
    captions_per_image: int = 5
    """At most so many captions of an image in a batch; of more, others are drawn each time."""
    min_count: int = 5
    """Words that are rarer among the training captions become unknown. The default follows the size of these captions:
    1 below 20,000 running words, 2 below 200,000, else 5; at most 2 with --from-bundle, which also keeps its words."""
    balance: float = 0.7
    """Of several data sets (--also): the share of each in an epoch is proportional to its number of photos to the power
    of this. 1 shows every photo once; 0 shows each data set as often as the others; between, small ones come oftener
    than their size alone would make them. An epoch has as many photos as all data sets together."""
    sentence_min_count: int = 20
    """Words that are rarer in the sentences of --sentences become unknown, unless the captions have them often enough
    or they name a label. The default follows the size of the sentences: 2 below 20,000 running words, 5 below 200,000,
    else 20."""
    sentences_per_batch: int = 160
    """Sentences without photos, from --sentences, beside each batch of images."""
    sentence_weight: float = 0.5
    """Weight of learning from sentences without photos; 0 takes only words from them."""
    replay_share: float = 0.5
    """Share of each batch that is drawn from the earlier data that --replay names."""
    replay_images: int = 2000
    """At most so many photos of the earlier data are encoded and drawn from; 0 for all."""
    distillation_weight: float = 0.0
    """Weight of staying near the captioner that a run starts from: near its chances of words, and near its maps."""
    mirror: bool = False
    """Also learn from the mirror image of each photo, drawn each time with probability 1/2."""
    seed: int = 0

    learning_rate: float = 1e-3
    fine_tune_learning_rate: float = 2e-4
    """Of the decoder while the encoder is fine-tuned."""
    encoder_learning_rate: float = 5e-5
    self_critical_learning_rate: float = 3e-5
    warmup_steps: int = 200
    """The learning rate rises this long from 0, then falls along a cosine to 0 at the phase's end."""
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    """Gradients longer than this are shortened to it."""
    label_smoothing: float = 0.1
    doubly_stochastic_weight: float = 1.0
    """Lambda of Xu et al. 2015, eq. 14; of soft attention alone."""
    supervision_weight: float = 1.0
    """Weight of looking at the thing that a word names, where --boxes tells where that is."""
    expected_share: float = 0.75
    """Hard attention: share of the images of which the expected annotation is read instead of a sampled one. It falls
    from 1 to this in a straight line, over the epochs that come before fine-tuning."""
    reinforce_weight: float = 0.1
    """Hard attention: lambda_r of Xu et al. 2015, eq. 12, how much the sampled places learn from what came of them."""
    entropy_weight: float = 0.002
    """Hard attention: lambda_e of eq. 12, how much maps are kept from settling too early."""
    average_decay: float = 0.999
    """Decay per step of the moving average of the weights, which is what is validated and kept. In each phase it rises
    to this from 0, as `training.runs.averaging` says."""
    label_weight: float = 1.0
    """Of staying near what the encoder's classifier said before fine-tuning, with --labels: its labels are not
    unlearned."""
    fine_tune_stages: int = 0
    """So many of the encoder's last stages learn in the fine-tuning phase; -1 for all."""

    self_critical_samples: int = 5
    """Captions sampled for each image."""
    self_critical_baseline: str = "samples"
    """What a sample is compared with: the mean of the image's other samples, or the greedy caption."""
    cross_entropy_weight: float = 0.1
    """Share of learning from captions that is kept in self-critical training, against forgetting how to speak."""

    patience: int = 5
    """A phase ends early after this many epochs without a better CIDEr on the validation photos."""
    confidence: bool = True
    """At the end, learn from the validation photos how far captions can be trusted."""
    validation_images: int = 0
    """Only so many photos of the validation split, drawn at random, are captioned after each epoch; 0 for all."""

    def __post_init__(self) -> None:
        self._require_whole(0, "epochs", "fine_tune_epochs", "self_critical_epochs", "seed", "warmup_steps")
        self._require_whole(0, "validation_images", "replay_images", "least_batches")
        self._require_whole(1, "batch_size", "captions_per_image", "min_count", "patience")
        self._require_whole(1, "sentences_per_batch", "sentence_min_count")
        self._require_whole(2, "self_critical_samples")
        self._require_positive("learning_rate", "fine_tune_learning_rate", "encoder_learning_rate")
        self._require_positive("self_critical_learning_rate", "clip_norm")
        self._require_not_negative("weight_decay", "doubly_stochastic_weight", "cross_entropy_weight")
        self._require_not_negative("sentence_weight")
        self._require_not_negative("distillation_weight", "supervision_weight", "reinforce_weight", "entropy_weight")
        self._require("expected_share", self._is_number("expected_share") and 0 <= self.expected_share <= 1, "0 to 1")
        self._require_not_negative("label_weight")
        self._require("balance", self._is_number("balance") and 0 <= self.balance <= 1, "0 to 1")
        self._require_share("label_smoothing", "average_decay", "replay_share")
        for name in ("mirror", "confidence"):
            self._require(name, isinstance(getattr(self, name), bool), "true or false")
        self._require(
            "self_critical_baseline", self.self_critical_baseline in BASELINES, f"one of {', '.join(BASELINES)}"
        )
        stages = self.fine_tune_stages
        self._require("fine_tune_stages", type(stages) is int and stages >= -1, "-1 for all, or a number of stages")
        if self.fine_tune_epochs and not self.fine_tune_stages:
            raise ConfigError(
                "fine_tune_epochs needs fine_tune_stages: say how many of the encoder's last stages learn"
            )
        if not (self.epochs or self.fine_tune_epochs or self.self_critical_epochs):
            raise ConfigError("there is nothing to do: epochs, fine_tune_epochs and self_critical_epochs are all 0")


def chosen_options(
    given: Mapping[str, Any],
    preset: str | None = None,
    earlier: Mapping[str, Any] | None = None,
    replay: bool = False,
    new_words: float = 0.0,
    running_words: int | None = None,
    resumed: "FitOptions | None" = None,
    sentence_words: int | None = None,
) -> FitOptions:
    """The options of a run: what a person gave, else what the preset and the kind of run say, else the defaults.

    earlier: the options that the captioner to start from was trained with, as far as it tells; None from scratch.
    new_words: share of the words in the captions that the captioner to start from does not know.
    running_words: size of the training captions, which `min_count` follows; None where there are none to count.
    sentence_words: the same of the sentences without photos, which `sentence_min_count` follows.
    resumed: the options of the run that is resumed, which take the place of the defaults and of the kind of run.
    Raises ConfigError for a preset that does not exist, and as FitOptions does.
    """
    if preset is not None and preset not in PRESETS:
        raise ConfigError(f"there is no preset {preset!r}: the presets are {', '.join(PRESETS)}")
    recipe = {}
    if resumed is not None:
        recipe = resumed.to_json()
    elif earlier is not None:
        alone = NEW_LANGUAGE if new_words > MOSTLY_NEW else WITHOUT_REPLAY
        like_before = {name: earlier[name] for name in LIKE_BEFORE if name in earlier}
        recipe = SMALL_DATA | (WITH_REPLAY if replay else alone) | like_before
    if running_words is not None:
        recipe["min_count"] = default_min_count(running_words, from_captioner=earlier is not None)
    if sentence_words is not None:
        recipe["sentence_min_count"] = _limit(SENTENCE_MIN_COUNTS, sentence_words, FitOptions.sentence_min_count)
    return FitOptions(**{**recipe, **PRESETS.get(preset or "", {}), **given})


def default_min_count(running_words: int, from_captioner: bool = False) -> int:
    """How often a word has to occur to be learned, by the size of the training captions in running words."""
    most = SMALL_DATA["min_count"] if from_captioner else FitOptions.min_count
    return min(most, _limit(MIN_COUNTS, running_words, most))


def _limit(limits: Sequence[tuple[int, int]], running_words: int, beyond: int) -> int:
    return next((count for below, count in limits if running_words < below), beyond)


@dataclass(frozen=True)
class Phase:
    """A part of a run with one objective and one learning-rate schedule."""

    name: str
    """cross_entropy, fine_tune or self_critical."""
    epochs: int
    learning_rate: float
    encoder_learning_rate: float = 0.0


def at_batch(options: FitOptions, phase: Phase, done: float) -> FitOptions:
    """The options of one batch. done: share of the phase's batches that came before it, 0 to 1."""
    if phase.name != "cross_entropy":
        return options
    return replace(options, expected_share=1 - done * (1 - options.expected_share))


def phases(options: FitOptions, begun: str = "") -> list[Phase]:
    """The phases of a run, in order: those that have epochs, and the one that has `begun` already, by its name."""
    every = [
        Phase("cross_entropy", options.epochs, options.learning_rate),
        Phase("fine_tune", options.fine_tune_epochs, options.fine_tune_learning_rate, options.encoder_learning_rate),
        Phase("self_critical", options.self_critical_epochs, options.self_critical_learning_rate),
    ]
    return [phase for phase in every if phase.epochs or phase.name == begun]
