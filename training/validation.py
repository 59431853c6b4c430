"""How good a captioner is while it learns: captions decoded freely, as its users get them, and scored officially."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from pycocoevalcap.bleu.bleu import Bleu
from torch import Tensor

from captioner.captioner import Caption, captions_of, nouns_of
from captioner.config import DecodingOptions
from captioner.decoding import decode
from captioner.images import ImageFrame
from captioner.model import CaptionModel
from captioner.vocabulary import Vocabulary
from training.boxes import BoxSet
from training.dataset import CaptionDataset
from training.distributed import ALONE, Ranks
from training.features import annotations_from
from training.grounding import ReferenceMaps, boxed_captions, ground_maps, told_maps
from training.metrics import tokenise_for_scoring
from training.reward import CiderReward

BATCH = 50


@dataclass(frozen=True)
class Validation:
    """What a model said of the validation photos, and what that scored."""

    captions: list[Caption]
    """In the order of the photos; of several ranks, the first has them all, the others none."""
    scores: dict[str, float]
    """CIDEr, Bleu_1 and Bleu_4, on the official scale; where there are boxes, attention_correctness and pointing."""


class Validator:
    """The validation photos with their references, tokenised once."""

    def __init__(
        self,
        data: CaptionDataset,
        frames: Sequence[ImageFrame],
        options: DecodingOptions,
        boxes: BoxSet | None = None,
    ):
        """`frames`: of each photo, for the maps of its caption. boxes: of what the captions name, to measure them."""
        self.data, self.frames, self.options = data, frames, options
        self.ids = [record.image_id for record in data.records]
        self.references = tokenise_for_scoring({record.image_id: record.captions for record in data.records})
        self.reward = CiderReward(self.references)
        self.boxes, self._counts = boxes, Counter()
        self._boxed = [] if boxes is None else boxed_captions(data.records, boxes, self._counts)

    def __call__(
        self, model: CaptionModel, vocabulary: Vocabulary, stages: int | None, ranks: Ranks = ALONE
    ) -> Validation:
        """Decode every photo, in batches that the ranks share; `stages` of the encoder are in the cached features."""
        model.eval()
        nouns = nouns_of(vocabulary).to(next(model.parameters()).device)

        def captions_in(batch: int) -> list[Caption]:
            images = range(len(self.data))[batch * BATCH : (batch + 1) * BATCH]
            grid = self._annotations(model, images, stages)
            hypotheses = decode(model.decoder, grid.flatten(1, 2), self.options, nouns=nouns)
            frames = [self.frames[image] for image in images]
            best = captions_of(hypotheses, tuple(grid.shape[1:3]), frames, vocabulary)
            return [of_image[0] for of_image in best]

        batches = math.ceil(len(self.data) / BATCH)
        captions = [caption for found in ranks.mapped(captions_in, batches) for caption in found]
        grounding = self._grounding(model, vocabulary, stages, ranks)
        scores = ranks.from_leader(lambda: self.score([caption.text for caption in captions]) | grounding)
        return Validation(captions, scores)

    def _annotations(self, model: CaptionModel, images: Sequence[int], stages: int | None) -> Tensor:
        """Of photos at these positions, [B, H, W, D]."""
        features = self.data.features(images).to(next(model.parameters()).device).float()
        with torch.no_grad():
            return annotations_from(model.encoder, features, stages)

    def _grounding(
        self, model: CaptionModel, vocabulary: Vocabulary, stages: int | None, ranks: Ranks
    ) -> dict[str, float]:
        """Whether the words that name a thing look at it, under teacher forcing; nothing without boxes.

        Of several ranks the first measures all; the others have nothing.
        """
        if not self._boxed:
            return {}
        maps = self._reference_maps(model, vocabulary, stages, ranks)
        if not ranks.leads:
            return dict(maps)  # it has none, once all have been sent
        scores = ground_maps(self._boxed, maps, vocabulary, self._counts.copy(), self.boxes.name)
        return dict(vars(scores.overall.aims["head"]))

    def _reference_maps(
        self, model: CaptionModel, vocabulary: Vocabulary, stages: int | None, ranks: Ranks
    ) -> Iterator[ReferenceMaps]:
        positions = {image: position for position, image in enumerate(self.ids)}

        def maps_of(batch: int) -> list[ReferenceMaps]:
            told = [photo.told for photo in self._boxed[batch * BATCH : (batch + 1) * BATCH]]
            images = [positions[record.image_id] for record in told]
            tokens = [[vocabulary.encode(caption) for caption in record.captions] for record in told]
            maps = told_maps(model.decoder, self._annotations(model, images, stages), tokens)
            return [ReferenceMaps(self.frames[image], of) for image, of in zip(images, maps, strict=True)]

        for maps in ranks.mapped(maps_of, math.ceil(len(self._boxed) / BATCH)):
            yield from maps

    def score(self, texts: Sequence[str]) -> dict[str, float]:
        candidates = tokenise_for_scoring({image: [text] for image, text in zip(self.ids, texts, strict=True)})
        bleu, _ = Bleu(4).compute_score(self.references, candidates, verbose=0)
        cider = self.reward.score(self.ids, [candidates[image][0] for image in self.ids]).mean()
        return {"CIDEr": float(cider), "Bleu_1": bleu[0], "Bleu_4": bleu[3]}
