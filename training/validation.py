"""Validation during training: captions decoded as for users, with official scores."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import torch
from pycocoevalcap.bleu.bleu import Bleu
from torch import Tensor

from captioner.captioner import Caption, captions_of, nouns_of
from captioner.config import DecodingOptions
from captioner.decoding import decode
from captioner.images.fitting import ImageFrame
from captioner.model.network import CaptionModel
from captioner.ranks import ALONE, Ranks
from captioner.text.vocabulary import Vocabulary
from training.data.boxes.box_set import BoxSet
from training.data.dataset import CaptionDataset
from training.data.features import annotations_from
from training.data.mixing import Part, parts_of
from training.evaluation.metrics import tokenise_for_scoring
from training.grounding.measure import ReferenceMaps, boxed_captions, ground_maps, teacher_forced_maps
from training.reward import CiderReward

BATCH = 50


@dataclass(frozen=True)
class Validation:
    """Captions of the validation photos, and their scores."""

    captions: list[Caption]
    """Captions in the order of the photos; with several ranks, only the first has them."""
    scores: dict[str, float]
    """CIDEr, Bleu_1 and Bleu_4 on the official scale; with several data sets, their mean. With boxes also
    attention_correctness and pointing over all photos that have boxes."""
    by_data: dict[str, dict[str, float]] = field(default_factory=dict)
    """With several data sets: name -> CIDEr, Bleu_1 and Bleu_4."""

    def to_json(self) -> dict[str, Any]:
        """Return the scores for an epoch's line and a bundle's metrics."""
        return {**self.scores, **({"by_data": self.by_data} if self.by_data else {})}


class Validator:
    """Validation photos with their references, tokenised once."""

    def __init__(
        self,
        data: CaptionDataset,
        frames: Sequence[ImageFrame],
        options: DecodingOptions,
        boxes: BoxSet | None = None,
        parts: Sequence[Part] | None = None,
    ):
        """frames: frame of each photo, for the maps of its caption. boxes: boxes of objects, to measure grounding.

        parts: slices of the data sets, which are scored separately; by default one.
        References are kept by index, because ids are unique only within a data set.
        """
        self.data, self.frames, self.options = data, frames, options
        self.parts = tuple(parts or parts_of([""], [len(data.records)]))
        self.references = tokenise_for_scoring(dict(enumerate(record.captions for record in data.records)))
        self.rewards = [CiderReward(self._select(part, self.references)) for part in self.parts]
        self.boxes, self._counts = boxes, Counter()
        self._boxed_photos = [] if boxes is None else boxed_captions(data.records, boxes, self._counts)

    def __call__(
        self, model: CaptionModel, vocabulary: Vocabulary, stages: int | None, ranks: Ranks = ALONE
    ) -> Validation:
        """Decode and score every photo; ranks share the batches. stages: encoder stages in the cached features."""
        model.eval()
        nouns = nouns_of(vocabulary).to(next(model.parameters()).device)

        def caption_batch(batch: int) -> list[Caption]:
            images = range(len(self.data))[batch * BATCH : (batch + 1) * BATCH]
            grid = self._load_annotations(model, images, stages)
            hypotheses = decode(model.decoder, grid.flatten(1, 2), self.options, nouns=nouns)
            frames = [self.frames[image] for image in images]
            captions_per_photo = captions_of(hypotheses, tuple(grid.shape[1:3]), frames, vocabulary)
            return [image_captions[0] for image_captions in captions_per_photo]

        batch_count = math.ceil(len(self.data) / BATCH)
        captions = [caption for batch in ranks.map(caption_batch, batch_count) for caption in batch]
        grounding = self._measure_grounding(model, vocabulary, stages, ranks)

        def compute_scores() -> tuple[dict[str, float], dict[str, dict[str, float]]]:
            by_data = self.scores_by_data([caption.text for caption in captions])
            return _average(by_data) | grounding, by_data if len(by_data) > 1 else {}

        return Validation(captions, *ranks.from_leader(compute_scores))

    def _load_annotations(self, model: CaptionModel, images: Sequence[int], stages: int | None) -> Tensor:
        """Return the annotations of photos by index, [B, H, W, D]."""
        features = self.data.features(images).to(next(model.parameters()).device).float()
        with torch.no_grad():
            return annotations_from(model.encoder, features, stages)

    def _measure_grounding(
        self, model: CaptionModel, vocabulary: Vocabulary, stages: int | None, ranks: Ranks
    ) -> dict[str, float]:
        """Return the teacher-forced grounding scores of head nouns; empty without boxes.

        With several ranks, only the first returns scores.
        """
        if not self._boxed_photos:
            return {}
        maps = self._compute_reference_maps(model, vocabulary, stages, ranks)
        if not ranks.leads:
            return dict(maps)  # empty, after all maps were sent
        scores = ground_maps(self._boxed_photos, maps, vocabulary, self._counts.copy(), self.boxes.name)
        return dict(vars(scores.overall.map_scores["head"]))

    def _compute_reference_maps(
        self, model: CaptionModel, vocabulary: Vocabulary, stages: int | None, ranks: Ranks
    ) -> Iterator[ReferenceMaps]:
        def compute_maps(batch: int) -> list[ReferenceMaps]:
            photos = self._boxed_photos[batch * BATCH : (batch + 1) * BATCH]
            images = [photo.position for photo in photos]
            tokens = [[vocabulary.encode(caption) for caption in photo.record.captions] for photo in photos]
            maps = teacher_forced_maps(model.decoder, self._load_annotations(model, images, stages), tokens)
            return [ReferenceMaps(self.frames[image], word_maps) for image, word_maps in zip(images, maps, strict=True)]

        for maps in ranks.map(compute_maps, math.ceil(len(self._boxed_photos) / BATCH)):
            yield from maps

    def score(self, texts: Sequence[str]) -> dict[str, float]:
        """Return CIDEr, Bleu_1 and Bleu_4 of one caption per photo; with several data sets, their mean."""
        return _average(self.scores_by_data(texts))

    def scores_by_data(self, texts: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return CIDEr, Bleu_1 and Bleu_4 of each data set, by name."""
        candidates = tokenise_for_scoring({number: [text] for number, text in enumerate(texts)})
        scores = {}
        for part, reward in zip(self.parts, self.rewards, strict=True):
            part_candidates = self._select(part, candidates)
            bleu, _ = Bleu(4).compute_score(self._select(part, self.references), part_candidates, verbose=0)
            cider = reward.score(part.positions, [texts[0] for texts in part_candidates.values()]).mean()
            scores[part.name] = {"CIDEr": float(cider), "Bleu_1": bleu[0], "Bleu_4": bleu[3]}
        return scores

    @staticmethod
    def _select(part: Part, values: Mapping[int, list[str]]) -> dict[int, list[str]]:
        return {position: values[position] for position in part.positions}


def _average(by_data: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the mean over the data sets, with equal weights."""
    (first, *_) = by_data.values()
    return {name: fmean(scores[name] for scores in by_data.values()) for name in first}
