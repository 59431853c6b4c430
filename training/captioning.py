"""The task of training a captioner."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.tensorboard import SummaryWriter

from captioner.bundle.bundle import Bundle, save_bundle
from captioner.figures import figure_strip
from captioner.images.photo import open_image
from captioner.model.network import CaptionModel
from captioner.model.weights import tensors_sha256
from captioner.ranks import ALONE, Ranks
from training.data.boxes.supervision import teaching_boxes
from training.data.dataset import Batch
from training.data.mixing import spread
from training.data.records import records_sha256
from training.encoding import Features, stages_before_fine_tuning
from training.loop import train
from training.options import FitOptions, Phase, at_batch, phases
from training.progress import ReportProgress, ignore_progress
from training.random_streams import SENTENCES, stream
from training.runs.calibration import calibrate
from training.runs.card import model_card
from training.runs.curves import add_picture
from training.runs.resuming import compare_runs
from training.runs.samples import write_samples
from training.setup import TrainingSetup
from training.task import BatchLoss
from training.validation import Validation

TENSORBOARD_PHOTOS = 4


def fit(
    setup: TrainingSetup, options: FitOptions, output: Path, resume: bool = False,
    on_progress: ReportProgress = ignore_progress, ranks: Ranks = ALONE,
) -> Path:  # fmt: skip
    """Train a captioner, as `training.loop.train` says. Returns the folder of its bundle."""
    return train(CaptioningTask(setup, options), output, resume, on_progress, ranks)


class CaptioningTask:
    """Trains a captioner: `training.task.Task` says what its methods do."""

    def __init__(self, setup: TrainingSetup, options: FitOptions):
        self.setup, self.options, self.model = setup, options, setup.model
        self.validates_start = setup.start is not None

    def plan(self, current_phase: str = "") -> list[Phase]:
        return phases(self.options, current_phase)

    def batch_count(self, phase: Phase) -> int:
        return self._features(phase).train.batch_count(self.options.batch_size)

    def batches(self, phase: Phase, epoch: int, first: int, ranks: Ranks = ALONE) -> Iterator[Batch]:
        options = self.options
        batches = self._features(phase).train.batches(
            epoch, options.batch_size, options.captions_per_image, options.seed, first, ranks
        )
        return self._add_sentences(batches, epoch, first, ranks) if self._learns_from_text(phase) else batches

    def loss(
        self, phase: Phase, batch: Batch, phase_share: float, baseline: float = 0.0, ranks: Ranks = ALONE
    ) -> BatchLoss:
        options = at_batch(self.options, phase, phase_share)
        return batch_loss(self.setup, phase, self._features(phase), batch, options, baseline, ranks)

    def leaves_parameters_unused(self, phase: Phase) -> bool:
        # Sampled captions are scored at the likeliest locations, so the scores of hard attention have no gradient.
        no_scores = phase.name == "self_critical" and self.model.config.attention == "hard"
        # A captioner that once learned from sentences has a "no photo" vector, which only sentences train.
        return no_scores or (self.model.config.text and not self._learns_from_text(phase))

    def trainable_modules(self, phase: Phase) -> list[tuple[nn.Module, float]]:
        tuned_stages = nn.Sequential()
        if phase.name == "fine_tune":
            stages = self.model.encoder.stages
            frozen = stages_before_fine_tuning(self.model.config.encoder, len(stages), self.options.fine_tune_stages)
            tuned_stages = stages[frozen:]
        self.model.encoder.requires_grad_(False)
        tuned_stages.requires_grad_(True)
        return [(self.model.decoder, phase.learning_rate), (tuned_stages, phase.encoder_learning_rate)]

    def validate(self, model: CaptionModel, phase: Phase, ranks: Ranks) -> Validation:
        features = self._features(phase)
        return features.validator(model, self.setup.vocabulary, features.stages, ranks)

    def rank(self, scores: Mapping[str, Any]) -> tuple[float, ...]:
        return epoch_rank(scores, teaching_boxes(self.setup.data.boxes, self.options) is not None)

    def epoch_size(self, phase: Phase) -> dict[str, int]:
        return {"images": len(self._features(phase).train)}

    def save_bundle(self, model: CaptionModel, best: Mapping[str, Any], folder: Path) -> None:
        setup = self.setup
        metrics = {"validation": best, "options": self.options.to_json(), "data": " + ".join(setup.data.names)}
        card = model_card(setup, self.options, best)
        bundle = Bundle(
            model, setup.vocabulary, setup.encoder_weights, setup.decoding, metrics, card, setup.words.label_names
        )
        save_bundle(bundle, folder)

    def write_samples(self, output: Path, epoch: int, phase: Phase, scores: Validation) -> None:
        validator = self._features(phase).validator
        write_samples(output, validator.data.records, scores.captions, epoch, validator.parts)

    def draw_samples(self, writer: SummaryWriter, epoch: int, phase: Phase, scores: Validation) -> None:
        """Draw a few evenly spaced photos with the map of each word."""
        validator = self._features(phase).validator
        for number, position in enumerate(spread(validator.parts, TENSORBOARD_PHOTOS)):
            photo = open_image(validator.data.records[position].path)
            add_picture(writer, f"validation/{number}", figure_strip(photo, scores.captions[position]), epoch)

    def identity(self) -> dict[str, Any]:
        setup = self.setup
        train_data, validation = setup.frozen.train, setup.frozen.validator.data.records
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
            "train_images": len(train_data.new_records),
            "validation_images": len(validation),
            "photos": records_sha256([*train_data.new_records, *validation]),
            "replay_photos": setup.data.replay and records_sha256(setup.data.replay.records),
        }

    def compare(self, stored: Mapping[str, Any], phase: str, path: Path) -> dict[str, str]:
        return compare_runs(stored, self.identity(), phase, path)

    def finish(self, output: Path, on_progress: ReportProgress, ranks: Ranks) -> None:
        """Give the captioner a confidence, unless the options disable it.

        The leader does so alone. The other ranks end meanwhile: waiting for it could exceed `RANK_TIMEOUT`.
        """
        if self.options.confidence and ranks.leads:
            device = next(self.model.parameters()).device
            calibrate(output / "bundle", self.setup.frozen.validator, device, on_progress)

    def _features(self, phase: Phase) -> Features:
        return features_of(phase, self.plan(phase.name), self.setup)

    def _learns_from_text(self, phase: Phase) -> bool:
        """Return whether a phase learns from sentences without photos.

        Self-critical training does if it keeps a share of learning from captions.
        """
        uses_captions = phase.name != "self_critical" or self.options.cross_entropy_weight > 0
        return self.setup.words.sentences is not None and self.options.sentence_weight > 0 and uses_captions

    def _add_sentences(self, batches: Iterator[Batch], epoch: int, first: int, ranks: Ranks) -> Iterator[Batch]:
        """Add sentences to each batch, drawn by its number in the epoch."""
        sentences, options = self.setup.words.sentences, self.options
        for step, batch in enumerate(batches, start=first):
            rng = stream(options.seed, SENTENCES, epoch, step)
            yield replace(batch, sentences=sentences.batch(rng, options.sentences_per_batch).part(ranks))


def batch_loss(
    setup: TrainingSetup, phase: Phase, features: Features, batch: Batch, options: FitOptions, baseline: float = 0.0,
    ranks: Ranks = ALONE,
) -> BatchLoss:  # fmt: skip
    """Compute the loss of a batch, as `training.criterion.Criterion` says."""
    return setup.criterion(setup.model, phase, features.stages, batch, options, baseline, ranks)


def features_of(phase: Phase, plan: Sequence[Phase], setup: TrainingSetup) -> Features:
    """Return the features of a phase: after fine-tuning, the cached annotations are no longer the encoder's."""
    phase_names = [earlier.name for earlier in plan[: plan.index(phase) + 1]]
    features = setup.fine_tuned if "fine_tune" in phase_names else setup.frozen
    assert features is not None, plan
    return features


def epoch_rank(scores: Mapping[str, Any], supervised: bool) -> tuple[float, ...]:
    """Return the key that compares epochs: CIDEr, plus pointing if boxes supervised the attention.

    For a few similar photos CIDEr is 0 whatever their captions, so BLEU breaks ties.
    """
    return scores["CIDEr"] + (scores.get("pointing", 0.0) if supervised else 0.0), scores["Bleu_4"], scores["Bleu_1"]
