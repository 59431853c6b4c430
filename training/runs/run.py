"""The state of a run: where it stands and what it has learned, kept in a checkpoint and found again."""

import math
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
from training.grounding.supervision import teaching_boxes
from training.options import FitOptions, Phase, phases
from training.runs.averaging import averaged
from training.runs.card import model_card
from training.runs.checkpoint import load_checkpoint, save_checkpoint
from training.runs.progress import PROGRESS
from training.runs.resuming import changes, upgraded
from training.setup import Features, Material, stages_before_fine_tuning

CHECKPOINT = "checkpoint.pt"


@dataclass
class Progress:
    """Where a run stands."""

    phase: str = ""
    """Name of the phase; empty before the first has begun."""
    epoch: int = 0
    """Epochs that the phase has finished."""
    step: int = 0
    """Batches of the epoch that were learned from."""
    batches: int = 0
    """Batches of a whole epoch."""
    total_epochs: int = 0
    loss_sum: float = 0.0
    sentence_loss_sum: float = 0.0
    """Of sentences without photos alone, which are a part of `loss_sum` by their weight."""
    reward_sum: float = 0.0
    stale_epochs: int = 0
    """Epochs of the phase since the last better CIDEr."""
    best: dict[str, Any] = field(default_factory=dict)
    """Scores of the best epoch so far, and which it was."""
    baseline: float | None = None
    """Moving average of the log-probability of a word, in nats, of batches in which hard attention sampled."""

    def follow(self, word_log_prob: float | None) -> None:
        """b <- 0.9 b + 0.1 log p(y|s), Xu et al. 2015, section 4.1; it starts from the first batch."""
        if word_log_prob is not None:
            before = word_log_prob if self.baseline is None else self.baseline
            self.baseline = 0.9 * before + 0.1 * word_log_prob

    def start_phase(self, name: str) -> None:
        """Begin a phase."""
        self.phase, self.epoch, self.step, self.stale_epochs = name, 0, 0, 0

    def rescale(self, batches: int) -> None:
        """Continue with another number of batches per epoch, at the same share of the epoch, rounded down."""
        if self.batches not in (0, batches):
            step = self.step * batches // self.batches
            for name in ("loss_sum", "sentence_loss_sum", "reward_sum"):
                setattr(self, name, getattr(self, name) * step / max(1, self.step))
            self.step = step
        self.batches = batches


@dataclass
class Learner:
    """What changes while a phase runs, besides the model's weights."""

    average: AveragedModel
    """The moving average of the model's weights: what is validated and kept."""
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    parallel: DistributedDataParallel | None = None
    """`batch_loss` that adds up the gradients of all ranks; None where there is one."""


class Run:
    """What a run works on, where it stands, and the best weights so far."""

    def __init__(self, material: Material, options: FitOptions, output: Path, ranks: Ranks = ALONE):
        self.material, self.options, self.output, self.ranks = material, options, output, ranks
        self.progress = Progress()
        self._checkpoint = output / CHECKPOINT
        self.learner: Learner
        self._best_weights: dict[str, Tensor] | None = None
        self._restored: dict[str, Any] | None = None
        self.changes: dict[str, str] = {}
        """Options that changed when the run was resumed: name -> a sentence."""

    def restore(self) -> None:
        """Go back to where the checkpoint was written, if one was. Raises ConfigError where it is of another run."""
        if not self._checkpoint.exists():
            return
        self._restored = load_run(self._checkpoint)
        self.progress = Progress(**self._restored["progress"])
        self.changes = changes(self._restored["run"], self._identity(), self.progress.phase, self._checkpoint)
        self._best_weights = self._restored["best_weights"]

    def phases_left(self) -> list[Phase]:
        """Return the phases that remain, with the current one unless it is over."""
        plan, progress = self.plan(), self.progress
        if not progress.phase:
            return plan
        current = next(number for number, phase in enumerate(plan) if phase.name == progress.phase)
        return plan[current + self.is_over(plan[current]) :]

    def plan(self) -> list[Phase]:
        """All phases in their order. The current one is among them even if none of its epochs are left."""
        return phases(self.options, self.progress.phase)

    def is_over(self, phase: Phase) -> bool:
        """Whether the phase, the current one, has had its epochs or is no longer getting better."""
        return self.progress.epoch >= phase.epochs or self.progress.stale_epochs >= self.options.patience

    def start_phase(self, phase: Phase, features: Features) -> None:
        """Begin a phase from the best weights so far, or continue the one that was restored.

        A resumed phase goes on as if it had had its present options from the start: its learning rate is that of its
        schedule at this step, of all the steps that it has now.
        """
        model, progress = self.material.model, self.progress
        if self._best_weights is not None:
            model.load_state_dict(self._best_weights)
        state, self._restored = self._restored, None
        resumed = state is not None and progress.phase == phase.name
        if not resumed:
            progress.start_phase(phase.name)
        progress.rescale(features.train.batch_count(self.options.batch_size))
        steps = progress.epoch * progress.batches + progress.step
        self.learner = new_learner(self.material, phase, features, self.options, steps)
        if resumed:
            model.load_state_dict(state["model"])
            self.learner.average.load_state_dict(state["average"])
            optimizer = self.learner.optimizer  # its groups keep the present options, not the checkpoint's
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state["optimizer"]["state"]})

    def is_better(self, scores: dict[str, Any]) -> bool:
        """Whether an epoch with these scores is the best so far."""
        taught = teaching_boxes(self.material.boxes, self.options) is not None
        return not self.progress.best or rank(scores, taught) > rank(self.progress.best, taught)

    def keep_best(self) -> None:
        """Take the averaged weights for the best so far, and write the bundle; of several ranks, the first does."""
        material, model, best = self.material, self.learner.average.module, self.progress.best
        self._best_weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        if not self.ranks.leads:
            return
        metrics = {"validation": best, "options": self.options.to_json(), "data": " + ".join(material.names)}
        card = model_card(material, self.options, best)
        bundle = Bundle(
            model, material.vocabulary, material.encoder_weights, material.decoding, metrics, card, material.label_names
        )
        save_bundle(bundle, self.output / "bundle")

    def save(self) -> None:
        """Write the checkpoint; of several ranks, the first does: all of them stand at the same place."""
        if not self.ranks.leads:
            return
        state = {
            "run": self._identity(),
            "progress": vars(self.progress),
            "best_weights": self._best_weights,
            "model": self.material.model.state_dict(),
            "average": self.learner.average.state_dict(),
            "optimizer": self.learner.optimizer.state_dict(),
        }
        save_checkpoint(self._checkpoint, state)

    def _identity(self) -> dict[str, Any]:
        """What `training.runs.resuming` compares: options that may change, and what must be the same."""
        material = self.material
        train, validation = material.frozen.train, material.frozen.validator.data.records
        return {
            "options": self.options.to_json(),
            "captioner": material.config.to_json(),
            "decoding": material.decoding.to_json(),
            "encoder_weights": material.encoder_weights.sha256,
            "start": material.start and tensors_sha256(material.start.model),
            "also": list(material.names[1:]),
            "replay": material.replay and material.replay.name,
            "boxes": material.boxes and material.boxes.name,
            "sentences": material.sentences and material.sentences.sha256,
            "vocabulary": len(material.vocabulary),
            "label_names": material.label_names and material.label_names.to_json(),
            "train_images": len(train.new_records),
            "validation_images": len(validation),
            "photos": records_sha256([*train.new_records, *validation]),
            "replay_photos": material.replay and records_sha256(material.replay.records),
        }


def load_run(checkpoint: Path, mapped: bool = False) -> dict[str, Any]:
    """Read the state of a run, from a checkpoint of this version or an older one.

    mapped: leave the tensors on disk until they are used. Raises DataError where the file is damaged.
    """
    return upgraded(load_checkpoint(checkpoint, mapped))


def rank(scores: dict[str, Any], taught: bool) -> tuple[float, ...]:
    """What epochs are compared by: CIDEr, and where boxes have taught the maps, pointing beside it, point for point.

    Of few photos that are much alike, CIDEr is 0 whatever is said of them: then BLEU tells them apart.
    """
    return scores["CIDEr"] + (scores.get("pointing", 0.0) if taught else 0.0), scores["Bleu_4"], scores["Bleu_1"]


def check_output(output: Path, resume: bool) -> None:
    """Raise ConfigError or DataError where the folder of a run does not hold what `resume` says.

    A run that ended before its first checkpoint is resumed from its beginning.
    """
    checkpoint = output / CHECKPOINT
    if resume and not checkpoint.is_file() and not (output / PROGRESS).is_file():
        raise DataError(f"there is no run to resume: {checkpoint} does not exist; start one without --resume")
    if not resume and checkpoint.exists():
        raise ConfigError(f"{output} holds a run already: go on with it by --resume, or name another --output")
    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output} is a file, and a run needs a folder: name another --output")


def new_learner(
    material: Material, phase: Phase, features: Features, options: FitOptions, steps_before: int = 0
) -> Learner:
    """A new optimiser, schedule and average for the parameters that learn in this phase.

    steps_before: steps of the phase that were taken before, where the schedule goes on.
    """
    model = material.model
    tuned = nn.Sequential()
    if phase.name == "fine_tune":
        stages = len(model.encoder.stages)
        tuned = model.encoder.stages[
            stages_before_fine_tuning(model.config.encoder, stages, options.fine_tune_stages) :
        ]
    model.encoder.requires_grad_(False)
    tuned.requires_grad_(True)
    groups = [
        *_parameter_groups(model.decoder, phase.learning_rate, options.weight_decay),
        *_parameter_groups(tuned, phase.encoder_learning_rate, options.weight_decay),
    ]
    optimizer = torch.optim.AdamW(groups, fused=True)
    steps = phase.epochs * features.train.batch_count(options.batch_size)
    warmup = min(options.warmup_steps, steps // 10)

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        done = min(1.0, (step - warmup) / max(1, steps - warmup))
        return 0.5 * (1 + math.cos(math.pi * done))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate, last_epoch=steps_before - 1)
    return Learner(averaged(model, options.average_decay), optimizer, schedule)


def _parameter_groups(module: nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay, biases and normalisation do not."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [([p for p in parameters if p.dim() > 1], weight_decay), ([p for p in parameters if p.dim() <= 1], 0.0)]
    rate = {"lr": learning_rate, "initial_lr": learning_rate}
    return [{"params": p, **rate, "weight_decay": decay} for p, decay in groups if p]
