"""The training loop: phases of epochs, validated by free decoding, stopped early, resumable at any batch."""

import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from captioner.bundle import Bundle, save_bundle
from captioner.errors import ConfigError, DataError
from captioner.model import CaptionModel
from training.card import model_card
from training.checkpoint import load_checkpoint, save_checkpoint
from training.curves import Curves
from training.dataset import Batch
from training.features import annotations_from
from training.objectives import caption_loss
from training.options import FitOptions, Phase, phases
from training.preparation import Features, Material
from training.validation import Validation


class Interrupted(Exception):
    """A person or the machine asked the run to stop; a checkpoint was written."""


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


@dataclass
class Learner:
    """What changes while a phase runs."""

    average: AveragedModel
    """The moving average of the model's weights: what is validated and kept."""
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR


def fit(material: Material, options: FitOptions, output: Path, resume: bool = False) -> Path:
    """Train, and keep the best captioner in `output/bundle`. Returns that folder.

    Every epoch adds a line to `output/log.jsonl`, scalars and captioned photos to `output/tensorboard`, and a
    checkpoint to `output/checkpoint.pt`. With `resume`, goes on from that checkpoint exactly as if it had never stopped.
    Raises Interrupted after SIGINT or SIGTERM, DataError where there is nothing to resume.
    """
    checkpoint = checkpoint_of(output, resume)
    output.mkdir(parents=True, exist_ok=True)
    plan = phases(options)
    progress, best_weights, restored = Progress(), None, None
    if resume:
        restored = load_checkpoint(checkpoint)
        _check_same_run(restored["run"], _run_identity(material, options), checkpoint)
        progress, best_weights = Progress(**restored["progress"]), restored["best_weights"]
        _drop_lines_after(output / "log.jsonl", progress.total_epochs)
        if progress.phase >= len(plan):
            tqdm.write(f"{output} holds a finished run of {progress.total_epochs} epochs: there is nothing left to do")
            return output / "bundle"
    with stop_requests() as stop, Curves(output / "tensorboard", progress.total_epochs) as curves:
        while progress.phase < len(plan):
            phase = plan[progress.phase]
            features = features_of(phase, progress.phase, plan, material)
            if best_weights is not None:
                material.model.load_state_dict(best_weights)
            learner = start_phase(material.model, phase, features, options)
            if restored is not None and not restored["between_phases"]:
                _restore(learner, material.model, restored)
            restored = None

            def save(between_phases: bool = False, learner: Learner = learner) -> None:
                save_checkpoint(
                    checkpoint, _state(material, options, progress, learner, best_weights, between_phases)
                )

            while progress.epoch < phase.epochs and progress.stale_epochs < options.patience:
                started = time.monotonic()
                train_epoch(material, phase, features, learner, progress, options, stop, save)
                trained = time.monotonic()
                validation = features.validator(learner.average.module, material.vocabulary, features.stages)
                line = _finish_epoch(progress, phase, features, validation, learner, trained - started, trained)
                if progress.stale_epochs == 0:
                    best_weights = _copy(learner.average.module.state_dict())
                    _save_best(material, options, learner.average.module, progress, output)
                with open(output / "log.jsonl", "a") as log:
                    log.write(json.dumps(line) + "\n")
                tqdm.write(json.dumps(line))
                curves.add(progress.total_epochs, line, validation, features.validator)
                save()
            progress.phase, progress.epoch, progress.stale_epochs = progress.phase + 1, 0, 0
            save(between_phases=True)
    return output / "bundle"


def checkpoint_of(output: Path, resume: bool) -> Path:
    """The checkpoint of a run. Raises ConfigError or DataError where the folder does not hold what `resume` says."""
    checkpoint = output / "checkpoint.pt"
    if resume and not checkpoint.is_file():
        raise DataError(f"there is no run to resume: {checkpoint} does not exist; start one without --resume")
    if not resume and checkpoint.exists():
        raise ConfigError(f"{output} holds a run already: go on with it by --resume, or name another --output")
    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output} is a file, and a run needs a folder: name another --output")
    return checkpoint


def _drop_lines_after(log: Path, epochs: int) -> None:
    """A run that was killed between an epoch's line and its checkpoint learns that epoch again, and writes it again."""
    if not log.exists():
        return
    lines = log.read_text().splitlines(keepends=True)
    if len(lines) > epochs or not all(line.endswith("\n") for line in lines):
        beside = log.with_name(f".{log.name}.part")
        beside.write_text("".join(lines[:epochs]))
        os.replace(beside, log)


def features_of(phase: Phase, number: int, plan: list[Phase], material: Material) -> Features:
    """Once the encoder was fine-tuned its annotations are no longer those of the cache."""
    tuned = any(earlier.name == "fine_tune" for earlier in plan[: number + 1])
    features = material.fine_tuned if tuned else material.frozen
    assert features is not None, phase
    return features


def start_phase(model: CaptionModel, phase: Phase, features: Features, options: FitOptions) -> Learner:
    """A new optimiser, schedule and average for the parameters that learn in this phase."""
    tuned = model.encoder.stages[features.stages :] if phase.name == "fine_tune" else nn.Sequential()
    model.encoder.requires_grad_(False)
    tuned.requires_grad_(True)
    groups = [
        *_parameter_groups(model.decoder, phase.learning_rate, options.weight_decay),
        *_parameter_groups(tuned, phase.encoder_learning_rate, options.weight_decay),
    ]
    optimizer = torch.optim.AdamW(groups, fused=True)
    steps = phase.epochs * math.ceil(len(features.train) / options.batch_size)
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


def train_epoch(
    material: Material, phase: Phase, features: Features, learner: Learner, progress: Progress, options: FitOptions,
    stop: threading.Event, save: Any,
) -> None:  # fmt: skip
    """Learn from every image once, from the batch on where the run stands."""
    model, data = material.model, features.train
    total = math.ceil(len(data) / options.batch_size)
    label = f"{phase.name} {progress.epoch + 1}/{phase.epochs}"
    batches = data.batches(
        progress.total_epochs, options.batch_size, options.captions_per_image, options.seed, progress.step
    )
    model.train()
    with tqdm(total=total, initial=progress.step, desc=label, unit="batch", leave=False) as bar:
        for batch in batches:
            loss, reward = batch_loss(material, phase, features, batch, options)
            _learn(model, loss, learner, options)
            progress.step += 1
            progress.loss_sum += float(loss.detach())
            progress.reward_sum += reward
            bar.set_postfix(loss=f"{progress.loss_sum / progress.step:.3f}", refresh=False)
            bar.update()
            if stop.is_set():
                save()
                raise Interrupted("stopped as asked: go on with --resume")


def batch_loss(
    material: Material, phase: Phase, features: Features, batch: Batch, options: FitOptions
) -> tuple[Tensor, float]:
    """The loss of a batch, and the mean reward of its samples where the phase samples (else 0)."""
    model = material.model
    device = next(model.parameters()).device
    cached = batch.features.to(device, non_blocking=True).bfloat16()
    with torch.autocast(device.type, dtype=torch.bfloat16):
        with torch.set_grad_enabled(phase.name == "fine_tune"):
            annotations = annotations_from(model.encoder, cached, features.stages).flatten(1, 2)
        if phase.name != "self_critical":
            return caption_loss(model, annotations, batch, options), 0.0
        assert material.self_critical is not None
        loss, reward = material.self_critical.loss(model, annotations, batch)
        if options.cross_entropy_weight:
            loss = loss + options.cross_entropy_weight * caption_loss(model, annotations, batch, options)
        return loss, reward


def _learn(model: CaptionModel, loss: Tensor, learner: Learner, options: FitOptions) -> None:
    if not torch.isfinite(loss):
        raise DataError(f"the loss became {float(loss)}: start again with a lower learning rate")
    learner.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], options.clip_norm)
    if not torch.isfinite(norm):
        raise DataError(f"the gradient became {float(norm)}: start again with a lower learning rate")
    learner.optimizer.step()
    learner.schedule.step()
    learner.average.update_parameters(model)


def _finish_epoch(
    progress: Progress, phase: Phase, features: Features, validation: Validation, learner: Learner,
    train_seconds: float, trained_at: float,
) -> dict[str, Any]:  # fmt: skip
    """Move on to the next epoch; returns the line of the one that ended."""
    progress.epoch += 1
    progress.total_epochs += 1
    better = validation.scores["CIDEr"] > progress.best.get("CIDEr", -1.0)
    if better:
        progress.best = {"epoch": progress.total_epochs, "phase": phase.name, **validation.scores}
    progress.stale_epochs = 0 if better else progress.stale_epochs + 1
    line = {
        "epoch": progress.total_epochs,
        "phase": phase.name,
        "loss": round(progress.loss_sum / max(1, progress.step), 4),
        "reward": round(progress.reward_sum / max(1, progress.step), 4),
        **{name: round(score, 4) for name, score in validation.scores.items()},
        "best": better,
        "learning_rate": learner.schedule.get_last_lr()[0],
        "images": len(features.train),
        "train_seconds": round(train_seconds, 1),
        "validation_seconds": round(time.monotonic() - trained_at, 1),
    }
    if phase.name != "self_critical":
        del line["reward"]
    progress.step, progress.loss_sum, progress.reward_sum = 0, 0.0, 0.0
    return line


def _save_best(material: Material, options: FitOptions, model: CaptionModel, progress: Progress, output: Path) -> None:
    metrics = {"validation": progress.best, "options": options.to_json(), "data": material.data.name}
    card = model_card(material, options, progress.best)
    bundle = Bundle(model, material.vocabulary, material.encoder_weights, material.decoding, metrics, card)
    save_bundle(bundle, output / "bundle")


def _copy(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _run_identity(material: Material, options: FitOptions) -> dict[str, Any]:
    """What must be the same for a run to be resumed."""
    return {
        "options": options.to_json(),
        "captioner": material.config.to_json(),
        "encoder_weights": material.encoder_weights.sha256,
        "vocabulary": len(material.vocabulary),
        "train_images": len(material.frozen.train),
        "validation_images": len(material.frozen.validator.data),
    }


def _check_same_run(stored: dict[str, Any], current: dict[str, Any], path: Path) -> None:
    for name in stored.keys() - {"options"}:
        if stored[name] != current[name]:
            raise ConfigError(
                f"{path} is of a run with {name} {stored[name]!r}, not {current[name]!r}:"
                " resume with the data and the captioner of that run, or name another --output"
            )
    for name, value in current["options"].items():
        if stored["options"].get(name) != value:
            tqdm.write(f"resumed with {name} {value!r} instead of {stored['options'].get(name)!r}")


def _state(
    material: Material, options: FitOptions, progress: Progress, learner: Learner,
    best_weights: dict[str, Tensor] | None, between_phases: bool,
) -> dict[str, Any]:  # fmt: skip
    return {
        "run": _run_identity(material, options),
        "progress": vars(progress),
        "best_weights": best_weights,
        "between_phases": between_phases,
        "model": material.model.state_dict(),
        "average": learner.average.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "schedule": learner.schedule.state_dict(),
    }


def _restore(learner: Learner, model: CaptionModel, state: dict[str, Any]) -> None:
    model.load_state_dict(state["model"])
    learner.average.load_state_dict(state["average"])
    learner.optimizer.load_state_dict(state["optimizer"])
    learner.schedule.load_state_dict(state["schedule"])


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that a run ends after its batch; a second signal ends it at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def request(number: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    earlier = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
