"""Fit a captioner's confidence model on its captions of validation photos.

`training.confidence.rightness` judges these captions by people's captions. One logistic regression predicts right
captions from features of the search (`captioner.confidence.features`), another predicts right words, and a third tells
photos from drawn pictures. The reported scores are cross-validated by photo: each confidence comes from a model that
was not fitted on that photo.
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

from captioner.bundle.json_files import CONFIDENCE
from captioner.captioner import Caption, Captioner
from captioner.confidence.features import caption_features, word_features
from captioner.confidence.model import ConfidenceModel, Logistic, PhotoLikeness
from captioner.errors import CaptionerError, DataError, ImageError
from captioner.files import write_json
from captioner.text.counting import counted
from captioner.text.vocabulary import tokenise
from training.confidence.drawn_pictures import drawn_pictures
from training.confidence.rightness import Judge
from training.confidence.scores import ConfidenceScores
from training.data.records import ImageRecord

MIN_PHOTOS = 50
"""Minimum number of photos."""
MIN_PER_CLASS = 5
"""Minimum number of right captions, and of wrong ones."""
CAPTIONS = 3
"""Number of captions per photo to fit on: the best ones, which users see."""
DRAWN_PICTURES = 280
"""Number of drawn pictures."""
_DRAWN_SEED = 20_160
_FOLDS = 10
_BATCH = 16
_PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0)
"""Penalties of squared weights to select from by cross-validation: fewer photos need a larger one."""
_PHOTO_PENALTY = 0.01
"""Found on 1,872 photos of COCO: fitted on 50 of them, the model tells the others from new drawn pictures."""


class NotLearnable(CaptionerError):
    """There is too little data to fit a confidence model."""


@dataclass(frozen=True)
class _CaptionedPhoto:
    """Captions of one photo, with their references."""

    captions: list[Caption]
    """Best first."""
    mean: np.ndarray
    """[D] mean annotation vector of the photo."""
    references: list[list[str]]
    """Words of the reference captions."""
    data: int
    """Index of its data set."""


@dataclass(frozen=True)
class _Examples:
    """Training data of a regression."""

    features: list[dict[str, float]]
    right: np.ndarray
    """bool [N]"""
    photos: np.ndarray
    """[N] index of the photo"""
    best: np.ndarray
    """bool [N], whether it is the photo's best caption, or a word of it"""
    weights: np.ndarray
    """[N] sample weights, equal in sum for all data sets"""


@dataclass(frozen=True)
class _CrossValidation:
    """Selected penalty of a regression, with its cross-validated scores."""

    penalty: float
    scores: ConfidenceScores
    """Scores of held-out confidences of best captions, or of their words."""
    photos: np.ndarray
    """[N] index of the photo of each of these"""

    def score_photos(self, photo_mask: np.ndarray) -> dict[str, Any]:
        """Return the scores of some photos, for JSON. which: bool [photos]."""
        mask = photo_mask[self.photos]
        return ConfidenceScores(self.scores.confidences[mask], self.scores.right[mask]).to_json()


def check_enough(photos: int) -> None:
    """Raise NotLearnable if there are too few photos to fit a confidence model."""
    if photos < MIN_PHOTOS:
        raise NotLearnable(
            f"captions get no confidence: there are {counted(photos, 'validation photo')} to learn it from, and"
            f" {MIN_PHOTOS} are needed; add photos, then run `python -m training calibrate`"
        )


def learn_confidence(
    captioner: Captioner, data: Sequence[Sequence[ImageRecord]], progress: bool = True
) -> ConfidenceModel:
    """Fit the confidence model of a captioner on photos that it was not trained on.

    data: the photos of each data set. All data sets have equal weight, whatever their size.
    Unreadable photos are skipped. Raises NotLearnable if there are too few photos, or nearly all captions are right, or
    nearly all wrong.
    """
    check_enough(sum(map(len, data)))
    photos = _caption_photos(captioner, data, progress)
    check_enough(len(photos))
    judge = Judge({number: photo.references for number, photo in enumerate(photos)})
    captions, words = _make_examples(photos, judge)
    for right, verdict in ((True, "right"), (False, "wrong")):
        count = int((captions.right == right)[captions.best].sum())
        if count < MIN_PER_CLASS:
            raise NotLearnable(
                f"captions get no confidence: of {counted(len(photos), 'validation photo')} {count:,} have a {verdict}"
                f" caption, and {MIN_PER_CLASS} are needed to learn the difference; add photos, then run"
                " `python -m training calibrate`"
            )
    drawn_means = _encode_drawn_pictures(captioner)
    validations = [_cross_validate(examples) for examples in (captions, words)]
    report = {
        "photos": len(photos),
        "references": sum(len(photo.references) for photo in photos),
        "language": judge.language.name,
        "decoding": replace(captioner.decoding, captions_per_image=1).to_json(),
        **_score_photos(validations, np.ones(len(photos), bool)),
    }
    data_numbers = np.array([photo.data for photo in photos])
    if len(data) > 1:
        report["by_data"] = [_score_photos(validations, data_numbers == number) for number in np.unique(data_numbers)]
    likeness = _fit_likeness(np.stack([photo.mean for photo in photos]), drawn_means)
    regressions = (
        _fit_regression(examples, validation.penalty)
        for examples, validation in zip((captions, words), validations, strict=True)
    )
    return ConfidenceModel(likeness, *regressions, judge.language, report)


def _score_photos(validations: Sequence[_CrossValidation], photo_mask: np.ndarray) -> dict[str, Any]:
    """Return the scores of captions and of words of some photos. photo_mask: bool [photos]."""
    kinds = ("captions", "words")
    return {kind: validation.score_photos(photo_mask) for kind, validation in zip(kinds, validations, strict=True)}


def calibrate_bundle(folder: Path, captioner: Captioner, data: Sequence[Sequence[ImageRecord]]) -> ConfidenceModel:
    """Fit the confidence model of a captioner and write it into its bundle. Raises as `learn_confidence` does."""
    model = learn_confidence(captioner, data)
    try:
        write_json(folder / CONFIDENCE, model.to_json(), indent=1)
    except OSError as error:
        raise DataError(
            f"{folder / CONFIDENCE} cannot be written ({error.strerror}): make the folder writable"
        ) from error
    return model


def _caption_photos(
    captioner: Captioner, data: Sequence[Sequence[ImageRecord]], progress: bool
) -> list[_CaptionedPhoto]:
    """Caption the readable photos."""
    records = [(number, record) for number, data_set in enumerate(data) for record in data_set]
    options = captioner.decoding
    options = replace(options, captions_per_image=min(CAPTIONS, options.beam_width), temperature=0.0)
    photos = []
    with tqdm(total=len(records), desc="calibrating", unit="photo", disable=not progress) as bar:
        for start in range(0, len(records), _BATCH):
            readable_records, inputs = [], []
            for number, record in records[start : start + _BATCH]:
                try:
                    inputs.append(captioner.prepare(record.path))
                    readable_records.append((number, record))
                except ImageError:
                    pass  # `inspect` and `fit` report it
            if readable_records:
                squares, frames = zip(*inputs, strict=True)
                annotations = captioner.encode(np.stack(squares))  # [B, H, W, D]
                captions = captioner.caption_annotations(annotations, frames, options)
                means = annotations.float().mean(dim=(1, 2)).cpu().numpy()
                for (number, record), photo_captions, mean in zip(readable_records, captions, means, strict=True):
                    references = [tokenise(text) for text in record.captions]
                    photos.append(_CaptionedPhoto(photo_captions, mean, references, number))
            bar.update(len(records[start : start + _BATCH]))
    return photos


def _encode_drawn_pictures(captioner: Captioner) -> np.ndarray:
    """Return the mean annotation vectors of drawn pictures, [N, D]."""
    pictures = [captioner.prepare(picture)[0] for _, picture in drawn_pictures(DRAWN_PICTURES, _DRAWN_SEED)]
    batches = [np.stack(pictures[start : start + _BATCH]) for start in range(0, len(pictures), _BATCH)]
    return np.concatenate([captioner.encode(batch).float().mean(dim=(1, 2)).cpu().numpy() for batch in batches])


def _make_examples(captioned_photos: Sequence[_CaptionedPhoto], judge: Judge) -> tuple[_Examples, _Examples]:
    """Return examples of captions and of content words, with their rightness."""
    captions: list[tuple[dict[str, float], bool, int, bool]] = []
    words: list[tuple[dict[str, float], bool, int, bool]] = []
    for number, photo in enumerate(captioned_photos):
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
    sizes = Counter(photo.data for photo in captioned_photos)
    weights = np.array([len(captioned_photos) / len(sizes) / sizes[photo.data] for photo in captioned_photos])
    return _to_examples(captions, weights), _to_examples(words, weights)


def _to_examples(rows: Sequence[tuple[dict[str, float], bool, int, bool]], weights: np.ndarray) -> _Examples:
    """Convert rows to arrays. weights: sample weights of the photos."""
    features, right, photos, best = zip(*rows, strict=True) if rows else ((), (), (), ())
    photos = np.array(photos, int)
    return _Examples(list(features), np.array(right, bool), photos, np.array(best, bool), weights[photos])


def _fit_regression(examples: _Examples, penalty: float) -> Logistic:
    """Fit a regression on standardised features, without those that are unknown or constant."""
    names = list(examples.features[0]) if examples.features else []
    rows = [[features[name] for name in names] for features in examples.features]
    values = np.array(rows).reshape(-1, len(names))
    is_known = np.isfinite(values)
    values = np.where(is_known, values, 0.0)
    counts = np.maximum(is_known.sum(axis=0), 1)
    means = values.sum(axis=0) / counts
    scales = np.sqrt((is_known * (values - means) ** 2).sum(axis=0) / counts)
    varying = np.flatnonzero(scales > 1e-9)
    standardised = (is_known * (values - means))[:, varying] / scales[varying]
    weights, intercept = _fit_logistic(standardised, examples.right, penalty, examples.weights)
    columns = (_round(column) for column in (means[varying], scales[varying], weights))
    return Logistic(tuple(names[column] for column in varying), *columns, float(f"{intercept:.6g}"))


def _cross_validate(examples: _Examples) -> _CrossValidation:
    """Select the penalty with the highest likelihood of held-out best captions."""
    folds = np.random.default_rng(0).permutation(examples.photos.max() + 1)[examples.photos] % _FOLDS
    right, weights = examples.right[examples.best], examples.weights[examples.best]
    results = []
    for penalty in _PENALTIES:
        confidences = np.zeros(len(folds))
        for fold in range(_FOLDS):
            regression = _fit_regression(_select(examples, folds != fold), penalty)
            for index in np.flatnonzero(folds == fold):
                confidences[index] = regression(examples.features[index])
        best_confidences = confidences[examples.best]
        probabilities = np.where(right, best_confidences, 1 - best_confidences)  # of the true class
        results.append((-(weights * np.log(probabilities + 1e-12)).sum(), penalty, best_confidences))
    _, penalty, best_confidences = min(results, key=lambda result: result[0])
    return _CrossValidation(penalty, ConfidenceScores(best_confidences, right), examples.photos[examples.best])


def _select(examples: _Examples, mask: np.ndarray) -> _Examples:
    features = [examples.features[index] for index in np.flatnonzero(mask)]
    columns = (getattr(examples, name)[mask] for name in ("right", "photos", "best", "weights"))
    return _Examples(features, *columns)


def _fit_likeness(photo_means: np.ndarray, drawn_means: np.ndarray) -> PhotoLikeness:
    """Fit the regression of photos against drawn pictures on mean annotation vectors, [N, D] each."""
    channels = photo_means.shape[1]
    spread = photo_means.std(axis=0)
    # Channels that hardly vary among photos must not dominate. sqrt(D) keeps the scale of a sum of D features.
    scales = (spread + 0.3 * np.median(spread) + 1e-6) * channels**0.5
    centre = photo_means.mean(axis=0)
    is_photo = np.repeat([True, False], [len(photo_means), len(drawn_means)])
    features = (np.concatenate([photo_means, drawn_means]) - centre) / scales
    weights, intercept = _fit_logistic(features, is_photo, _PHOTO_PENALTY)
    weights = np.array(_round(weights / scales))
    return PhotoLikeness(tuple(weights.tolist()), float(intercept - weights @ centre))


def _fit_logistic(
    features: np.ndarray, right: np.ndarray, penalty: float, counts: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Fit a logistic regression: features [N, F], right bool [N] -> weights [F] and intercept.

    counts: sample weights [N]; by default 1.

    The loss is the summed cross-entropy plus penalty / 2 times the sum of squared weights, without the intercept.
    """
    inputs, targets = (torch.tensor(np.asarray(values, np.float64)) for values in (features, right))
    sample_weights = None if counts is None else torch.tensor(counts)
    weights = torch.zeros(inputs.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = inputs @ weights[:-1] + weights[-1]
        value = nn.functional.binary_cross_entropy_with_logits(logits, targets, sample_weights, reduction="sum")
        value = value + penalty / 2 * weights[:-1].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    solution = weights.detach().numpy()
    return solution[:-1], float(solution[-1])


def _round(values: np.ndarray) -> tuple[float, ...]:
    """Round to six digits, to keep the file readable."""
    return tuple(float(f"{value:.6g}") for value in values)
