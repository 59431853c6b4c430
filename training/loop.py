"""The training loop: phases of epochs, validated by free decoding, stopped early, resumable at any batch."""

import json
import math
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from captioner.counting import counted
from captioner.errors import DataError
from captioner.files import write_atomically
from captioner.model.runtime import multiplies_bfloat16
from captioner.ranks import ALONE, Ranks
from training.confidence.calibration import calibrate
from training.data.dataset import Batch
from training.data.features import annotations_from
from training.losses import label_distillation_loss
from training.objectives import caption_loss, sentence_loss
from training.options import FitOptions, Phase, at_batch
from training.random_streams import SENTENCES, stream
from training.runs.curves import Curves
from training.runs.progress import ReportProgress, unwatched, write_samples
from training.runs.run import Run, check_output
from training.setup import Features, Material
from training.validation import Validation


class Interrupted(Exception):
    """A person or the machine asked the run to stop; a checkpoint was written."""


def fit(
    material: Material, options: FitOptions, output: Path, resume: bool = False, watch: ReportProgress = unwatched,
    ranks: Ranks = ALONE,
) -> Path:  # fmt: skip
    """Train, and keep the best captioner in `output/bundle`. Returns that folder.

    Every epoch adds a line to `output/log.jsonl`, scalars and captioned photos to `output/tensorboard`, and a
    checkpoint to `output/checkpoint.pt`, and what it says of some photos to `output/samples.json`. `watch` is told of
    every batch. With `resume`, goes on from the checkpoint exactly as if it had never stopped, or with
    other options: `training.runs.resuming` says which may change.
    ranks: those that share each batch of `options.batch_size` images; the first of them writes. They come to what one
    alone comes to, and may be more or fewer when a run is resumed.
    Raises Interrupted after SIGINT or SIGTERM, DataError where there is nothing to resume.
    """
    check_output(output, resume)
    output.mkdir(parents=True, exist_ok=True)
    run = Run(material, options, output, ranks)
    if resume:
        run.restore()
    progress, left = run.progress, run.phases_left()
    if not left:
        if ranks.leads:
            tqdm.write(_nothing_left(run))
        calibrate(run, watch)
        return output / "bundle"
    if ranks.leads:
        for change in run.changes.values():
            tqdm.write(change)
        judged_start = material.start is not None and bool(progress.best)
        _drop_lines_after(output / "log.jsonl", progress.total_epochs, judged_start)
    with stop_requests(ranks) as stop, _curves(run) as curves:
        for phase in left:
            features = features_of(phase, run.plan(), material)
            run.start_phase(phase, features)
            run.learner.parallel = shared_loss(run, phase)
            if material.start is not None and not progress.best:
                watch("validating", epoch=0)
                _judge_start(run, features)
            while not run.is_over(phase):
                started = time.monotonic()
                train_epoch(run, phase, features, stop, watch)
                trained = time.monotonic()
                watch("validating", epoch=progress.total_epochs + 1)
                validation = _validate(run, features)
                line = _finish_epoch(run, phase, features, validation, trained - started, time.monotonic() - trained)
                if line["best"]:
                    run.keep_best()
                if curves is not None:
                    _log(output, line)
                    _write_samples(run, features, validation)
                    curves.add(progress.total_epochs, line, validation, features.validator)
                run.save()
    calibrate(run, watch)
    watch("finished")
    return output / "bundle"


def _nothing_left(run: Run) -> str:
    epochs = counted(run.progress.total_epochs, "epoch")
    sentence = f"{run.output} holds a finished run of {epochs}: there is nothing left to do"
    if run.changes:
        sentence += f", and {', '.join(run.changes)} changed nothing; give more epochs to go on with its last phase"
    return sentence


def _judge_start(run: Run, features: Features) -> None:
    """Epoch 0: what the captioner that the run starts from says of the validation photos. It is the best so far."""
    validation = _validate(run, features)
    run.progress.best = {"epoch": 0, "phase": "start", **validation.to_json()}
    run.keep_best()
    line = {"epoch": 0, "phase": "start", **_rounded(validation.to_json())}
    if run.ranks.leads:
        _log(run.output, line | {"best": True})
        _write_samples(run, features, validation)
    run.save()


def _validate(run: Run, features: Features) -> Validation:
    model, vocabulary = run.learner.average.module, run.material.vocabulary
    return features.validator(model, vocabulary, features.stages, run.ranks)


def _write_samples(run: Run, features: Features, validation: Validation) -> None:
    validator = features.validator
    epoch = run.progress.total_epochs
    write_samples(run.output, validator.data.records, validation.captions, epoch, validator.parts)


def _rounded(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Scores, and those of each data set, as a line of the log shows them."""
    return {name: _rounded(score) if isinstance(score, Mapping) else round(score, 4) for name, score in scores.items()}


def _curves(run: Run) -> AbstractContextManager[Curves | None]:
    """Of the rank that writes."""
    return Curves(run.output / "tensorboard", run.progress.total_epochs) if run.ranks.leads else nullcontext()


def _log(output: Path, line: dict[str, Any]) -> None:
    with open(output / "log.jsonl", "a") as log:
        log.write(json.dumps(line) + "\n")
    tqdm.write(json.dumps(line))


def _drop_lines_after(log: Path, epochs: int, judged_start: bool) -> None:
    """A run that was killed between an epoch's line and its checkpoint learns that epoch again, and writes it again."""
    if not log.exists():
        return
    lines = log.read_text().splitlines(keepends=True)
    kept = epochs + judged_start
    if len(lines) > kept or not all(line.endswith("\n") for line in lines):
        write_atomically(log, "".join(lines[:kept]), one_writer=True)


def features_of(phase: Phase, plan: Sequence[Phase], material: Material) -> Features:
    """The features that a phase reads: once the encoder was fine-tuned, its annotations are not those of the cache."""
    until = [each.name for each in plan[: plan.index(phase) + 1]]
    features = material.fine_tuned if "fine_tune" in until else material.frozen
    assert features is not None, plan
    return features


def train_epoch(
    run: Run, phase: Phase, features: Features, stop: threading.Event, watch: ReportProgress = unwatched
) -> None:
    """Learn from every image once, from the batch on where the run stands. Raises Interrupted once `stop` is set."""
    options, progress, ranks = run.options, run.progress, run.ranks
    batches = features.train.batches(
        progress.total_epochs, options.batch_size, options.captions_per_image, options.seed, progress.step, ranks
    )
    if learns_from_text(run.material, phase, options):
        batches = _with_sentences(batches, run)
    run.material.model.train()
    compute = run.learner.parallel or batch_loss
    count, first, started = features.train.batch_count(options.batch_size), progress.step, time.monotonic()
    with tqdm(
        total=count, initial=progress.step, unit="batch", leave=False, disable=not ranks.leads,
        desc=f"{phase.name} {progress.epoch + 1}/{phase.epochs}",
    ) as bar:  # fmt: skip
        for batch in batches:
            done = (count * progress.epoch + progress.step) / (count * phase.epochs)
            now = at_batch(options, phase, done)
            torch.manual_seed(batch.seed)  # of its own, so that what is drawn does not depend on what came before
            learned = compute(run.material, phase, features, batch, now, progress.baseline or 0.0, ranks)
            loss, of_sentences, stopping = _learn(run, learned, stop)
            progress.step += 1
            progress.loss_sum += loss
            progress.sentence_loss_sum += of_sentences
            progress.reward_sum += learned.reward
            progress.follow(learned.word_log_prob)
            bar.set_postfix(loss=f"{progress.loss_sum / progress.step:.3f}", refresh=False)
            bar.update()
            left = count * (phase.epochs - progress.epoch) - progress.step
            watch(
                "training", phase=phase.name, epoch=progress.total_epochs + 1, batch=progress.step, batches=count,
                epochs=progress.total_epochs - progress.epoch + phase.epochs, loss=progress.loss_sum / progress.step,
                seconds_left=left * (time.monotonic() - started) / (progress.step - first),
            )  # fmt: skip
            if stopping:
                run.save()
                raise Interrupted("stopped as asked: go on with --resume")


def learns_from_text(material: Material, phase: Phase, options: FitOptions) -> bool:
    """Whether sentences without photos are learned from in a phase.

    In self-critical training they are a part of the learning from captions that is kept.
    """
    kept = phase.name != "self_critical" or options.cross_entropy_weight > 0
    return material.sentences is not None and options.sentence_weight > 0 and kept


def _with_sentences(batches: Iterator[Batch], run: Run) -> Iterator[Batch]:
    """Batches from the one on where the run stands, with sentences that are drawn for each of them."""
    sentences, options, progress = run.material.sentences, run.options, run.progress
    for step, batch in enumerate(batches, start=progress.step):
        rng = stream(options.seed, SENTENCES, progress.total_epochs, step)
        yield replace(batch, sentences=sentences.batch(rng, options.sentences_per_batch).part(run.ranks))


@dataclass(frozen=True)
class BatchLoss:
    """What a batch teaches, and what is kept of it."""

    loss: Tensor
    of_sentences: Tensor
    """The part of sentences without photos before its weight, in nats per word; 0 without sentences."""
    reward: float = 0.0
    """Mean reward of its samples, where the phase samples captions."""
    word_log_prob: float | None = None
    """Mean log-probability of its words, where hard attention sampled places; in nats."""


def batch_loss(
    material: Material, phase: Phase, features: Features, batch: Batch, options: FitOptions, baseline: float = 0.0,
    ranks: Ranks = ALONE,
) -> BatchLoss:  # fmt: skip
    """The loss of a batch; of a rank's share of one, its part of the loss of the whole.

    baseline: of hard attention, the moving average of the log-probability of a word.
    """
    model = material.model
    device = next(model.parameters()).device
    cached, in_bfloat16 = batch.features.to(device, non_blocking=True), multiplies_bfloat16(device)
    cached = cached.bfloat16() if in_bfloat16 else cached.float()
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=in_bfloat16):
        with torch.set_grad_enabled(phase.name == "fine_tune"):
            annotations = annotations_from(model.encoder, cached, features.stages).flatten(1, 2)
        of_sentences = annotations.new_zeros((), dtype=torch.float32)
        if batch.sentences is not None:
            of_sentences = sentence_loss(model.decoder, batch.sentences, options, annotations.dtype, ranks)
        text = options.sentence_weight * of_sentences
        if phase.name != "self_critical":
            learned = caption_loss(model, annotations, batch, options, material.teacher, baseline, ranks)
            loss = learned.words + learned.maps + text
            if phase.name == "fine_tune" and material.untuned is not None:
                with torch.no_grad():
                    before = annotations_from(material.untuned, cached, features.stages).flatten(1, 2)
                said, told = (model.decoder.labels.class_logits(each.mean(dim=1)) for each in (annotations, before))
                loss = loss + options.label_weight * label_distillation_loss(said, told, ranks)
            return BatchLoss(loss, of_sentences, word_log_prob=learned.word_log_prob)
        assert material.self_critical is not None
        loss, reward = material.self_critical.loss(model, annotations, batch, ranks)
        if not options.cross_entropy_weight and batch.inside is None:
            return BatchLoss(loss, of_sentences, reward)
        learned = caption_loss(model, annotations, batch, options, baseline=baseline, ranks=ranks)
        loss = loss + options.cross_entropy_weight * (learned.words + text) + learned.maps
        return BatchLoss(loss, of_sentences, reward, learned.word_log_prob)


class _BatchLoss(nn.Module):
    """`batch_loss` as a module of what learns, which is how DistributedDataParallel wants it.

    Not of the whole model, whose buffers would be sent at every step: they never change.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.learning = nn.ParameterList(parameter for parameter in model.parameters() if parameter.requires_grad)

    def forward(self, *arguments: Any) -> BatchLoss:
        return batch_loss(*arguments)


def shared_loss(run: Run, phase: Phase) -> DistributedDataParallel | None:
    """`batch_loss` whose gradients are those of all ranks; None where there is one rank."""
    if run.ranks.size == 1:
        return None
    model = run.material.model
    # Samples are told with the likeliest places of hard attention, and teach nothing of where to look.
    unused = phase.name == "self_critical" and model.config.attention == "hard"
    # A captioner that learned from sentences once has a "no photo" vector, which only they teach.
    unused |= model.config.text and not learns_from_text(run.material, phase, run.options)
    # Of a matrix with one row, such as the scalar gate's: of a dimension of 1 the stride means nothing.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    return DistributedDataParallel(_BatchLoss(model), find_unused_parameters=unused)


def _learn(run: Run, learned: BatchLoss, stop: threading.Event) -> tuple[float, float, bool]:
    """Take a step -> the loss of the whole batch, that of its sentences, and whether any rank is to stop."""
    loss = learned.loss
    parts = torch.stack([loss.detach(), learned.of_sentences.detach(), loss.new_tensor(float(stop.is_set()))])
    value, of_sentences, asked = run.ranks.total(parts).tolist()
    if not math.isfinite(value):
        raise DataError(f"the loss became {value}: start again with a lower learning rate")
    learner, model = run.learner, run.material.model
    learner.optimizer.zero_grad(set_to_none=True)
    (loss * run.ranks.size).backward()  # of the ranks' gradients the mean is taken
    norm = nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], run.options.clip_norm)
    if not torch.isfinite(norm):
        raise DataError(f"the gradient became {float(norm)}: start again with a lower learning rate")
    learner.optimizer.step()
    learner.schedule.step()
    learner.average.update_parameters(model)
    return value, of_sentences, asked > 0


def _finish_epoch(
    run: Run, phase: Phase, features: Features, validation: Validation, train_seconds: float, validation_seconds: float
) -> dict[str, Any]:
    """Move on to the next epoch; returns the line of the one that ended."""
    progress = run.progress
    progress.epoch += 1
    progress.total_epochs += 1
    better = run.is_better(validation.scores)
    if better:
        progress.best = {"epoch": progress.total_epochs, "phase": phase.name, **validation.to_json()}
    progress.stale_epochs = 0 if better else progress.stale_epochs + 1
    steps = max(1, progress.step)
    rewards = {"reward": round(progress.reward_sum / steps, 4)} if phase.name == "self_critical" else {}
    line = {
        "epoch": progress.total_epochs,
        "phase": phase.name,
        "loss": round(progress.loss_sum / steps, 4),
        **({"sentence_loss": round(progress.sentence_loss_sum / steps, 4)} if progress.sentence_loss_sum else {}),
        **rewards,
        **_rounded(validation.to_json()),
        "best": better,
        "learning_rate": run.learner.schedule.get_last_lr()[0],
        "images": len(features.train),
        "train_seconds": round(train_seconds, 2),
        "validation_seconds": round(validation_seconds, 2),
    }
    progress.step, progress.loss_sum, progress.sentence_loss_sum, progress.reward_sum = 0, 0.0, 0.0, 0.0
    return line


@contextmanager
def stop_requests(ranks: Ranks = ALONE) -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that a run ends after its batch; a second signal ends it at once.

    Of several ranks it does not: torchrun passes on the signal that they had already, and ends them itself if need be.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def request(number: int, frame: Any) -> None:
        if event.is_set() and ranks.size == 1:
            raise KeyboardInterrupt
        event.set()

    earlier = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
