"""The state of a run: where it stands and what it has learned, kept in a checkpoint and found again."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from captioner.bundle import Bundle, save_bundle
from captioner.encoder_weights import tensors_sha256
from captioner.errors import ConfigError, DataError
from training.card import model_card
from training.checkpoint import load_checkpoint, save_checkpoint
from training.distributed import ALONE, Ranks
from training.options import FitOptions, Phase
from training.preparation import Features, Material, stages_before_fine_tuning
from training.progress import PROGRESS
from training.supervision import teaching_boxes

CHECKPOINT = "checkpoint.pt"


@dataclass
class Progress:
    """Where a run stands."""

    phase: int = 0
    epoch: int = 0
    """Epochs that the phase has finished."""
    step: int = 0
    """Batches of the epoch that were learned from."""
    total_epochs: int = 0
    loss_sum: float = 0.0
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

    def restore(self) -> None:
        """Go back to where the checkpoint was written, if one was. Raises ConfigError where it is of another run."""
        if not self._checkpoint.exists():
            return
        self._restored = load_checkpoint(self._checkpoint)
        for change in changed_options(self._restored["run"], self._identity(), self._checkpoint):
            if self.ranks.leads:
                tqdm.write(change)
        self.progress = Progress(**self._restored["progress"])
        self._best_weights = self._restored["best_weights"]

    def start_phase(self, phase: Phase, features: Features) -> None:
        """Begin a phase from the best weights so far, or take up again the one that was restored in its middle."""
        model = self.material.model
        if self._best_weights is not None:
            model.load_state_dict(self._best_weights)
        self.learner = new_learner(self.material, phase, features, self.options)
        state, self._restored = self._restored, None
        if state is not None and not state["between_phases"]:
            model.load_state_dict(state["model"])
            self.learner.average.load_state_dict(state["average"])
            self.learner.optimizer.load_state_dict(state["optimizer"])
            self.learner.schedule.load_state_dict(state["schedule"])

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
        metrics = {"validation": best, "options": self.options.to_json(), "data": material.data.name}
        card = model_card(material, self.options, best)
        bundle = Bundle(model, material.vocabulary, material.encoder_weights, material.decoding, metrics, card)
        save_bundle(bundle, self.output / "bundle")

    def save(self, between_phases: bool = False) -> None:
        """Write the checkpoint; of several ranks, the first does: all of them stand at the same place."""
        if not self.ranks.leads:
            return
        state = {
            "run": self._identity(),
            "progress": vars(self.progress),
            "best_weights": self._best_weights,
            "between_phases": between_phases,
            "model": self.material.model.state_dict(),
            "average": self.learner.average.state_dict(),
            "optimizer": self.learner.optimizer.state_dict(),
            "schedule": self.learner.schedule.state_dict(),
        }
        save_checkpoint(self._checkpoint, state)

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a run to be resumed; options may differ, which is said."""
        material = self.material
        return {
            "options": self.options.to_json(),
            "captioner": material.config.to_json(),
            "encoder_weights": material.encoder_weights.sha256,
            "start": material.start and tensors_sha256(material.start.model),
            "replay": material.replay and material.replay.name,
            "boxes": material.boxes and material.boxes.name,
            "vocabulary": len(material.vocabulary),
            "train_images": len(material.frozen.train),
            "validation_images": len(material.frozen.validator.data),
        }


def rank(scores: dict[str, Any], taught: bool) -> tuple[float, ...]:
    """What epochs are compared by: CIDEr, and where boxes have taught the maps, pointing beside it, point for point.

    Of few photos that are much alike, CIDEr is 0 whatever is said of them: then BLEU tells them apart.
    """
    return scores["CIDEr"] + (scores["pointing"] if taught else 0.0), scores["Bleu_4"], scores["Bleu_1"]


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


def new_learner(material: Material, phase: Phase, features: Features, options: FitOptions) -> Learner:
    """A new optimiser, schedule and average for the parameters that learn in this phase."""
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
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(options.average_decay), use_buffers=False)
    average.requires_grad_(False)
    return Learner(average, optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate))


def _parameter_groups(module: nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay, biases and normalisation do not."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [([p for p in parameters if p.dim() > 1], weight_decay), ([p for p in parameters if p.dim() <= 1], 0.0)]
    return [{"params": p, "lr": learning_rate, "weight_decay": decay} for p, decay in groups if p]


def changed_options(stored: dict[str, Any], current: dict[str, Any], path: Path) -> Iterator[str]:
    """A sentence for each option that the run is resumed with another value of. Raises ConfigError for another run."""
    for name in stored.keys() - {"options"}:
        if stored[name] != current[name]:
            raise ConfigError(
                f"{path} is of a run with {name} {stored[name]!r}, not {current[name]!r}:"
                " resume with the data and the captioner of that run, or name another --output"
            )
    for name, value in current["options"].items():
        if stored["options"].get(name) != value:
            yield f"resumed with {name} {value!r} instead of {stored['options'].get(name)!r}"
