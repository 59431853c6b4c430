"""Scores of confidences equal those by hand, and plots show them."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.maps import caption_of, frame_of
from training.confidence.plots import confidence_plots
from training.confidence.rightness import Judge
from training.confidence.scores import (
    ConfidenceScores,
    calibration_error,
    risk_coverage,
    roc_area,
    sampling_error,
    score_confidences,
    summarise_confidence,
)


def make_scores(confidences, right) -> ConfidenceScores:
    return ConfidenceScores(np.array(confidences, float), np.array(right, bool))


def test_the_roc_area_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(0)
    confidences, right = rng.integers(0, 6, 40) / 5, rng.random(40) < 0.4
    pairs = [(yes > no) + (yes == no) / 2 for yes in confidences[right] for no in confidences[~right]]
    assert roc_area(confidences, right) == pytest.approx(np.mean(pairs))
    assert roc_area(confidences, np.ones(40, bool)) is None is roc_area(confidences, np.zeros(40, bool))


def test_the_calibration_error_is_the_distance_of_confidence_and_accuracy_over_bins():
    confidences, right = np.array([0.05, 0.05, 0.95, 0.95, 1.0]), np.array([False, True, True, True, False])
    # Two in the first bin: 0.05 against 0.5; three in the last: 2.9 / 3 against 2 / 3.
    assert calibration_error(confidences, right) == pytest.approx(2 / 5 * 0.45 + 3 / 5 * 0.3)
    assert calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0


def test_the_error_by_chance_is_that_of_perfect_confidences():
    confidences = np.random.default_rng(1).random(500)
    errors = [
        calibration_error(confidences, np.random.default_rng(seed).random(500) < confidences) for seed in range(9, 40)
    ]
    assert sampling_error(confidences) == pytest.approx(np.mean(errors), abs=0.006)
    assert sampling_error(np.repeat(confidences, 20)) < 0.3 * sampling_error(confidences)


def test_the_risk_coverage_curve_keeps_ties_together():
    confidences, right = np.array([0.9, 0.2, 0.5, 0.5, 0.7]), np.array([True, False, True, False, False])
    # Both with confidence 0.5 are kept or left out together.
    assert risk_coverage(confidences, right) == [(0.2, 0), (0.4, 1 / 2), (0.8, 2 / 4), (1.0, 3 / 5)]
    many = risk_coverage(np.random.default_rng(0).random(3000), np.random.default_rng(1).random(3000) < 0.25)
    assert len(many) == 100 and many[-1] == (1.0, pytest.approx(0.75, abs=0.03))


def test_scores_are_plain_numbers_and_bins_hold_all_captions():
    scores = make_scores([0.05, 0.05, 0.95], [False, True, True])
    values = scores.to_json()
    assert values["count"] == 3 and values["right"] == 0.6667 and values["mean_confidence"] == 0.35
    assert values["roc_area"] == 0.75
    assert scores.bins() == [(pytest.approx(0.05), 0.5, 2), (pytest.approx(0.95), 1.0, 1)]
    assert make_scores([0.5], [True]).to_json()["roc_area"] is None


def test_scores_fit_in_one_line():
    figures = {
        "captions": make_scores([0.25, 0.75], [False, True]).to_json(),
        "words": make_scores([0.5], [True]).to_json(),
    }
    assert summarise_confidence({"photos": 2, **figures}) == (
        "confidence: captions right 0.500, area under ROC 1.000, calibration error 0.250"
        f" ({figures['captions']['calibration_error_by_chance']:.3f} by chance);"
        " words right 1.000, area under ROC unknown, calibration error 0.500 (0.500 by chance)"
    )


def test_captions_and_words_are_judged_by_the_references():
    frame = frame_of(8, 8)
    right = replace(caption_of("a dog on grass", frame), confidence=0.9, word_confidences=(None, 0.8, None, 0.3))
    wrong = replace(caption_of("a cat", frame), confidence=0.4, word_confidences=(None, 0.2))
    without = caption_of("a dog", frame)
    judge = Judge({1: ["two dogs on the grass".split()], 2: [["a", "dog"]], 3: [["a", "dog"]]})
    scores = score_confidences({1: right, 2: wrong, 3: without}, judge)
    assert scores["captions"].confidences.tolist() == [0.9, 0.4] and scores["captions"].right.tolist() == [True, False]
    assert scores["words"].confidences.tolist() == [0.8, 0.3, 0.2]
    assert scores["words"].right.tolist() == [True, True, False]
    assert score_confidences({3: without}, judge) == {}


def test_plots_show_the_scores_at_the_right_positions():
    scores = make_scores([0.25, 0.25, 0.75, 0.75], [False, True, True, True])
    risk, reliability = confidence_plots({"captions": scores})
    assert risk.curves[0].points == "196,256 346,196"  # none of the better half is wrong, a quarter of all
    assert "of the better 50% 0% are wrong, of all 25%" in risk.label
    assert [dot[:2] for dot in reliability.curves[0].dots] == [(121.0, 136.0), (271.0, 16.0)]
    assert reliability.diagonal and not risk.diagonal
    assert [tick["text"] for tick in risk.ticks] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert confidence_plots({}) == []
