"""Interface of a training task: everything that differs between a captioner and a translator."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

from captioner.ranks import ALONE, Ranks
from training.options import LoopOptions, Phase
from training.progress import ReportProgress

if TYPE_CHECKING:  # importing TensorBoard takes a second
    from torch.utils.tensorboard import SummaryWriter


@dataclass(frozen=True)
class BatchLoss:
    """The loss of a batch, or of a rank's share of one."""

    loss: Tensor
    """Weighted sum of all losses, which the optimiser takes a step on."""
    losses: dict[str, Tensor] = field(default_factory=dict)
    """Name -> each loss before its weight, without a gradient."""
    reward: float = 0.0
    """Mean reward of sampled captions; 0 outside self-critical training."""
    word_log_prob: float | None = None
    """Mean log-probability of a word in nats; None unless hard attention sampled locations."""


class ValidationResult(Protocol):
    """Result of a validation."""

    scores: dict[str, float]
    by_data: dict[str, dict[str, float]]
    """With several data sets: name -> scores."""

    def to_json(self) -> dict[str, Any]:
        """Return the scores for an epoch's line and a bundle's metrics."""
        ...


class Task(Protocol):
    """A model with its batches, its losses, its scores and its bundle."""

    model: nn.Module
    options: LoopOptions
    validates_start: bool
    """Whether the model is validated before the first epoch, because it comes from a bundle."""

    def plan(self, current_phase: str = "") -> list[Phase]:
        """Return all phases in order, and `current_phase` even if none of its epochs remain."""
        ...

    def batch_count(self, phase: Phase) -> int:
        """Return the number of batches of an epoch."""
        ...

    def batches(self, phase: Phase, epoch: int, first: int, ranks: Ranks = ALONE) -> Iterator[Any]:
        """Yield this rank's slice of each batch of an epoch, from batch number `first`. Each batch has a `seed`."""
        ...

    def loss(
        self, phase: Phase, batch: Any, phase_share: float, baseline: float = 0.0, ranks: Ranks = ALONE
    ) -> BatchLoss:
        """Compute the loss of a batch; of a rank's slice, its part of the loss of the whole batch.

        phase_share: share of the phase's batches before this one, 0 to 1. baseline: of hard attention, in nats.
        """
        ...

    def leaves_parameters_unused(self, phase: Phase) -> bool:
        """Return whether some trainable parameters get no gradient in a phase."""
        ...

    def trainable_modules(self, phase: Phase) -> list[tuple[nn.Module, float]]:
        """Return the modules that learn in a phase, with their learning rates, and freeze all others."""
        ...

    def validate(self, model: nn.Module, phase: Phase, ranks: Ranks) -> ValidationResult:
        """Score a model on the validation data by free decoding."""
        ...

    def rank(self, scores: Mapping[str, Any]) -> tuple[float, ...]:
        """Return the key that compares epochs; the largest is the best."""
        ...

    def epoch_size(self, phase: Phase) -> dict[str, int]:
        """Return what an epoch trains on, for its line: name -> count."""
        ...

    def save_bundle(self, model: nn.Module, best: Mapping[str, Any], folder: Path) -> None:
        """Write the bundle of a model. best: scores of its epoch."""
        ...

    def write_samples(self, output: Path, epoch: int, phase: Phase, scores: Any) -> None:
        """Write what the model made of some validation data."""
        ...

    def draw_samples(self, writer: "SummaryWriter", epoch: int, phase: Phase, scores: Any) -> None:
        """Draw what the model made of some validation data."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return the values that identify a run, as JSON: its options, and fingerprints of its data."""
        ...

    def compare(self, stored: Mapping[str, Any], phase: str, path: Path) -> dict[str, str]:
        """Compare the identity in a checkpoint with this one: option name -> sentence for each that changed.

        Raises ConfigError for the first value that cannot change.
        """
        ...

    def finish(self, output: Path, on_progress: ReportProgress, ranks: Ranks) -> None:
        """Do what comes after the last epoch. Ranks do not wait for each other afterwards."""
        ...
