"""Validation gives the captions that users get, and the official scores."""

import numpy as np
import pytest
import torch
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider

from captioner.captioner import Captioner
from captioner.images.fitting import fit_image
from captioner.images.photo import open_image
from tests.support.shapes import draw_shapes
from training import validation
from training.data.dataset import CaptionDataset
from training.data.features import FeatureCache
from training.data.mixing import Part, parts_of
from training.data.records import ImageRecord
from training.evaluation.metrics import tokenise_for_scoring
from training.validation import Validator

REFERENCES = [
    ("A red circle above a blue square.", "The red circle's there"),
    ("A green triangle left of a red circle",),
    ("A blue square above a yellow triangle", "Blue, above yellow!", "a square"),
]


@pytest.fixture
def make_validator(tmp_path, tiny_bundle):
    """A validator of three photos whose cached features are exactly the encoder's."""
    drawings = draw_shapes(tmp_path / "photos", {"val": 3})["val"]
    records = [
        ImageRecord(number % 2, drawing.path, captions, "val")  # the last has the id of the first
        for number, (drawing, captions) in enumerate(zip(drawings, REFERENCES, strict=True))
    ]
    config, encoder = tiny_bundle.config, tiny_bundle.model.encoder
    squares, frames = zip(
        *(fit_image(open_image(record.path), config.image_size, config.fit) for record in records), strict=True
    )

    def make(stages=None, parts=None):
        with torch.no_grad():
            rows = encoder.features(torch.from_numpy(np.stack(squares)), stages)
            rows = encoder.annotations(rows) if stages is None else rows
        cache = FeatureCache(tmp_path / f"cache-{stages}", rows.shape[1:])
        cache.append([record.path for record in records], rows.numpy())
        data = CaptionDataset(records, tiny_bundle.vocabulary, [cache])
        return Validator(data, list(frames), tiny_bundle.decoding, parts=parts)

    return make


@pytest.fixture
def without_java(monkeypatch):
    monkeypatch.setattr(
        validation, "tokenise_for_scoring", lambda captions: {key: list(texts) for key, texts in captions.items()}
    )


@pytest.mark.parametrize("stages", [None, 0])
def test_captions_equal_those_of_the_captioner(make_validator, tiny_bundle, without_java, stages, monkeypatch):
    monkeypatch.setattr(validation, "BATCH", 2)
    validator = make_validator(stages)
    captions = validator(tiny_bundle.model, tiny_bundle.vocabulary, stages).captions
    captioner = Captioner(tiny_bundle, "cpu")
    expected = captioner.caption([record.path for record in validator.data.records])
    assert [caption.text for caption in captions] == [caption.text for caption in expected]
    for caption, expected_caption in zip(captions, expected, strict=True):
        assert caption.frame == expected_caption.frame
        np.testing.assert_allclose(caption.alphas, expected_caption.alphas, atol=0.01)


def test_scores_equal_the_official_ones(make_validator):
    validator = make_validator()
    texts = ["a red circle above a square", "a green circle", "a blue square above a yellow circle"]
    scores = validator.score(texts)
    references = tokenise_for_scoring(dict(enumerate(REFERENCES)))
    candidates = tokenise_for_scoring({number: [text] for number, text in enumerate(texts)})
    cider, _ = Cider().compute_score(references, candidates)
    bleu, _ = Bleu(4).compute_score(references, candidates, verbose=0)
    assert scores == pytest.approx({"CIDEr": cider, "Bleu_1": bleu[0], "Bleu_4": bleu[3]}, abs=1e-9)
    assert 0.1 < scores["CIDEr"] < 10 and scores["Bleu_1"] > scores["Bleu_4"] > 0


def test_validation_scores_the_captions_that_it_returns(make_validator, tiny_bundle):
    validator = make_validator()
    result = validator(tiny_bundle.model, tiny_bundle.vocabulary, None)
    assert result.scores == validator.score([caption.text for caption in result.captions])


def test_validation_disables_dropout(make_validator, tiny_bundle, without_java):
    validator = make_validator()
    first = validator(tiny_bundle.model.train(), tiny_bundle.vocabulary, None)
    second = validator(tiny_bundle.model.train(), tiny_bundle.vocabulary, None)
    assert [caption.log_prob for caption in first.captions] == [caption.log_prob for caption in second.captions]


def test_several_data_sets_are_scored_separately(make_validator):
    """CIDEr weighs n-grams by the photos of the same data set; the result is the mean over the data sets."""
    texts = ["a red circle above a square", "a green circle", "a blue square above a yellow triangle"]
    single, several = make_validator(), make_validator(parts=parts_of(["first", "second"], [2, 1]))
    by_data = several.scores_by_data(texts)
    references = tokenise_for_scoring(dict(enumerate(REFERENCES)))
    for name, positions in (("first", range(2)), ("second", [2])):
        own_references = {number: references[number] for number in positions}
        candidates = {number: [texts[number]] for number in positions}
        cider, _ = Cider().compute_score(own_references, candidates)
        bleu, _ = Bleu(4).compute_score(own_references, candidates, verbose=0)
        assert by_data[name] == pytest.approx({"CIDEr": cider, "Bleu_1": bleu[0], "Bleu_4": bleu[3]}, abs=1e-9)
    mean = {name: (by_data["first"][name] + by_data["second"][name]) / 2 for name in by_data["first"]}
    assert several.score(texts) == pytest.approx(mean) != single.score(texts)


def test_a_validation_of_several_data_sets_has_the_scores_of_each(make_validator, tiny_bundle, without_java):
    validator = make_validator(parts=[Part("first", 0, 1), Part("second", 1, 2)])
    result = validator(tiny_bundle.model, tiny_bundle.vocabulary, None)
    assert list(result.by_data) == ["first", "second"] and result.to_json() == {
        **result.scores,
        "by_data": result.by_data,
    }
    assert len(result.captions) == 3
    single = make_validator()(tiny_bundle.model, tiny_bundle.vocabulary, None)
    assert single.by_data == {} and single.to_json() == single.scores
