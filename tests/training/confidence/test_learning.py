"""The confidence model recovers a known rule from captions, and unsuitable data is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captioner.bundle.bundle import load_bundle, save_bundle
from captioner.captioner import Captioner
from captioner.confidence.model import ConfidenceModel
from captioner.config import DecodingOptions
from captioner.errors import DataError
from tests.support.confidence_models import drawn_model
from tests.support.maps import caption_of, frame_of
from tests.support.shapes import draw_shapes
from training.__main__ import main
from training.confidence import learning as confidence
from training.confidence.drawn_pictures import drawn_pictures
from training.confidence.learning import NotLearnable, calibrate_bundle, learn_confidence
from training.data.records import ImageRecord


class RuledCaptioner:
    """Captions every photo "a dog", surer the more references say so; its second caption is wrong."""

    decoding = DecodingOptions(beam_width=2)

    def prepare(self, source):
        picture = source if isinstance(source, Image.Image) else Image.open(source)
        return np.asarray(picture.convert("RGB").resize((8, 8))), frame_of(8, 8)

    def encode(self, pixels):
        """Return mean and spread of the colours: photos of this test are red."""
        values = torch.from_numpy(pixels).float() / 255  # [B, 8, 8, 3]
        return torch.cat([values, (values - values.mean(dim=(1, 2), keepdim=True)).abs()], dim=-1)

    def caption_annotations(self, annotations, frames, options):
        assert options.captions_per_image == 2 and options.temperature == 0
        return [[self._caption("a dog", mean), self._caption("a ball", mean)] for mean in annotations.mean(dim=(1, 2))]

    def _caption(self, text, mean):
        green = float(mean[1])  # the greener, the surer
        caption = caption_of(text, frame_of(8, 8))
        log_probs = np.array([-0.5, -5 * (1 - green)])
        return replace(caption, word_log_probs=log_probs, agreement=np.ones(2), confidence=None)


@pytest.fixture
def draw(tmp_path):
    """Draw red photos; the probability that their references name a dog equals their green."""

    def draw(count: int, probability=lambda green: green) -> list[ImageRecord]:
        rng, records = np.random.default_rng(0), []
        first = len(list(tmp_path.glob("*.png")))
        for number in range(first, first + count):
            green = rng.random()
            pixels = np.empty((8, 8, 3), np.uint8)
            pixels[...] = 220, round(200 * green), 20
            pixels[:4] //= 2
            path = tmp_path / f"{number}.png"
            Image.fromarray(pixels).save(path)
            reference = "A dog." if rng.random() < probability(green) else "A red car."
            records.append(ImageRecord(number, path, (reference, "It is a photo."), "val"))
        return records

    return draw


def test_the_model_learns_which_captions_are_right_and_how_often(draw):
    captioner, records = RuledCaptioner(), draw(400)
    model = learn_confidence(captioner, [records], progress=False)
    report = model.learned
    assert report["photos"] == 400 and report["references"] == 800 and report["language"] == "English"
    for name in ("captions", "words"):
        figures = report[name]
        assert figures["count"] == 400  # best captions only, one noun each
        assert figures["roc_area"] > 0.75 and figures["calibration_error"] < 0.08
        assert figures["mean_confidence"] == pytest.approx(figures["right"], abs=0.03)
    assert json.loads(json.dumps(model.to_json())) and ConfidenceModel.from_json(model.to_json()) == model
    squares, frames = zip(*(captioner.prepare(record.path) for record in records[:100]), strict=True)
    annotations = captioner.encode(np.stack(squares))
    caption_lists = captioner.caption_annotations(
        annotations, frames, replace(captioner.decoding, captions_per_image=2)
    )
    means = annotations.mean(dim=(1, 2)).numpy()
    best = [model.with_confidence(captions, mean)[0] for captions, mean in zip(caption_lists, means, strict=True)]
    green = means[:, 1]
    assert np.corrcoef(green, [caption.confidence for caption in best])[0, 1] > 0.9


def test_data_sets_weigh_the_same_whatever_their_size(draw):
    """A large one with few right captions and a small one with many, equally sure, give a probability of one half."""
    many, few = (draw(count, lambda green, p=p: p) for count, p in ((300, 0.1), (60, 0.9)))
    model = learn_confidence(RuledCaptioner(), [many, few], progress=False)
    assert [figures["captions"]["count"] for figures in model.learned["by_data"]] == [300, 60]
    assert model.learned["captions"]["count"] == 360
    features = dict(zip(model.caption.features, model.caption.means, strict=True)) | {"best": 1.0}
    assert model.caption(features) == pytest.approx(0.5, abs=0.12)


def test_new_pictures_that_are_no_photos_are_unlike_photos(draw):
    captioner = RuledCaptioner()
    model = learn_confidence(captioner, [draw(100)], progress=False)
    pictures = [captioner.prepare(picture)[0] for _, picture in drawn_pictures(140, seed=7)]
    means = captioner.encode(np.stack(pictures)).mean(dim=(1, 2)).numpy()
    likeness = np.array([model.photo(mean) for mean in means])
    assert (likeness < 0.5).mean() > 0.9  # six numbers cannot tell more; a real encoder has a thousand


def test_unreadable_photos_are_left_out(draw):
    records = draw(60)
    for record in records[:5]:
        record.path.write_text("no photo")

    class Reading(RuledCaptioner):
        def prepare(self, source):
            if isinstance(source, Path) and source.read_bytes() == b"no photo":
                from captioner.errors import ImageError

                raise ImageError("no photo")
            return super().prepare(source)

    assert learn_confidence(Reading(), [records], progress=False).learned["photos"] == 55
    for record in records[5:15]:
        record.path.write_text("no photo")
    with pytest.raises(NotLearnable, match="there are 45 validation photos to learn it from, and 50 are needed"):
        learn_confidence(Reading(), [records], progress=False)


@pytest.mark.parametrize(("probability", "problem"), [(0, "0 have a right caption"), (1, "0 have a wrong caption")])
def test_captions_that_are_all_right_or_all_wrong_are_refused(draw, probability, problem):
    with pytest.raises(NotLearnable, match=f"of 60 validation photos {problem}.*training calibrate"):
        learn_confidence(RuledCaptioner(), [draw(60, lambda green: probability)], progress=False)


def test_unknown_and_constant_features_are_left_out(draw):
    model = learn_confidence(RuledCaptioner(), [draw(100)], progress=False)
    assert {"top_label", "nouns", "noun_agreement", "words"}.isdisjoint(model.caption.features)
    assert "noun_log_prob" in model.caption.features and "log_prob" in model.word.features


def test_the_regression_is_optimal():
    """Its gradient is zero: no other weights have a lower penalised cross-entropy."""
    rng = np.random.default_rng(0)
    features, penalty = rng.normal(size=(200, 3)), 2.0
    right = rng.random(200) < 1 / (1 + np.exp(-features @ [1.5, -1, 0] - 0.5))
    weights, intercept = confidence._fit_logistic(features, right, penalty)
    surplus = 1 / (1 + np.exp(-(features @ weights + intercept))) - right
    assert np.abs(features.T @ surplus + penalty * weights).max() < 1e-3 and abs(surplus.sum()) < 1e-3
    assert weights[0] > 1 > -0.5 > weights[1] and abs(weights[2]) < 0.4


def test_calibrate_writes_the_model_into_the_bundle(tiny_bundle, tmp_path, draw, monkeypatch):
    folder = tmp_path / "bundle"
    save_bundle(tiny_bundle, folder)
    model = learn_confidence(RuledCaptioner(), [draw(60)], progress=False)
    model = replace(model, photo=replace(model.photo, weights=(0.0,) * 64))
    monkeypatch.setattr(confidence, "learn_confidence", lambda *_: model)
    assert calibrate_bundle(folder, Captioner(tiny_bundle, "cpu"), []) == model
    assert load_bundle(folder).confidence == model
    (folder / "confidence.json").unlink()
    (folder / "confidence.json").mkdir()
    with pytest.raises(DataError, match="confidence.json cannot be written"):
        calibrate_bundle(folder, Captioner(tiny_bundle, "cpu"), [])


@pytest.fixture
def tiny(tiny_bundle, tmp_path) -> Path:
    save_bundle(tiny_bundle, tmp_path / "tiny")
    return tmp_path / "tiny"


def test_the_command_uses_the_validation_photos_of_all_data_sets(tiny, tmp_path, monkeypatch, capsys):
    draw_shapes(tmp_path / "first", {"train": 3, "val": 4, "test": 2})
    draw_shapes(tmp_path / "second", {"train": 2, "val": 3}, seed=1)
    data_sets = []
    figures = {"right": 0.5, "roc_area": None, "calibration_error": 0.04, "calibration_error_by_chance": 0.03}
    learned = {"photos": 7, "captions": figures, "words": figures}

    def learn(captioner, data):
        data_sets.extend(data)
        return replace(drawn_model(64), learned=learned)

    monkeypatch.setattr(confidence, "learn_confidence", learn)
    data = ["--data", str(tmp_path / "first"), "--also", str(tmp_path / "second")]
    assert main(["calibrate", "--bundle", str(tiny), *data]) == 0
    folders = [[record.path.parent.name for record in records] for records in data_sets]
    assert folders == [["first"] * 4, ["second"] * 3]
    assert {record.split for records in data_sets for record in records} == {"val"}
    out = capsys.readouterr().out
    assert "confidence: captions right 0.500, area under ROC unknown" in out and "confidence.json" in out
    assert load_bundle(tiny).confidence.learned == learned


@pytest.mark.parametrize(
    ("photos", "problem"),
    [(6, "there are 6 validation photos to learn it from, and 50 are needed"), (50, "0 have a right caption")],
)
def test_the_command_reports_why_nothing_can_be_learned(tiny, tmp_path, capsys, photos, problem):
    draw_shapes(tmp_path / "shapes", {"train": 1, "val": photos})
    assert main(["calibrate", "--bundle", str(tiny), "--data", str(tmp_path / "shapes")]) == 2
    assert problem in capsys.readouterr().err
    assert load_bundle(tiny).confidence is None
