"""How good a captioner is while it learns: captions decoded freely, as its users get them, and scored officially."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pycocoevalcap.bleu.bleu import Bleu

from captioner.captioner import Caption, captions_of
from captioner.config import DecodingOptions
from captioner.decoding import decode
from captioner.images import ImageFrame
from captioner.model import CaptionModel
from captioner.vocabulary import Vocabulary
from training.dataset import CaptionDataset
from training.features import annotations_from
from training.metrics import tokenise_for_scoring
from training.reward import CiderReward

BATCH = 50


@dataclass(frozen=True)
class Validation:
    """What a model said of the validation photos, and what that scored."""

    captions: list[Caption]
    scores: dict[str, float]
    """CIDEr, Bleu_1 and Bleu_4, on the official scale."""


class Validator:
    """The validation photos with their references, tokenised once."""

    def __init__(self, data: CaptionDataset, frames: Sequence[ImageFrame], options: DecodingOptions):
        """`frames`: of each photo, for the maps of its caption."""
        self.data, self.frames, self.options = data, frames, options
        self.ids = [record.image_id for record in data.records]
        self.references = tokenise_for_scoring({record.image_id: record.captions for record in data.records})
        self.reward = CiderReward(self.references)

    def __call__(self, model: CaptionModel, vocabulary: Vocabulary, stages: int | None) -> Validation:
        """Decode every photo; `stages` of the encoder are in the cached features."""
        model.eval()
        captions: list[Caption] = []
        device = next(model.parameters()).device
        for start in range(0, len(self.data), BATCH):
            images = range(start, min(start + BATCH, len(self.data)))
            features = self.data.features(images).to(device).float()
            with torch.no_grad():
                grid = annotations_from(model.encoder, features, stages)  # [B, H, W, D]
            hypotheses = decode(model.decoder, grid.flatten(1, 2), self.options)
            frames = [self.frames[image] for image in images]
            best = captions_of(hypotheses, tuple(grid.shape[1:3]), frames, vocabulary)
            captions += [of_image[0] for of_image in best]
        return Validation(captions, self.score([caption.text for caption in captions]))

    def score(self, texts: Sequence[str]) -> dict[str, float]:
        candidates = tokenise_for_scoring({image: [text] for image, text in zip(self.ids, texts, strict=True)})
        bleu, _ = Bleu(4).compute_score(self.references, candidates, verbose=0)
        cider = self.reward.score(self.ids, [candidates[image][0] for image in self.ids]).mean()
        return {"CIDEr": float(cider), "Bleu_1": bleu[0], "Bleu_4": bleu[3]}
