"""CIDEr-D of sampled captions, fast enough for the reward of self-critical training."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np

from captioner.errors import DataError

_LONGEST_NGRAM = 4
_SIGMA = 6.0
_SCALE = 10.0
# Flickr8k's whole train split fits; for COCO, the most recently used images.
_IMAGES_KEPT = 20_000

Ngram = tuple[str, ...]
# One reference that holds an n-gram: its number, the n-gram's weight in it, that weight over the reference's norm.
_Posting = tuple[int, float, float]


class CiderReward:
    """CIDEr-D against a fixed set of references (Vedantam et al. 2015; the reward of Rennie et al. 2017).

    The formula is that of pycocoevalcap.cider.cider_scorer.CiderScorer (n-grams up to 4, sigma 6, times 10, counts
    clipped), with the document frequencies and number of ALL references given here, not of the scored captions: the
    mean reward of one caption per image, over every image, is the official CIDEr.

    references: image id -> captions, tokenised as in `training.evaluation.metrics`. With a single image every reward is
    0, as in the official code, because no n-gram distinguishes images.
    Raises DataError if there is no image, or an image without references.
    """

    def __init__(self, references: Mapping[Hashable, Sequence[str]]) -> None:
        if not references:
            raise DataError("there are no references to reward captions by: give the captions of the train split")
        for image_id, captions in references.items():
            if not captions:
                raise DataError(f"image {image_id!r} has no reference captions to reward by: add some or leave it out")
        self._references = {image_id: tuple(captions) for image_id, captions in references.items()}
        self._log_documents = math.log(len(references))
        self._log_frequencies = _log_document_frequencies(self._references.values())
        # A cache per object, which is freed with the object.
        self._cached_index = lru_cache(maxsize=_IMAGES_KEPT)(self._index)

    def score(self, image_ids: Sequence[Hashable], captions: Sequence[str]) -> np.ndarray:
        """Reward captions, each against the references of its image.

        image_ids [n]: an id may occur many times, once per sampled caption.
        captions [n]: words joined by spaces, tokenised like the references: a word that the PTB tokenizer would split
        ("dog's", "don't") matches nothing here.
        -> float64 [n], 0 to 10; an empty caption gets 0.
        Raises DataError for an image without references, ValueError if the lengths differ.
        """
        pairs = zip(image_ids, captions, strict=True)
        return np.array([self._score_one(image_id, caption) for image_id, caption in pairs], dtype=np.float64)

    def _score_one(self, image_id: Hashable, caption: str) -> float:
        if image_id not in self._references:
            raise DataError(f"image {image_id!r} has no references: give the captions of every image to train on")
        postings, lengths = self._cached_index(image_id)
        weights, norms, length = self._weigh(caption)
        similarities = [0.0] * len(lengths)
        for ngram, weight in weights.items():
            for reference, reference_weight, normalised_weight in postings.get(ngram, ()):
                similarities[reference] += min(weight, reference_weight) * normalised_weight / norms[len(ngram) - 1]
        total = sum(
            similarity * math.exp(-((length - reference_length) ** 2) / (2 * _SIGMA**2))
            for similarity, reference_length in zip(similarities, lengths, strict=True)
        )
        return _SCALE * total / (_LONGEST_NGRAM * len(lengths))

    def _index(self, image_id: Hashable) -> tuple[dict[Ngram, list[_Posting]], list[int]]:
        """Index an image's references: n-gram -> references that contain it; and each reference's length."""
        postings: dict[Ngram, list[_Posting]] = {}
        lengths = []
        for number, caption in enumerate(self._references[image_id]):
            weights, norms, length = self._weigh(caption)
            lengths.append(length)
            for ngram, weight in weights.items():
                postings.setdefault(ngram, []).append((number, weight, weight / norms[len(ngram) - 1]))
        return postings, lengths

    def _weigh(self, caption: str) -> tuple[dict[Ngram, float], list[float], int]:
        """Return the tf-idf of each n-gram with nonzero weight, the norms [4] by n, and the length for the penalty.

        The length is the number of bigrams, as in the official code.
        """
        words = caption.split()
        weights = {}
        squares = [0.0] * _LONGEST_NGRAM
        for ngram, count in Counter(_ngrams(words)).items():
            weight = count * (self._log_documents - self._log_frequencies.get(ngram, 0.0))
            if weight > 0:  # an n-gram in every image has weight 0, and the norm may be 0
                weights[ngram] = weight
                squares[len(ngram) - 1] += weight * weight
        return weights, [math.sqrt(square) for square in squares], max(len(words) - 1, 0)


def _ngrams(words: list[str]) -> Iterator[Ngram]:
    for length in range(1, _LONGEST_NGRAM + 1):
        # zipping shifted lists makes the tuples without a slice for each
        yield from zip(*(words[shift:] for shift in range(length)), strict=False)


def _log_document_frequencies(documents: Iterable[Sequence[str]]) -> dict[Ngram, float]:
    """Return n-gram -> log of the number of images that have it in a reference.

    n-grams of one image, about 80 % of all, are left out: their logarithm is 0, like that of unknown n-grams.
    """
    frequencies: Counter[Ngram] = Counter()
    for captions in documents:
        frequencies.update({ngram for caption in captions for ngram in _ngrams(caption.split())})
    return {ngram: math.log(count) for ngram, count in frequencies.items() if count > 1}
