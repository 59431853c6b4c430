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

from captioner.errors import ConfigError, DataError
from captioner.ranks import ALONE, Ranks
from training.options import Phase
from training.progress import PROGRESS
from training.runs.averaging import make_average
from training.runs.checkpoint import load_checkpoint, save_checkpoint
from training.runs.resuming import upgrade_state
from training.task import Task

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
    """Run of a task: progress, and best weights so far."""

    def __init__(self, task: Task, output: Path, ranks: Ranks = ALONE):
        self.task, self.options, self.output, self.ranks = task, task.options, output, ranks
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
        self.changes = self.task.compare(self._restored_state["run"], self.progress.phase, self._checkpoint)
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
        return self.task.plan(self.progress.phase)

    def is_finished(self, phase: Phase) -> bool:
        """Return whether the current phase has done its epochs or has stopped improving."""
        return self.progress.epoch >= phase.epochs or self.has_stalled()

    def has_stalled(self) -> bool:
        """Return whether the current phase has stopped improving, and ends for that with the current options."""
        return self.options.keep == "best" and self.progress.stale_epochs >= self.options.patience

    def start_phase(self, phase: Phase) -> None:
        """Start a phase from the best weights so far, or resume the restored one.

        A resumed phase continues as if it had had its current options from the start: its learning rate is that of the
        current schedule at this step.
        """
        model, progress = self.task.model, self.progress
        if self._best_weights is not None:
            model.load_state_dict(self._best_weights)
        state, self._restored_state = self._restored_state, None
        is_resumed = state is not None and progress.phase == phase.name
        if not is_resumed:
            progress.start_phase(phase.name)
        progress.rescale(self.task.batch_count(phase))
        steps = progress.epoch * progress.batches + progress.step
        self.learner = new_learner(self.task, phase, steps)
        if is_resumed:
            model.load_state_dict(state["model"])
            self.learner.average.load_state_dict(state["average"])
            optimizer = self.learner.optimizer  # its groups keep the current options, not the checkpoint's
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state["optimizer"]["state"]})

    def is_better(self, scores: dict[str, Any]) -> bool:
        """Return whether to keep the weights of an epoch with these scores, instead of those kept so far."""
        if self.options.keep == "last" or not self.progress.best:
            return True
        return self.task.rank(scores) > self.task.rank(self.progress.best)

    def keep_best(self) -> None:
        """Keep the averaged weights as the best so far; the first rank writes the bundle."""
        model = self.learner.average.module
        self._best_weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        if self.ranks.leads:
            self.task.save_bundle(model, self.progress.best, self.output / "bundle")

    def save(self) -> None:
        """Write the checkpoint; only the first rank does, because all ranks have the same state."""
        if not self.ranks.leads:
            return
        state = {
            "run": self.task.identity(),
            "progress": vars(self.progress),
            "best_weights": self._best_weights,
            "model": self.task.model.state_dict(),
            "average": self.learner.average.state_dict(),
            "optimizer": self.learner.optimizer.state_dict(),
        }
        save_checkpoint(self._checkpoint, state)


def load_run(checkpoint: Path, mapped: bool = False) -> dict[str, Any]:
    """Read the state of a run, from a checkpoint of this version or an older one.

    mapped: leave the tensors on disk until they are used. Raises DataError if the file is damaged.
    """
    return upgrade_state(load_checkpoint(checkpoint, mapped))


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


def new_learner(task: Task, phase: Phase, steps_before: int = 0) -> Learner:
    """Return a new optimiser, schedule and average for the trainable parameters of this phase.

    steps_before: number of finished steps of the phase, where the schedule resumes.
    """
    options = task.options
    groups = [
        group
        for module, learning_rate in task.trainable_modules(phase)
        for group in _parameter_groups(module, learning_rate, options.weight_decay)
    ]
    optimizer = torch.optim.AdamW(groups, fused=True)
    steps = phase.epochs * task.batch_count(phase)
    warmup = min(options.warmup_steps, steps // 10)

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        decay_share = min(1.0, (step - warmup) / max(1, steps - warmup))
        return 0.5 * (1 + math.cos(math.pi * decay_share))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate, last_epoch=steps_before - 1)
    return Learner(make_average(task.model, options.average_decay), optimizer, schedule)


def _parameter_groups(module: nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups with weight decay for matrices, and without for biases and normalisation."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if parameter.dim() > 1]
    vectors = [parameter for parameter in parameters if parameter.dim() <= 1]
    rate = {"lr": learning_rate, "initial_lr": learning_rate}
    groups = [(matrices, weight_decay), (vectors, 0.0)]
    return [{"params": group, **rate, "weight_decay": decay} for group, decay in groups if group]
