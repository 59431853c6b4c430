"""The loss of a batch: named losses, each multiplied by its weight, and their sum."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from captioner.model.encoders import Encoder, TwoScales
from captioner.model.network import CaptionModel
from captioner.model.runtime import multiplies_bfloat16
from captioner.ranks import ALONE, Ranks
from training.data.dataset import Batch
from training.data.features import LastMaps, annotations_from
from training.losses import label_distillation_loss
from training.objectives import SelfCritical, Teacher, caption_losses, sentence_loss
from training.options import FitOptions, Phase
from training.task import BatchLoss


def loss_weights(phase: str, options: FitOptions) -> dict[str, float]:
    """Return the weight of each named loss in a phase. The names:

    cross_entropy: -log p of the words of captions, with label smoothing.
    doubly_stochastic: how far each location's attention over a caption is from 1 (soft attention).
    reinforce: gradient estimate for sampled locations (hard attention).
    negative_entropy: of the attention maps (hard attention).
    distillation, map_distillation: divergence from the words and the maps of the captioner that the run started from.
    supervision: attention outside the boxes of what a word names.
    sentence: -log p of the words of sentences without photos.
    label_distillation: divergence from the encoder's labels before fine-tuning.
    self_critical: -log p of sampled captions, times their advantage.
    """
    captions = options.cross_entropy_weight if phase == "self_critical" else 1.0
    return {
        "cross_entropy": captions,
        "doubly_stochastic": captions * options.doubly_stochastic_weight,
        "reinforce": captions * options.reinforce_weight,
        "negative_entropy": captions * options.entropy_weight,
        "distillation": captions * options.distillation_weight,
        "map_distillation": captions * options.distillation_weight,
        "supervision": options.supervision_weight,
        "sentence": captions * options.sentence_weight,
        "label_distillation": options.label_weight,
        "self_critical": 1.0,
    }


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Sum the losses, each times the weight of its name."""
    return sum(weights[name] * loss for name, loss in losses.items())


@dataclass(frozen=True)
class Criterion:
    """Computes the loss of a batch in each phase of a run."""

    self_critical: SelfCritical | None = None
    """Rewards sampled captions; None without self-critical training."""
    teacher: Teacher | None = None
    """The decoder that the run started from, which it stays near."""
    original_encoder: Encoder | None = None
    """The encoder before fine-tuning, whose labels are to be kept."""
    last_maps: LastMaps | None = None
    """Keeps the last maps of the frozen encoder; None if each batch computes them."""

    def __call__(
        self, model: CaptionModel, phase: Phase, stages: int | None, batch: Batch, options: FitOptions,
        baseline: float = 0.0, ranks: Ranks = ALONE,
    ) -> BatchLoss:  # fmt: skip
        """Compute the loss of a batch; of a rank's share, its part of the loss of the whole batch.

        stages: encoder stages that the cached features have passed; None: all.
        baseline: moving average of the log-probability of a word (hard attention), in nats.
        """
        device = next(model.parameters()).device
        encode = partial(self._annotations, model, phase, stages)
        features = _on(device, batch.features)
        losses: dict[str, Tensor] = {}
        reward, word_log_prob = 0.0, None
        self_critical = phase.name == "self_critical"
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=multiplies_bfloat16(device)):
            with torch.set_grad_enabled(phase.name == "fine_tune"):
                annotations = encode(features, batch.images)
            if batch.sentences is not None:
                losses["sentence"] = sentence_loss(model.decoder, batch.sentences, options, features.dtype, ranks)
            if self_critical:
                assert self.self_critical is not None
                losses["self_critical"], reward = self.self_critical.loss(model, annotations, batch, ranks)
            if not self_critical or options.cross_entropy_weight or batch.inside is not None:
                teach = None
                if self.teacher is not None and not self_critical:
                    teach = partial(
                        self.teacher.predict,
                        encode=lambda rows, photos: encode(_on(device, rows), photos),
                        is_frozen=phase.name == "cross_entropy",
                    )
                captions = caption_losses(model, annotations, batch, options, teach, baseline, ranks)
                losses |= captions.losses
                word_log_prob = captions.word_log_prob
            if phase.name == "fine_tune" and self.original_encoder is not None:
                with torch.no_grad():
                    original_annotations = annotations_from(self.original_encoder, features, stages).flatten(1, 2)
                losses["label_distillation"] = _label_distillation(model, annotations, original_annotations, ranks)
            loss = weighted_sum(losses, loss_weights(phase.name, options))
        return BatchLoss(loss, {name: value.detach() for name, value in losses.items()}, reward, word_log_prob)

    def _annotations(
        self, model: CaptionModel, phase: Phase, stages: int | None, features: Tensor, photos: Sequence[int]
    ) -> Tensor | TwoScales:
        """Return the annotations of cached features [B, ...] of the photos at these positions, or their maps."""
        if phase.name == "cross_entropy" and self.last_maps is not None:
            return self.last_maps.two_scales(model.encoder, features, stages, photos)
        return annotations_from(model.encoder, features, stages).flatten(1, 2)


def _on(device: torch.device, features: Tensor) -> Tensor:
    """Return cached features on a device, in the number format that it multiplies."""
    features = features.to(device, non_blocking=True)
    return features.bfloat16() if multiplies_bfloat16(device) else features.float()


def _label_distillation(model: CaptionModel, annotations: Tensor, original_annotations: Tensor, ranks: Ranks) -> Tensor:
    """Return the divergence of the labels from those before fine-tuning: annotations [B, L, D] each -> scalar."""
    labels = model.decoder.labels
    logits = labels.class_logits(annotations.mean(dim=1))
    original_logits = labels.class_logits(original_annotations.mean(dim=1))
    return label_distillation_loss(logits, original_logits, ranks)
