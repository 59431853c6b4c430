"""A teacher's predictions are those of its decoder, which runs once for each caption of a photo."""

import pytest
import torch

from captioner.model.encoders import TwoScales
from captioner.text.vocabulary import PAD, UNKNOWN
from tests.support.decoder_runs import count_runs
from training.data.dataset import pad_captions
from training.teacher import Teacher

CAPTIONS = [[[4, 5, 6], [7, 8]], [[9, 4]], [[5], [6, 7, 8, 9], [4, 4]]]
"""Captions of three photos as word ids; the teacher does not know the word 9."""


@pytest.fixture
def annotations():
    return torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def decoder(make_decoder):
    return make_decoder(words=5)  # besides the four special ones: words below 9


def select(photos, captions=slice(None)):
    """Return the captions of these photos, or some of each: inputs, and which positions exist."""
    inputs, targets = pad_captions([CAPTIONS[photo][captions] for photo in photos])
    return inputs, targets != PAD


def predict(teacher, annotations, photos, captions=slice(None), keep=True):
    inputs, exists = select(photos, captions)
    output = teacher(annotations[photos], inputs, exists, tuple(photos) if keep else None)
    return output.logits, output.alphas


def expect(decoder, annotations, photos, captions=slice(None)):
    """Compute the predictions by the decoder's plain forward pass."""
    inputs, exists = select(photos, captions)
    with torch.no_grad():
        output = decoder(annotations[photos], inputs.where(inputs < 9, UNKNOWN))
    return output.logits[exists], output.alphas[exists]


def test_predictions_are_those_of_the_decoder_in_every_epoch(decoder, annotations):
    teacher = Teacher(decoder)
    for photos in ([0, 1, 2], [2, 0], [1], [1, 2, 0]):
        torch.testing.assert_close(predict(teacher, annotations, photos), expect(decoder, annotations, photos))
    assert not any(parameter.requires_grad for parameter in decoder.parameters())


def test_the_decoder_runs_once_for_each_caption(decoder, annotations):
    teacher, runs = Teacher(decoder), count_runs(decoder)
    predict(teacher, annotations, [0, 1])
    predict(teacher, annotations, [1, 2])
    assert [shape[0] for shape in runs] == [2, 1]
    for photos in ([2, 1, 0], [0, 2]):
        predict(teacher, annotations, photos)
    assert len(runs) == 2


def test_photos_with_a_caption_that_was_not_drawn_before_are_computed(decoder, annotations):
    teacher, runs = Teacher(decoder), count_runs(decoder)
    for captions, images in ((slice(0, 1), 3), (slice(None), 2), (slice(1, 2), None), (slice(1, None), None)):
        photos = [0, 2, 1] if captions.start is None or images else [0, 2]
        before = len(runs)
        found = predict(teacher, annotations, photos, captions)
        assert [shape[0] for shape in runs[before:]] == ([images] if images else [])
        torch.testing.assert_close(found, expect(decoder, annotations, photos, captions))


def test_equal_captions_of_two_photos_are_kept_apart(decoder, annotations):
    teacher = Teacher(decoder)
    inputs, targets = pad_captions([[[4, 5]], [[4, 5]]])
    for photos in ([0, 1], [1, 2], [2, 0]):
        found = teacher(annotations[photos], inputs, targets != PAD, tuple(photos))
        with torch.no_grad():
            expected = decoder(annotations[photos], inputs)
        torch.testing.assert_close(found.logits, expected.logits.flatten(0, 2))


@pytest.mark.parametrize(("most_bytes", "keep"), [(0, True), (2**20, False)])
def test_nothing_is_kept_without_room_or_for_changing_annotations(decoder, annotations, most_bytes, keep):
    teacher, runs = Teacher(decoder, most_bytes), count_runs(decoder)
    for scale in (1, 2):
        photos = [0, 1, 2]
        found = predict(teacher, scale * annotations, photos, keep=keep)
        torch.testing.assert_close(found, expect(decoder, scale * annotations, photos))
    assert len(runs) == 4  # two of the teacher, two of the test


def test_results_that_do_not_fit_are_computed_each_time(decoder, annotations):
    logits, alphas = predict(Teacher(decoder), annotations, [0])
    vector = decoder.output.in_features
    size = alphas.numel() * 4 + len(logits) * vector * 4
    teacher, runs = Teacher(decoder, most_bytes=size), count_runs(decoder)
    for photos in ([0], [1], [0, 1], [1, 0, 2]):
        found = predict(teacher, annotations, photos)
        torch.testing.assert_close(found, expect(decoder, annotations, photos))
    assert [shape[0] for shape in runs if shape[0]] == [1, 1, 1, 1, 1, 2, 2, 3]


def test_a_share_of_a_batch_without_photos_has_no_predictions(decoder, annotations):
    inputs, exists = select([0])
    output = Teacher(decoder)(annotations[:0], inputs[:0], exists[:0], ())
    assert output.logits.shape == (0, 9) and output.alphas.shape == (0, 4)


def test_a_teacher_of_one_scale_reads_the_last_map_of_two(decoder):
    generator = torch.Generator().manual_seed(2)
    maps = TwoScales(torch.randn(3, 7, 2, 2, generator=generator), torch.randn(3, 2, 4, 4, generator=generator))
    last_alone = maps.annotations()[..., :7]
    teacher = Teacher(decoder)
    inputs, exists = select([0, 1, 2])
    for photos in ([0], [0, 1, 2], [0, 1, 2]):
        inputs, exists = select(photos)
        found = teacher(maps[photos], inputs, exists, tuple(photos))
        torch.testing.assert_close((found.logits, found.alphas), expect(decoder, last_alone, photos))
