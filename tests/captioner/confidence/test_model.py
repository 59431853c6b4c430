"""A confidence model gives captions and words probabilities, is written as JSON and checked when read."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from captioner.caption_json import photo_json
from captioner.captioner import Captioner
from captioner.confidence.model import UNDESCRIBABLE_CONFIDENCE, ConfidenceModel, Logistic, PhotoLikeness
from captioner.config import DecodingOptions
from captioner.errors import ConfigError
from captioner.text.lexicon import UnlistedLanguage
from tests.support.confidence_models import caption_with_agreement, drawn_model

MEAN = np.zeros(3, np.float32)


def test_unknown_features_count_as_their_mean():
    model = Logistic(("log_prob", "gate"), (-1.0, 0.5), (2.0, 0.1), (3.0, 1.0), -0.25)
    assert model({"log_prob": 1.0, "gate": 0.6}) == pytest.approx(1 / (1 + math.exp(-(3.0 + 1.0 - 0.25))))
    assert model({"log_prob": math.nan}) == model({}) == pytest.approx(1 / (1 + math.exp(0.25)))
    assert 0 <= Logistic((), (), (), (), -1e9)({}) < 1e-9


def test_content_words_have_a_confidence_and_others_have_none():
    caption = caption_with_agreement()
    (scored,) = drawn_model(3, caption=0.0, word=1.0).with_confidence([caption], MEAN)
    assert scored.confidence == pytest.approx(0.5)
    confidences = dict(zip(scored.words, scored.word_confidences, strict=True))
    assert confidences["a"] is None is confidences["on"] is confidences["the"]
    assert confidences["dog"] == confidences["grass"] == pytest.approx(1 / (1 + math.e))
    assert confidences["red"] == confidences["runs"] == pytest.approx(1 / (1 + math.exp(-1)))
    assert caption.confidence is None and set(caption.word_confidences) == {None}


def test_a_picture_unlike_photos_lowers_every_confidence():
    trusting = drawn_model(3, caption=5.0, word=5.0)
    model = replace(trusting, photo=PhotoLikeness((10.0, 0.0, 0.0), -5.0))
    noise, photo = (
        model.with_confidence([caption_with_agreement()], np.array([first, 0, 0]))[0] for first in (0.0, 1.0)
    )
    assert noise.confidence < 0.01 and max(filter(None, noise.word_confidences)) < 0.01
    assert photo.confidence > 0.95


@pytest.mark.parametrize("kind", ["blank", "text"])
def test_captions_of_blank_pictures_and_pages_of_text_are_guesses(kind):
    model = drawn_model(3, caption=5.0, word=5.0)
    (scored,) = model.with_confidence([caption_with_agreement("a dog", kind)], MEAN)
    assert scored.confidence == UNDESCRIBABLE_CONFIDENCE
    assert scored.word_confidences == (None, UNDESCRIBABLE_CONFIDENCE)
    (cut_short,) = model.with_confidence([caption_with_agreement("a dog", "cut_short")], MEAN)
    assert cut_short.confidence > 0.9


# --- the file


@pytest.mark.parametrize("words", [None, ["der", "ein"]])
def test_json_gives_the_same_model(words):
    model = replace(drawn_model(3, 0.25, 1.5), learned={"photos": 150})
    if words:
        model = replace(model, language=UnlistedLanguage(frozenset(words)))
    assert ConfidenceModel.from_json(json.loads(json.dumps(model.to_json()))) == model


def broken(**changes) -> dict:
    return drawn_model(3).to_json() | changes


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([], "format version None"),
        (broken(format_version=2), "format version 2, and this program reads version 1"),
        (broken(learned=None), "must have learned"),
        (broken(photo={"intercept": 0, "weights": [1, None]}), "weights of photo must be finite numbers"),
        (broken(photo=3), "photo must have"),
        (broken(photo={"intercept": True, "weights": []}), "intercept of photo must be finite"),
        (broken(caption={"features": {}}), "intercept of caption must be finite"),
        (broken(word={"intercept": 0.0}), "word must have an intercept and features"),
        (broken(word={"intercept": 0.0, "features": {"gate": 3}}), "each feature of word"),
        (
            broken(word={"intercept": 0.0, "features": {"gate": {"mean": 0, "scale": 0, "weight": 1}}}),
            "every scale of word must be above 0",
        ),
        (
            broken(word={"intercept": 0.0, "features": {"gate": {"mean": 0, "scale": 1, "weight": math.inf}}}),
            "weight of word must be finite",
        ),
        (broken(photo={"intercept": 10**400, "weights": []}), "intercept of photo must be finite"),
        (broken(photo={"intercept": 0, "weights": [1e300]}), "weights of photo must be finite numbers, from -1e\\+12"),
        (
            broken(word={"intercept": 0.0, "features": {"gate": {"mean": 0, "scale": 1e-300, "weight": 1}}}),
            "every scale of word must be above 0, and at least 1e-12",
        ),
        (broken(function_words=[1]), "function_words must be a list of words"),
    ],
)
def test_a_file_of_another_kind_raises_a_readable_error(values, problem):
    with pytest.raises(ConfigError, match=problem):
        ConfidenceModel.from_json(values)


def test_the_largest_numbers_of_a_file_give_a_probability():
    feature = {"mean": -1e12, "scale": 1e-12, "weight": 1e12}
    values = {"intercept": 1e12, "features": {"best": feature, "words": feature | {"weight": -1e12}}}
    model = ConfidenceModel.from_json(broken(caption=values))
    assert 0 <= model.caption({"best": 1.0, "words": 9.0}) <= 1  # false for NaN


# --- captioners


@pytest.fixture
def judging(tiny_bundle) -> Captioner:
    """A captioner with a confidence model."""
    return Captioner(replace(tiny_bundle, confidence=drawn_model(64, caption=1.0, word=1.0)), "cpu")


def test_a_captioner_with_a_confidence_model_gives_every_caption_a_confidence(judging, photo):
    options = replace(judging.decoding, captions_per_image=3)
    (captions,) = judging.captions([photo], options)
    assert len(captions) == 3
    for caption in captions:
        assert caption.confidence == pytest.approx(1 / (1 + math.exp(-1)))
        assert len(caption.word_confidences) == len(caption.words)
    values = photo_json("photo.png", captions)
    assert values["confidence"] == captions[0].confidence and values["wording"] == "likely"
    assert [word["confidence"] for word in values["words"]] == list(captions[0].word_confidences)
    assert {word["wording"] for word in values["words"]} <= {None, "guess", "likely"}
    assert values["alternatives"][0]["confidence"] == captions[1].confidence
    json.dumps(values, allow_nan=False)


def test_captions_in_a_batch_have_the_same_confidence_as_alone(tiny_bundle, photo):
    model = drawn_model(64)
    rng = np.random.default_rng(0)
    model = replace(model, photo=PhotoLikeness(tuple(rng.normal(0, 3, 64).tolist()), 0.0))
    judging = Captioner(replace(tiny_bundle, confidence=model), "cpu")
    photos = [photo, photo.rotate(90), photo.convert("L").convert("RGB")]
    together = judging.caption(photos)
    assert len({caption.confidence for caption in together}) == 3
    for single, caption in zip(photos, together, strict=True):
        assert judging.caption([single])[0].confidence == pytest.approx(caption.confidence, rel=1e-4)


def test_sampled_captions_and_captioners_without_a_confidence_model_have_no_confidence(judging, tiny_bundle, photo):
    options = DecodingOptions(beam_width=1, max_words=5, temperature=1.0, seed=3)
    (sampled,) = judging.caption([photo], options)
    (plain,) = Captioner(tiny_bundle, "cpu").caption([photo])
    for caption in (sampled, plain):
        assert caption.confidence is None and set(caption.word_confidences) == {None}


def test_greedy_captions_have_a_confidence_without_agreement(judging, photo):
    (caption,) = judging.caption([photo], DecodingOptions(beam_width=1, max_words=5))
    assert np.isnan(caption.agreement).all() and caption.confidence is not None
