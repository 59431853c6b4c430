"""State of a run: progress and weights, saved to a checkpoint and restored."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from captioner.bundle import Bundle, save_bundle
from captioner.errors import ConfigError, DataError
from captioner.model.weights import tensors_sha256
from captioner.ranks import ALONE, Ranks
from training.data.records import records_sha256
from training.encoding import Features, stages_before_fine_tuning
from training.grounding.supervision import teaching_boxes
from training.options import FitOptions, Phase, phases
from training.runs.averaging import make_average
from training.runs.card import model_card
from training.runs.checkpoint import load_checkpoint, save_checkpoint
from training.runs.progress import PROGRESS
from training.runs.resuming import compare_runs, upgrade_state
from training.setup import TrainingSetup

CHECKPOINT = "checkpoint.pt"


@dataclass
class Progress:
    """Progress of a run."""

    phase: str = ""
    """Name of the phase; empty before the first one has started."""
    epoch: int = 0
    """Number of finished epochs of the phase."""
    step: int = 0
    """Number of finished batches of the epoch."""
    batches: int = 0
    """Number of batches of an epoch."""
    total_epochs: int = 0
    loss_sum: float = 0.0
    losses: dict[str, list[float]] = field(default_factory=dict)
    """Name of each loss -> its sum over the batches of the epoch before its weight, and the number of these."""
    reward_sum: float = 0.0
    stale_epochs: int = 0
    """Number of epochs of the phase since the best CIDEr."""
    best: dict[str, Any] = field(default_factory=dict)
    """Scores and number of the best epoch so far."""
    baseline: float | None = None
    """Moving average of a word's log-probability, in nats, over batches with sampled hard attention."""

    def update_baseline(self, word_log_prob: float | None) -> None:
        """Update the baseline: b <- 0.9 b + 0.1 log p(y|s), Xu et al. 2015, section 4.1; the first batch sets it."""
        if word_log_prob is not None:
            baseline = word_log_prob if self.baseline is None else self.baseline
            self.baseline = 0.9 * baseline + 0.1 * word_log_prob

    def start_phase(self, name: str) -> None:
        """Start a phase."""
        self.phase, self.epoch, self.step, self.stale_epochs = name, 0, 0, 0

    def add_batch(self, loss: float, losses: Mapping[str, float], reward: float) -> None:
        """Count a batch."""
        self.step += 1
        self.loss_sum += loss
        self.reward_sum += reward
        for name, value in losses.items():
            total, batches = self.losses.get(name, (0.0, 0))
            self.losses[name] = [total + value, batches + 1]

    def start_epoch(self) -> None:
        """Reset the sums of the previous epoch."""
        self.step, self.loss_sum, self.losses, self.reward_sum = 0, 0.0, {}, 0.0

    def rescale(self, batches: int) -> None:
        """Change the number of batches per epoch, and keep the share of the epoch that is done, rounded down."""
        if self.batches not in (0, batches):
            step = self.step * batches // self.batches
            scale = step / max(1, self.step)
            self.loss_sum, self.reward_sum = self.loss_sum * scale, self.reward_sum * scale
            self.losses = {name: [value * scale for value in values] for name, values in self.losses.items() if step}
            self.step = step
        self.batches = batches


@dataclass
class Learner:
    """Trainable state of a phase besides the model's weights."""

    average: AveragedModel
    """Moving average of the model's weights, which is validated and kept."""
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    parallel: DistributedDataParallel | None = None
    """`batch_loss` with gradients summed over all ranks; None with a single rank."""


class Run:
    """Run: its data and model, progress, and best weights so far."""

    def __init__(self, setup: TrainingSetup, options: FitOptions, output: Path, ranks: Ranks = ALONE):
        self.setup, self.options, self.output, self.ranks = setup, options, output, ranks
        self.progress = Progress()
        self._checkpoint = output / CHECKPOINT
        self.learner: Learner
        self._best_weights: dict[str, Tensor] | None = None
        self._restored_state: dict[str, Any] | None = None
        self.changes: dict[str, str] = {}
        """Options that changed when the run was resumed: name -> sentence."""

    def restore(self) -> None:
        """Restore the checkpoint, if there is one. Raises ConfigError if it is of another run."""
        if not self._checkpoint.exists():
            return
        self._restored_state = load_run(self._checkpoint)
        self.progress = Progress(**self._restored_state["progress"])
        self.changes = compare_runs(
            self._restored_state["run"], self._identity(), self.progress.phase, self._checkpoint
        )
        self._best_weights = self._restored_state["best_weights"]

    def phases_left(self) -> list[Phase]:
        """Return the remaining phases, including the current one unless it is finished."""
        plan, progress = self.plan(), self.progress
        if not progress.phase:
            return plan
        current = next(number for number, phase in enumerate(plan) if phase.name == progress.phase)
        return plan[current + self.is_finished(plan[current]) :]

    def plan(self) -> list[Phase]:
        """Return all phases in order, including the current one even if none of its epochs remain."""
        return phases(self.options, self.progress.phase)

    def is_finished(self, phase: Phase) -> bool:
        """Return whether the current phase has done its epochs or has stopped improving."""
        return self.progress.epoch >= phase.epochs or self.progress.stale_epochs >= self.options.patience

    def start_phase(self, phase: Phase, features: Features) -> None:
        """Start a phase from the best weights so far, or resume the restored one.

        A resumed phase continues as if it had had its current options from the start: its learning rate is that of the
        current schedule at this step.
        """
        model, progress = self.setup.model, self.progress
        if self._best_weights is not None:
            model.load_state_dict(self._best_weights)
        state, self._restored_state = self._restored_state, None
        is_resumed = state is not None and progress.phase == phase.name
        if not is_resumed:
            progress.start_phase(phase.name)
        progress.rescale(features.train.batch_count(self.options.batch_size))
        steps = progress.epoch * progress.batches + progress.step
        self.learner = new_learner(self.setup, phase, features, self.options, steps)
        if is_resumed:
            model.load_state_dict(state["model"])
            self.learner.average.load_state_dict(state["average"])
            optimizer = self.learner.optimizer  # its groups keep the current options, not the checkpoint's
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state["optimizer"]["state"]})

    def is_better(self, scores: dict[str, Any]) -> bool:
        """Return whether an epoch with these scores is the best so far."""
        supervised = teaching_boxes(self.setup.data.boxes, self.options) is not None
        return not self.progress.best or epoch_rank(scores, supervised) > epoch_rank(self.progress.best, supervised)

    def keep_best(self) -> None:
        """Keep the averaged weights as the best so far; the first rank writes the bundle."""
        setup, model, best = self.setup, self.learner.average.module, self.progress.best
        self._best_weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        if not self.ranks.leads:
            return
        metrics = {"validation": best, "options": self.options.to_json(), "data": " + ".join(setup.data.names)}
        card = model_card(setup, self.options, best)
        bundle = Bundle(
            model, setup.vocabulary, setup.encoder_weights, setup.decoding, metrics, card, setup.words.label_names
        )
        save_bundle(bundle, self.output / "bundle")

    def save(self) -> None:
        """Write the checkpoint; only the first rank does, because all ranks have the same state."""
        if not self.ranks.leads:
            return
        state = {
            "run": self._identity(),
            "progress": vars(self.progress),
            "best_weights": self._best_weights,
            "model": self.setup.model.state_dict(),
            "average": self.learner.average.state_dict(),
            "optimizer": self.learner.optimizer.state_dict(),
        }
        save_checkpoint(self._checkpoint, state)

    def _identity(self) -> dict[str, Any]:
        """Return the entries that `training.runs.resuming` compares: options that may change, and fixed values."""
        setup = self.setup
        train, validation = setup.frozen.train, setup.frozen.validator.data.records
        return {
            "options": self.options.to_json(),
            "captioner": setup.config.to_json(),
            "decoding": setup.decoding.to_json(),
            "encoder_weights": setup.encoder_weights.sha256,
            "start": setup.start and tensors_sha256(setup.start.model),
            "also": list(setup.data.names[1:]),
            "replay": setup.data.replay and setup.data.replay.name,
            "boxes": setup.data.boxes and setup.data.boxes.name,
            "sentences": setup.words.sentences and setup.words.sentences.sha256,
            "vocabulary": len(setup.vocabulary),
            "label_names": setup.words.label_names and setup.words.label_names.to_json(),
            "train_images": len(train.new_records),
            "validation_images": len(validation),
            "photos": records_sha256([*train.new_records, *validation]),
            "replay_photos": setup.data.replay and records_sha256(setup.data.replay.records),
        }


def load_run(checkpoint: Path, mapped: bool = False) -> dict[str, Any]:
    """Read the state of a run, from a checkpoint of this version or an older one.

    mapped: leave the tensors on disk until they are used. Raises DataError if the file is damaged.
    """
    return upgrade_state(load_checkpoint(checkpoint, mapped))


def epoch_rank(scores: dict[str, Any], supervised: bool) -> tuple[float, ...]:
    """Return the key that compares epochs: CIDEr, plus pointing if boxes supervised the attention.

    For a few similar photos CIDEr is 0 whatever their captions, so BLEU breaks ties.
    """
    return scores["CIDEr"] + (scores.get("pointing", 0.0) if supervised else 0.0), scores["Bleu_4"], scores["Bleu_1"]


def check_output(output: Path, resume: bool) -> None:
    """Raise ConfigError or DataError if the folder of a run does not match `resume`.

    A run that ended before its first checkpoint is resumed from its beginning.
    """
    checkpoint = output / CHECKPOINT
    if resume and not checkpoint.is_file() and not (output / PROGRESS).is_file():
        raise DataError(f"there is no run to resume: {checkpoint} does not exist; start one without --resume")
    if not resume and checkpoint.exists():
        raise ConfigError(f"{output} holds a run already: resume it with --resume, or name another --output")
    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output} is a file, and a run needs a folder: name another --output")


def new_learner(
    setup: TrainingSetup, phase: Phase, features: Features, options: FitOptions, steps_before: int = 0
) -> Learner:
    """Return a new optimiser, schedule and average for the trainable parameters of this phase.

    steps_before: number of finished steps of the phase, where the schedule resumes.
    """
    model = setup.model
    tuned_stages = nn.Sequential()
    if phase.name == "fine_tune":
        stages = len(model.encoder.stages)
        tuned_stages = model.encoder.stages[
            stages_before_fine_tuning(model.config.encoder, stages, options.fine_tune_stages) :
        ]
    model.encoder.requires_grad_(False)
    tuned_stages.requires_grad_(True)
    groups = [
        *_parameter_groups(model.decoder, phase.learning_rate, options.weight_decay),
        *_parameter_groups(tuned_stages, phase.encoder_learning_rate, options.weight_decay),
    ]
    optimizer = torch.optim.AdamW(groups, fused=True)
    steps = phase.epochs * features.train.batch_count(options.batch_size)
    warmup = min(options.warmup_steps, steps // 10)

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        decay_share = min(1.0, (step - warmup) / max(1, steps - warmup))
        return 0.5 * (1 + math.cos(math.pi * decay_share))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate, last_epoch=steps_before - 1)
    return Learner(make_average(model, options.average_decay), optimizer, schedule)


def _parameter_groups(module: nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups with weight decay for matrices, and without for biases and normalisation."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if parameter.dim() > 1]
    vectors = [parameter for parameter in parameters if parameter.dim() <= 1]
    rate = {"lr": learning_rate, "initial_lr": learning_rate}
    groups = [(matrices, weight_decay), (vectors, 0.0)]
    return [{"params": group, **rate, "weight_decay": decay} for group, decay in groups if group]
