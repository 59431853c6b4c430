"""The training loop: phases of epochs, validated by free decoding, stopped early, resumable at any batch."""

import json
import math
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from captioner.errors import DataError
from captioner.files import write_atomically
from captioner.ranks import ALONE, Ranks
from captioner.text.counting import counted
from training.options import Phase
from training.progress import ReportProgress, ignore_progress
from training.runs.curves import Curves
from training.runs.run import Run, check_output
from training.task import BatchLoss, Task, ValidationResult


class Interrupted(Exception):
    """A person or the machine asked the run to stop; a checkpoint was written."""


def train(
    task: Task, output: Path, resume: bool = False, on_progress: ReportProgress = ignore_progress, ranks: Ranks = ALONE
) -> Path:
    """Train, and keep the best model in `output/bundle`. Returns that folder.

    Every epoch adds a line to `output/log.jsonl`, scalars and samples to `output/tensorboard`, what the model made of
    some validation data to `output/samples.json`, and writes the checkpoint, `output/checkpoint.pt`. A line has `loss`,
    and each named loss before its weight as `NAME_loss`. `on_progress` is called after every batch. With `resume`, the
    run continues from the checkpoint exactly as if it had never stopped, or with other options:
    `training.runs.resuming` says which may change.
    ranks: processes that share each batch of `options.batch_size`; the first of them writes. The result does not depend
    on their number, which may change when a run is resumed.
    Raises Interrupted after SIGINT or SIGTERM, DataError if there is nothing to resume.
    """
    check_output(output, resume)
    output.mkdir(parents=True, exist_ok=True)
    run = Run(task, output, ranks)
    if resume:
        run.restore()
    progress, remaining_phases = run.progress, run.phases_left()
    if not remaining_phases:
        if ranks.leads:
            tqdm.write(_finished_message(run))
        task.finish(output, on_progress, ranks)
        return output / "bundle"
    if ranks.leads:
        for change in run.changes.values():
            tqdm.write(change)
        start_validated = task.validates_start and bool(progress.best)
        _drop_lines_after(output / "log.jsonl", progress.total_epochs, start_validated)
    with stop_requests(ranks) as stop, _open_curves(run) as curves:
        for phase in remaining_phases:
            run.start_phase(phase)
            run.learner.parallel = shared_loss(run, phase)
            if task.validates_start and not progress.best:
                on_progress("validating", epoch=0)
                _validate_start(run, phase)
            while not run.is_finished(phase):
                started_at = time.monotonic()
                train_epoch(run, phase, stop, on_progress)
                train_seconds, validation_started_at = time.monotonic() - started_at, time.monotonic()
                on_progress("validating", epoch=progress.total_epochs + 1)
                validation = _validate(run, phase)
                validation_seconds = time.monotonic() - validation_started_at
                line = _finish_epoch(run, phase, validation, train_seconds, validation_seconds)
                if line["best"]:
                    run.keep_best()
                if curves is not None:
                    _write_log_line(output, line)
                    task.write_samples(output, progress.total_epochs, phase, validation)
                    curves.add(progress.total_epochs, line, validation, task, phase)
                run.save()
    task.finish(output, on_progress, ranks)
    on_progress("finished")
    return output / "bundle"


def _finished_message(run: Run) -> str:
    epochs = counted(run.progress.total_epochs, "epoch")
    message = f"{run.output} holds a finished run of {epochs}: there is nothing left to do"
    if run.changes:
        message += f", and {', '.join(run.changes)} changed nothing"
    plan = run.plan()
    needed = ["more epochs"] if not plan or run.progress.epoch >= plan[-1].epochs else []
    if run.has_stalled():
        stale = run.progress.stale_epochs
        message += f"; its last phase ended after {counted(stale, 'epoch')} without a better score (--patience)"
        needed.append(f"a --patience above {stale} or --keep last")
    elif not run.changes:
        return message
    return f"{message}; give {' and '.join(needed)} to go on with its last phase"


def _validate_start(run: Run, phase: Phase) -> None:
    """Epoch 0: validate the model that the run starts from, and keep it as the best so far."""
    validation = _validate(run, phase)
    run.progress.best = {"epoch": 0, "phase": "start", **validation.to_json()}
    run.keep_best()
    line = {"epoch": 0, "phase": "start", **_round_scores(validation.to_json())}
    if run.ranks.leads:
        _write_log_line(run.output, line | {"best": True})
        run.task.write_samples(run.output, run.progress.total_epochs, phase, validation)
    run.save()


def _validate(run: Run, phase: Phase) -> ValidationResult:
    return run.task.validate(run.learner.average.module, phase, run.ranks)


def _round_scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Round scores, and those of each data set, for a line of the log."""
    return {
        name: _round_scores(score) if isinstance(score, Mapping) else round(score, 4) for name, score in scores.items()
    }


def _open_curves(run: Run) -> AbstractContextManager[Curves | None]:
    """Open the TensorBoard curves of the rank that writes; the context value is None in all others."""
    return Curves(run.output / "tensorboard", run.progress.total_epochs) if run.ranks.leads else nullcontext()


def _write_log_line(output: Path, line: dict[str, Any]) -> None:
    with open(output / "log.jsonl", "a") as log:
        log.write(json.dumps(line) + "\n")
    tqdm.write(json.dumps(line))


def _drop_lines_after(log: Path, epochs: int, start_validated: bool) -> None:
    """Drop the lines of epochs after the checkpoint: a resumed run trains these epochs again, and logs them again."""
    if not log.exists():
        return
    lines = log.read_text().splitlines(keepends=True)
    line_count = epochs + start_validated
    if len(lines) > line_count or not all(line.endswith("\n") for line in lines):
        write_atomically(log, "".join(lines[:line_count]), one_writer=True)


def train_epoch(run: Run, phase: Phase, stop: threading.Event, on_progress: ReportProgress = ignore_progress) -> None:
    """Train on an epoch's data, from the next batch of the run on. Raises Interrupted once `stop` is set."""
    task, progress, ranks = run.task, run.progress, run.ranks
    task.model.train()
    compute_loss = run.learner.parallel or task.loss
    batch_count = task.batch_count(phase)
    first_step, started_at = progress.step, time.monotonic()
    with tqdm(
        total=batch_count, initial=progress.step, unit="batch", leave=False, disable=not ranks.leads,
        desc=f"{phase.name} {progress.epoch + 1}/{phase.epochs}",
    ) as bar:  # fmt: skip
        for batch in task.batches(phase, progress.total_epochs, progress.step, ranks):
            phase_share = (batch_count * progress.epoch + progress.step) / (batch_count * phase.epochs)
            torch.manual_seed(batch.seed)  # so that random draws do not depend on earlier batches
            result = compute_loss(phase, batch, phase_share, progress.baseline or 0.0, ranks)
            loss, losses, stop_requested = _take_step(run, result, stop)
            progress.add_batch(loss, losses, result.reward)
            progress.update_baseline(result.word_log_prob)
            bar.set_postfix(loss=f"{progress.loss_sum / progress.step:.3f}", refresh=False)
            bar.update()
            batches_left = batch_count * (phase.epochs - progress.epoch) - progress.step
            on_progress(
                "training", phase=phase.name, epoch=progress.total_epochs + 1, batch=progress.step, batches=batch_count,
                epochs=progress.total_epochs - progress.epoch + phase.epochs, loss=progress.loss_sum / progress.step,
                seconds_left=batches_left * (time.monotonic() - started_at) / (progress.step - first_step),
            )  # fmt: skip
            if stop_requested:
                run.save()
                raise Interrupted("stopped as asked: go on with --resume")


class _BatchLoss(nn.Module):
    """A task's loss as a module, as DistributedDataParallel needs it, with the parameters that learn.

    It does not hold the whole model, whose buffers never change and would be sent at every step.
    """

    def __init__(self, task: Task):
        super().__init__()
        self.trainable = nn.ParameterList(each for each in task.model.parameters() if each.requires_grad)
        self.loss = task.loss

    def forward(self, *arguments: Any) -> BatchLoss:
        return self.loss(*arguments)


def shared_loss(run: Run, phase: Phase) -> DistributedDataParallel | None:
    """Return the task's loss with gradients averaged over all ranks; None if there is one rank."""
    if run.ranks.size == 1:
        return None
    # The warning is about matrices with one row, such as the scalar gate's: a dimension of 1 has no meaningful stride.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    has_unused = run.task.leaves_parameters_unused(phase)
    return DistributedDataParallel(_BatchLoss(run.task), find_unused_parameters=has_unused)


def _take_step(run: Run, result: BatchLoss, stop: threading.Event) -> tuple[float, dict[str, float], bool]:
    """Take a step of the optimiser. Returns the loss of the whole batch, its named losses, and whether to stop."""
    loss = result.loss
    rank_values = [loss.detach(), loss.new_tensor(float(stop.is_set())), *result.losses.values()]
    sums = run.ranks.sum(torch.stack([value.to(loss.dtype) for value in rank_values]))
    total_loss, stop_count, *loss_values = sums.tolist()
    if not math.isfinite(total_loss):
        raise DataError(f"the loss became {total_loss}: start again with a lower learning rate")
    learner, model = run.learner, run.task.model
    learner.optimizer.zero_grad(set_to_none=True)
    (loss * run.ranks.size).backward()  # gradients are averaged over the ranks
    norm = nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], run.options.clip_norm)
    if not torch.isfinite(norm):
        raise DataError(f"the gradient became {float(norm)}: start again with a lower learning rate")
    learner.optimizer.step()
    learner.schedule.step()
    learner.average.update_parameters(model)
    return total_loss, dict(zip(result.losses, loss_values, strict=True)), stop_count > 0


def _finish_epoch(
    run: Run, phase: Phase, validation: ValidationResult, train_seconds: float, validation_seconds: float
) -> dict[str, Any]:
    """Move on to the next epoch. Returns the log line of the epoch that ended."""
    progress = run.progress
    progress.epoch += 1
    progress.total_epochs += 1
    is_best = run.is_better(validation.scores)
    if is_best:
        progress.best = {"epoch": progress.total_epochs, "phase": phase.name, **validation.to_json()}
    progress.stale_epochs = 0 if is_best else progress.stale_epochs + 1
    steps = max(1, progress.step)
    rewards = {"reward": round(progress.reward_sum / steps, 4)} if phase.name == "self_critical" else {}
    line = {
        "epoch": progress.total_epochs,
        "phase": phase.name,
        "loss": round(progress.loss_sum / steps, 4),
        **{f"{name}_loss": round(total / batches, 4) for name, (total, batches) in progress.losses.items()},
        **rewards,
        **_round_scores(validation.to_json()),
        "best": is_best,
        "learning_rate": run.learner.schedule.get_last_lr()[0],
        **run.task.epoch_size(phase),
        "train_seconds": round(train_seconds, 2),
        "validation_seconds": round(validation_seconds, 2),
    }
    progress.start_epoch()
    return line


@contextmanager
def stop_requests(ranks: Ranks = ALONE) -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set, so that a run ends after its batch; a second signal ends it at once.

    With several ranks a second signal has no effect: torchrun forwards the first one again, and can end them itself.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def request(number: int, frame: Any) -> None:
        if event.is_set() and ranks.size == 1:
            raise KeyboardInterrupt
        event.set()

    previous_handlers = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
