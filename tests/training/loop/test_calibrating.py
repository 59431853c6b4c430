"""At its end, a run calibrates its best captioner or reports why not."""

import dataclasses

import pytest

from captioner.bundle.bundle import load_bundle
from captioner.ranks import Ranks
from tests.support.confidence_models import drawn_model
from tests.support.training_runs import ONE_PHASE
from training.captioning import CaptioningTask
from training.confidence import learning as confidence
from training.progress import ignore_progress


@pytest.fixture
def calls(monkeypatch) -> list:
    """Two photos are enough, and a given model is the result of learning -> the arguments of each call."""
    calls = []

    def learn(captioner, data, progress=True):
        calls.append((captioner, data))
        return dataclasses.replace(drawn_model(16, 0.5), learned=LEARNED)

    monkeypatch.setattr(confidence, "MIN_PHOTOS", 2)
    monkeypatch.setattr(confidence, "learn_confidence", learn)
    return calls


FIGURES = {"right": 0.5, "roc_area": 0.8, "calibration_error": 0.04, "calibration_error_by_chance": 0.03}
LEARNED = {"photos": 3, "captions": FIGURES, "words": FIGURES}


def test_the_best_captioner_is_calibrated_on_the_validation_photos(run, tmp_path, calls, capsys):
    bundle = run("run", ONE_PHASE)
    assert load_bundle(bundle).confidence == dataclasses.replace(drawn_model(16, 0.5), learned=LEARNED)
    ((captioner, (records,)),) = calls
    assert {record.split for record in records} == {"val"} and len(records) == 3
    assert captioner.bundle.metrics["validation"]["epoch"] == load_bundle(bundle).metrics["validation"]["epoch"]
    assert "confidence: captions right 0.500, area under ROC 0.800" in capsys.readouterr().out
    run("run", ONE_PHASE, resume=True)  # it has its confidence model already
    assert len(calls) == 1


def test_a_run_killed_before_calibration_is_calibrated_when_resumed(run, calls):
    bundle = run("run", ONE_PHASE)
    (bundle / "confidence.json").unlink()
    run("run", ONE_PHASE, resume=True)
    assert len(calls) == 2 and load_bundle(bundle).confidence is not None


def test_with_too_few_photos_a_sentence_explains_the_missing_confidence(run, capsys):
    bundle = run("run", ONE_PHASE)
    assert load_bundle(bundle).confidence is None
    out = capsys.readouterr().out
    assert "captions get no confidence: there are 3 validation photos to learn it from, and 50 are needed" in out


def test_no_other_rank_waits_for_the_calibration(run, make_setup, calls):
    """It may take longer than ranks wait. These ranks are not connected: whatever waits for another one fails."""
    bundle = run("run", dataclasses.replace(ONE_PHASE, confidence=False))
    task = CaptioningTask(make_setup(ONE_PHASE), ONE_PHASE)
    task.finish(bundle.parent, ignore_progress, Ranks(1, 2))
    assert not calls
    task.finish(bundle.parent, ignore_progress, Ranks(0, 2))
    assert len(calls) == 1 and load_bundle(bundle).confidence is not None


def test_a_run_calibrates_only_if_its_options_say_so(run, calls):
    bundle = run("run", dataclasses.replace(ONE_PHASE, confidence=False))
    assert not calls and load_bundle(bundle).confidence is None
    run("run", ONE_PHASE, resume=True)
    assert len(calls) == 1
