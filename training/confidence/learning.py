"""Learning how far a captioner's captions can be trusted, from what it says of validation photos.

`training.evaluation.rightness` judges the captions of these photos by the captions that people wrote. One logistic
regression learns to predict right captions from features of the search (`captioner.confidence`), another one right
words. A third one tells photos from drawn pictures. The reported figures come from cross-validation by photo: each
confidence comes from a model that did not learn from that photo.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from captioner.bundle_json import CONFIDENCE
from captioner.captioner import Caption, Captioner
from captioner.confidence import ConfidenceModel, Logistic, PhotoLikeness, caption_features, word_features
from captioner.counting import counted
from captioner.errors import CaptionerError, DataError, ImageError
from captioner.files import write_json
from captioner.vocabulary import tokenise
from training.confidence.drawn_pictures import drawn_pictures
from training.confidence.scores import ConfidenceScores
from training.data.records import ImageRecord
from training.evaluation.rightness import Judge

LEAST_PHOTOS = 50
"""Photos to learn from, at least."""
LEAST_OF_A_KIND = 5
"""Right captions, and wrong ones, to learn from, at least."""
CAPTIONS = 3
"""Captions of each photo to learn from, the best ones: users see these."""
DRAWN = 280
"""Pictures that are no photos."""
_DRAWN_SEED = 20_160
_FOLDS = 10
_BATCH = 16
_PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0)
"""Of squared weights, to choose from by cross-validation: fewer photos need a larger one."""
_PHOTO_PENALTY = 0.01
"""Found on 1,872 photos of COCO: 50 to learn from are enough to tell the others from fresh drawn pictures."""


class NotLearnable(CaptionerError):
    """There is not enough to learn a confidence model from."""


@dataclass(frozen=True)
class _Seen:
    """What a captioner said of one photo."""

    captions: list[Caption]
    """Best first."""
    mean: np.ndarray
    """[D], its mean annotation vector."""
    references: list[list[str]]
    """Words of the captions by people."""
    data: int
    """The data set that it is of, by number."""


@dataclass(frozen=True)
class _Examples:
    """What a regression learns from."""

    features: list[dict[str, float]]
    right: np.ndarray
    """bool [N]"""
    photos: np.ndarray
    """[N], the photo of each, by number"""
    best: np.ndarray
    """bool [N], whether it is, or is of, the best caption of its photo"""
    weights: np.ndarray
    """[N], how much each counts: all data sets count alike"""


@dataclass(frozen=True)
class _Learner:
    """How to learn a regression."""

    penalty: float
    scores: ConfidenceScores
    """Of confidences that models so learned gave to best captions, or words of these, of other photos."""
    photos: np.ndarray
    """[N], the photo of each of these, by number"""

    def figures(self, which: np.ndarray) -> dict[str, Any]:
        """Figures of some photos, for JSON. which: bool [photos]."""
        chosen = which[self.photos]
        return ConfidenceScores(self.scores.confidences[chosen], self.scores.right[chosen]).to_json()


def check_enough(photos: int) -> None:
    """Raises NotLearnable if there are too few photos to learn a confidence model from."""
    if photos < LEAST_PHOTOS:
        raise NotLearnable(
            f"captions get no confidence: there are {counted(photos, 'validation photo')} to learn it from, and it"
            f" takes {LEAST_PHOTOS}; add photos, then run `python -m training calibrate`"
        )


def learn_confidence(
    captioner: Captioner, data: Sequence[Sequence[ImageRecord]], progress: bool = True
) -> ConfidenceModel:
    """Learn the confidence model of a captioner from photos that it has not learned from.

    data: the photos of each data set. All data sets count alike, however many photos they have.
    Photos that cannot be read are left out. Raises NotLearnable if there are too few, or the captions are nearly all
    right or nearly all wrong.
    """
    check_enough(sum(map(len, data)))
    seen = _see(captioner, data, progress)
    check_enough(len(seen))
    judge = Judge({number: photo.references for number, photo in enumerate(seen)})
    captions, words = _examples(seen, judge)
    for right, said in ((True, "right"), (False, "wrong")):
        count = int((captions.right == right)[captions.best].sum())
        if count < LEAST_OF_A_KIND:
            raise NotLearnable(
                f"captions get no confidence: of {counted(len(seen), 'validation photo')} {count:,} have a {said}"
                f" caption, and it takes {LEAST_OF_A_KIND} to learn the difference; add photos, then run"
                " `python -m training calibrate`"
            )
    drawn = _drawn_means(captioner)
    learners = [_cross_validated(examples) for examples in (captions, words)]
    learned = {
        "photos": len(seen),
        "references": sum(len(photo.references) for photo in seen),
        "language": judge.language.name,
        "decoding": replace(captioner.decoding, captions_per_image=1).to_json(),
        **_figures(learners, np.ones(len(seen), bool)),
    }
    numbers = np.array([photo.data for photo in seen])
    if len(data) > 1:
        learned["by_data"] = [_figures(learners, numbers == number) for number in np.unique(numbers)]
    photo = _learn_likeness(np.stack([photo.mean for photo in seen]), drawn)
    regressions = (
        _learn(examples, learner.penalty) for examples, learner in zip((captions, words), learners, strict=True)
    )
    return ConfidenceModel(photo, *regressions, judge.language, learned)


def _figures(learners: Sequence[_Learner], which: np.ndarray) -> dict[str, Any]:
    """Figures of captions and of words of some photos. which: bool [photos]."""
    return {name: learner.figures(which) for name, learner in zip(("captions", "words"), learners, strict=True)}


def calibrate_bundle(folder: Path, captioner: Captioner, data: Sequence[Sequence[ImageRecord]]) -> ConfidenceModel:
    """Learn the confidence model of a captioner and write it into its bundle. Raises as `learn_confidence` does."""
    model = learn_confidence(captioner, data)
    try:
        write_json(folder / CONFIDENCE, model.to_json(), indent=1)
    except OSError as error:
        raise DataError(
            f"{folder / CONFIDENCE} cannot be written ({error.strerror}): make the folder writable"
        ) from error
    return model


def _see(captioner: Captioner, data: Sequence[Sequence[ImageRecord]], progress: bool) -> list[_Seen]:
    """Caption the photos that can be read."""
    records = [(number, record) for number, of_data in enumerate(data) for record in of_data]
    options = captioner.decoding
    options = replace(options, captions_per_image=min(CAPTIONS, options.beam_width), temperature=0.0)
    seen = []
    with tqdm(total=len(records), desc="calibrating", unit="photo", disable=not progress) as bar:
        for start in range(0, len(records), _BATCH):
            readable, prepared = [], []
            for number, record in records[start : start + _BATCH]:
                try:
                    prepared.append(captioner.prepare(record.path))
                    readable.append((number, record))
                except ImageError:
                    pass  # `inspect` and `fit` say which and why
            if readable:
                squares, frames = zip(*prepared, strict=True)
                annotations = captioner.encode(np.stack(squares))  # [B, H, W, D]
                captions = captioner.caption_annotations(annotations, frames, options)
                means = annotations.float().mean(dim=(1, 2)).cpu().numpy()
                for (number, record), of_photo, mean in zip(readable, captions, means, strict=True):
                    seen.append(_Seen(of_photo, mean, [tokenise(text) for text in record.captions], number))
            bar.update(len(records[start : start + _BATCH]))
    return seen


def _drawn_means(captioner: Captioner) -> np.ndarray:
    """Mean annotation vectors of pictures that are no photos, [N, D]."""
    pictures = [captioner.prepare(picture)[0] for _, picture in drawn_pictures(DRAWN, _DRAWN_SEED)]
    batches = [np.stack(pictures[start : start + _BATCH]) for start in range(0, len(pictures), _BATCH)]
    return np.concatenate([captioner.encode(batch).float().mean(dim=(1, 2)).cpu().numpy() for batch in batches])


def _examples(seen: Sequence[_Seen], judge: Judge) -> tuple[_Examples, _Examples]:
    """The captions, and the content words, with what is right."""
    captions: list[tuple[dict[str, float], bool, int, bool]] = []
    words: list[tuple[dict[str, float], bool, int, bool]] = []
    for number, photo in enumerate(seen):
        for rank, caption in enumerate(photo.captions):
            kinds = [judge.language.kind_of(word) for word in caption.words]
            is_right = judge.is_right(number, caption.words)
            captions.append((caption_features(caption, judge.language, rank), is_right, number, rank == 0))
            verdicts = judge.right_words(number, caption.words)
            for kind, verdict, features in zip(
                kinds, verdicts, word_features(caption, judge.language, rank), strict=True
            ):
                if kind is not None and verdict is not None:
                    words.append((features, verdict, number, rank == 0))
    sizes = Counter(photo.data for photo in seen)
    weights = np.array([len(seen) / len(sizes) / sizes[photo.data] for photo in seen])
    return _table(captions, weights), _table(words, weights)


def _table(rows: Sequence[tuple[dict[str, float], bool, int, bool]], weights: np.ndarray) -> _Examples:
    """weights: of the photos."""
    features, right, photos, best = zip(*rows, strict=True) if rows else ((), (), (), ())
    photos = np.array(photos, int)
    return _Examples(list(features), np.array(right, bool), photos, np.array(best, bool), weights[photos])


def _learn(examples: _Examples, penalty: float) -> Logistic:
    """Fit a regression on standardised features; those that are unknown, or the same everywhere, are left out."""
    names = list(examples.features[0]) if examples.features else []
    values = np.array([[one[name] for name in names] for one in examples.features]).reshape(-1, len(names))
    known = np.isfinite(values)
    values = np.where(known, values, 0.0)
    counts = np.maximum(known.sum(axis=0), 1)
    means = values.sum(axis=0) / counts
    scales = np.sqrt((known * (values - means) ** 2).sum(axis=0) / counts)
    used = np.flatnonzero(scales > 1e-9)
    standardised = (known * (values - means))[:, used] / scales[used]
    weights, intercept = _regression(standardised, examples.right, penalty, examples.weights)
    columns = (_rounded(column) for column in (means[used], scales[used], weights))
    return Logistic(tuple(names[column] for column in used), *columns, float(f"{intercept:.6g}"))


def _cross_validated(examples: _Examples) -> _Learner:
    """Find the penalty whose models give the likeliest confidences in best captions that they have not learned from."""
    folds = np.random.default_rng(0).permutation(examples.photos.max() + 1)[examples.photos] % _FOLDS
    right, weights = examples.right[examples.best], examples.weights[examples.best]
    found = []
    for penalty in _PENALTIES:
        confidences = np.zeros(len(folds))
        for fold in range(_FOLDS):
            learned = _learn(_chosen(examples, folds != fold), penalty)
            for place in np.flatnonzero(folds == fold):
                confidences[place] = learned(examples.features[place])
        kept = confidences[examples.best]
        found.append((-(weights * np.log(np.where(right, kept, 1 - kept) + 1e-12)).sum(), penalty, kept))
    _, penalty, kept = min(found, key=lambda each: each[0])
    return _Learner(penalty, ConfidenceScores(kept, right), examples.photos[examples.best])


def _chosen(examples: _Examples, which: np.ndarray) -> _Examples:
    features = [examples.features[place] for place in np.flatnonzero(which)]
    columns = (getattr(examples, name)[which] for name in ("right", "photos", "best", "weights"))
    return _Examples(features, *columns)


def _learn_likeness(photos: np.ndarray, drawn: np.ndarray) -> PhotoLikeness:
    """Tell photos from drawn pictures by their mean annotation vectors, [N, D] each."""
    channels = photos.shape[1]
    spread = photos.std(axis=0)
    # Channels that hardly vary among photos must not outweigh all others. Of D features, sqrt(D) keeps the sum's scale.
    scales = (spread + 0.3 * np.median(spread) + 1e-6) * channels**0.5
    centre = photos.mean(axis=0)
    is_photo = np.repeat([True, False], [len(photos), len(drawn)])
    weights, intercept = _regression((np.concatenate([photos, drawn]) - centre) / scales, is_photo, _PHOTO_PENALTY)
    weights = np.array(_rounded(weights / scales))
    return PhotoLikeness(tuple(weights.tolist()), float(intercept - weights @ centre))


def _regression(
    features: np.ndarray, right: np.ndarray, penalty: float, counts: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Logistic regression: features [N, F], right bool [N] -> weights [F] and intercept.

    counts: how often each example counts, [N]; by default once.

    The penalty is on half the sum of squared weights, beside the summed cross-entropy; there is none on the intercept.
    """
    inputs, targets = (torch.tensor(np.asarray(values, np.float64)) for values in (features, right))
    often = None if counts is None else torch.tensor(counts)
    weights = torch.zeros(inputs.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = inputs @ weights[:-1] + weights[-1]
        value = nn.functional.binary_cross_entropy_with_logits(logits, targets, often, reduction="sum")
        value = value + penalty / 2 * weights[:-1].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    learned = weights.detach().numpy()
    return learned[:-1], float(learned[-1])


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    """To six digits, so that people can read the file."""
    return tuple(float(f"{value:.6g}") for value in values)
