"""A teacher's predictions are those of its decoder, at the positions that exist."""

from types import SimpleNamespace

import pytest
import torch

from captioner.model.encoders import TwoScales
from captioner.text.vocabulary import PAD, UNKNOWN
from training import objectives
from training.data.dataset import pad_captions
from training.objectives import TEACHER_GROUP, Teacher
from training.options import FitOptions
from training.setup import make_criterion

CAPTIONS = [[[4, 5, 6], [7, 8]], [[9, 4]], [[5], [6, 7, 8, 9], [4, 4]]]
"""Captions of three photos as word ids; the teacher does not know the word 9."""


@pytest.fixture
def annotations():
    return torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def decoder(make_decoder):
    return make_decoder(words=5).eval()  # besides the four special ones: words below 9


@pytest.fixture
def data(annotations):
    """Captions of the three photos, whose features are their annotations."""
    return Captions([[list(words) for words in captions] for captions in CAPTIONS], annotations)


class Captions:
    def __init__(self, tokens, annotations):
        self.tokens, self._annotations = tokens, annotations

    def __len__(self):
        return len(self.tokens)

    def features(self, photos):
        return self._annotations[list(photos)]


class Encoder:
    """Returns the features as annotations, and records the photos."""

    def __init__(self):
        self.photos = []

    def __call__(self, features, photos):
        self.photos += photos
        return features


def expect(decoder, annotations, inputs, exists):
    """Compute the predictions by the decoder's plain forward pass."""
    with torch.no_grad():
        output = decoder(annotations, inputs.where(inputs < 9, UNKNOWN))
    return output.logits[exists], output.alphas[exists]


def predict(teacher, annotations, inputs, exists, photos=(0, 1, 2), encode=None, is_frozen=True):
    return teacher.predict(annotations, photos[: len(inputs)], inputs, exists, encode, is_frozen)


def test_predictions_are_those_of_the_decoder_without_gradients(decoder, annotations):
    inputs, targets = pad_captions(CAPTIONS)
    found = predict(Teacher(decoder), annotations, inputs, targets != PAD)
    torch.testing.assert_close(found, expect(decoder, annotations, inputs, targets != PAD))
    assert len(found[0]) == sum(len(words) + 1 for captions in CAPTIONS for words in captions)
    assert not any(values.requires_grad for values in found)


def test_a_share_of_a_batch_without_photos_has_no_predictions(decoder, annotations, data):
    inputs, targets = pad_captions(CAPTIONS[:1])
    logits, alphas = predict(Teacher(decoder, data), annotations[:0], inputs[:0], (targets != PAD)[:0])
    assert logits.shape == (0, 9) and alphas.shape == (0, 4)


def test_a_teacher_of_one_scale_reads_the_last_map_of_two(decoder):
    generator = torch.Generator().manual_seed(2)
    maps = TwoScales(torch.randn(3, 7, 2, 2, generator=generator), torch.randn(3, 2, 4, 4, generator=generator))
    inputs, targets = pad_captions(CAPTIONS)
    found = predict(Teacher(decoder), maps, inputs, targets != PAD)
    expected = expect(decoder, maps.annotations()[..., :7], inputs, targets != PAD)
    torch.testing.assert_close(found, expected)


def test_predictions_are_kept_by_photo_and_caption(decoder, annotations, data):
    """Also if a batch has other photos, another order, or some of the captions."""
    teacher, encode = Teacher(decoder, data), Encoder()
    for photos, selection in (((2, 0), ([2, 0], [1])), ((0, 1, 2), ([1, 0], [0], [0, 1, 2])), ((1,), ([0],))):
        captions = [[CAPTIONS[photo][k] for k in rows] for photo, rows in zip(photos, selection, strict=True)]
        inputs, targets = pad_captions(captions)
        found = predict(teacher, None, inputs, targets != PAD, photos, encode)
        expected = expect(decoder, annotations[list(photos)], inputs, targets != PAD)
        torch.testing.assert_close(found, expected)
    assert encode.photos == [0, 1, 2], "each photo once"


def test_kept_predictions_do_not_depend_on_the_first_batch(make_decoder):
    """Bit by bit, or a resumed run would not continue exactly."""
    decoder, count = make_decoder(words=60, score="dot").eval(), 2 * TEACHER_GROUP + 3
    rng = torch.Generator().manual_seed(0)
    tokens = [torch.randint(4, 64, (2, 3 + photo % 5), generator=rng).tolist() for photo in range(count)]
    data = Captions(tokens, torch.randn(count, 40, 7, generator=rng))
    results = []
    for batches in ([[3, 12, 18], [0, 1, 2]], [[0, 1, 2]]):
        teacher = Teacher(decoder, data)
        for photos in batches:
            inputs, targets = pad_captions([tokens[photo] for photo in photos])
            found = predict(teacher, None, inputs, targets != PAD, photos, Encoder())
        results.append(found)
    assert all(torch.equal(first, second) for first, second in zip(*results, strict=True))


@pytest.mark.parametrize("reason", ["the encoder learns", "mirror images", "many words"])
def test_predictions_that_change_or_are_many_are_not_kept(decoder, annotations, data, reason, monkeypatch):
    monkeypatch.setattr(objectives, "MAX_KEPT_WORDS", 17 if reason == "many words" else 10**6)
    teacher = Teacher(decoder, None if reason == "mirror images" else data)
    inputs, targets = pad_captions(CAPTIONS)
    for factor in (1.0, 2.0):
        found = predict(teacher, factor * annotations, inputs, targets != PAD, is_frozen=reason != "the encoder learns")
        torch.testing.assert_close(found, expect(decoder, factor * annotations, inputs, targets != PAD))


def test_the_teacher_of_a_run_is_frozen_and_without_dropout(decoder):
    start = SimpleNamespace(model=SimpleNamespace(decoder=decoder.train()))
    model = SimpleNamespace(parameters=decoder.parameters, config=SimpleNamespace(labels=0))
    options = FitOptions(distillation_weight=1.0)
    features = SimpleNamespace(stages=None, train=SimpleNamespace(caches=[None], tokens=[]))
    assert make_criterion(model, None, features, options, start).teacher.decoder is decoder
    assert not decoder.training and not any(parameter.requires_grad for parameter in decoder.parameters())
