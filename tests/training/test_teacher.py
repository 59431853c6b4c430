"""A teacher's predictions are those of its decoder, at the positions that exist."""

from types import SimpleNamespace

import pytest
import torch

from captioner.model.encoders import TwoScales
from captioner.text.vocabulary import PAD, UNKNOWN
from training.data.dataset import pad_captions
from training.objectives import teacher_predictions
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


def expect(decoder, annotations, inputs, exists):
    """Compute the predictions by the decoder's plain forward pass."""
    with torch.no_grad():
        output = decoder(annotations, inputs.where(inputs < 9, UNKNOWN))
    return output.logits[exists], output.alphas[exists]


def test_predictions_are_those_of_the_decoder_without_gradients(decoder, annotations):
    inputs, targets = pad_captions(CAPTIONS)
    found = teacher_predictions(decoder, annotations, inputs, targets != PAD)
    torch.testing.assert_close(found, expect(decoder, annotations, inputs, targets != PAD))
    assert len(found[0]) == sum(len(words) + 1 for captions in CAPTIONS for words in captions)
    assert not any(values.requires_grad for values in found)


def test_a_share_of_a_batch_without_photos_has_no_predictions(decoder, annotations):
    inputs, targets = pad_captions(CAPTIONS[:1])
    logits, alphas = teacher_predictions(decoder, annotations[:0], inputs[:0], (targets != PAD)[:0])
    assert logits.shape == (0, 9) and alphas.shape == (0, 4)


def test_a_teacher_of_one_scale_reads_the_last_map_of_two(decoder):
    generator = torch.Generator().manual_seed(2)
    maps = TwoScales(torch.randn(3, 7, 2, 2, generator=generator), torch.randn(3, 2, 4, 4, generator=generator))
    inputs, targets = pad_captions(CAPTIONS)
    found = teacher_predictions(decoder, maps, inputs, targets != PAD)
    expected = expect(decoder, maps.annotations()[..., :7], inputs, targets != PAD)
    torch.testing.assert_close(found, expected)


def test_the_teacher_of_a_run_is_frozen_and_without_dropout(decoder):
    start = SimpleNamespace(model=SimpleNamespace(decoder=decoder.train()))
    model = SimpleNamespace(parameters=decoder.parameters, config=SimpleNamespace(labels=0))
    options = FitOptions(distillation_weight=1.0)
    assert make_criterion(model, None, SimpleNamespace(stages=None), options, start).teacher is decoder
    assert not decoder.training and not any(parameter.requires_grad for parameter in decoder.parameters())
