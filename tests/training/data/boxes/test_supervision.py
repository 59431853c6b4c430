"""Boxes supervise the maps of head words, in batches of plain and mirrored photos."""

from pathlib import Path

import numpy as np
import pytest
import torch

from captioner.images.fitting import ImageFrame
from captioner.text.vocabulary import SPECIAL_WORDS, Vocabulary
from training.data.boxes.box_set import BoxSet, PhotoBoxes, Phrase
from training.data.boxes.supervision import count_supervised, regions_of
from training.data.dataset import CaptionDataset
from training.data.records import ImageRecord
from training.losses import attention_supervision_loss

WHOLE = ImageFrame(40, 20, (0.0, 0.0, 40.0, 20.0))
LEFT_HALF, RIGHT_EDGE = (0.0, 0.0, 0.5, 1.0), (0.875, 0.0, 1.0, 0.5)
CAPTIONS = ("A red dog sees the ball.", "two dogs", "nothing of note")
RECORD = ImageRecord("photo", Path("photo.jpg"), CAPTIONS, "train")


def box_set(*boxes):
    """Boxes of the dog (words 0 to 2) and the ball (4 and 5) of the first caption, the dogs of the second."""
    dog, ball = boxes
    phrases = {
        ("a", "red", "dog", "sees", "the", "ball"): [
            Phrase(0, 2, (dog,), ("animals",)),
            Phrase(4, 5, (ball,), ("other",)),
        ],
        ("two", "dogs"): [Phrase(0, 1, (dog,), ("animals",))],
        ("nothing", "of", "note"): [],
    }
    return BoxSet("drawn", {"photo.jpg": PhotoBoxes(phrases, ())})


def test_head_words_are_supervised_with_the_boxes_of_their_phrase():
    regions = regions_of(RECORD, box_set(LEFT_HALF, RIGHT_EDGE), WHOLE, (2, 4))
    assert regions.words == (((2, 0), (5, 1)), ((1, 0),), ())
    assert count_supervised([regions, regions]) == 6
    np.testing.assert_array_equal(regions.coverage[0], [[1, 1, 0, 0]] * 2)
    np.testing.assert_array_equal(regions.coverage[1], [[0, 0, 0, 0.5], [0, 0, 0, 0]])


def test_boxes_outside_the_models_input_supervise_nothing():
    crop = ImageFrame(40, 20, (10.0, 0.0, 30.0, 20.0))
    regions = regions_of(RECORD, box_set(LEFT_HALF, RIGHT_EDGE), crop, (2, 2))
    assert regions.words == (((2, 0),), ((1, 0),), ())
    np.testing.assert_array_equal(regions.coverage[0], [[1, 0]] * 2)


@pytest.mark.parametrize("boxes", [BoxSet("empty", {}), BoxSet("other", {"another.jpg": PhotoBoxes({}, ())})])
def test_photos_and_captions_without_boxes_have_no_supervision(boxes):
    regions = regions_of(RECORD, boxes, WHOLE, (2, 4))
    assert regions.words == ((), (), ()) and regions.coverage.shape == (0, 2, 4)
    assert count_supervised([regions]) == 0


class Cache:
    shape = (1,)

    def __init__(self, view):
        self.view = view

    def read(self, photos):
        return np.full((len(photos), 1), self.view, np.float16)


def test_batches_hold_the_regions_of_words_mirrored_with_the_photo():
    words = sorted({word.strip(".") for caption in CAPTIONS for word in caption.lower().split()})
    vocabulary = Vocabulary((*SPECIAL_WORDS, *words))
    regions = [regions_of(RECORD, box_set(LEFT_HALF, RIGHT_EDGE), WHOLE, (2, 4))]
    data = CaptionDataset([RECORD], vocabulary, [Cache(0), Cache(1)], regions=regions)
    views = set()
    for epoch in range(12):
        (batch,) = data.batches(epoch, 8, 5, seed=0)
        mirrored = bool(batch.features[0, 0])
        views.add(mirrored)
        inside = batch.inside.unflatten(-1, (2, 4))  # [B, K, T, H, W]
        assert inside.shape == (1, 3, 7, 2, 4)
        for row, targets in enumerate(batch.targets[0]):
            caption_words = vocabulary.decode(targets.tolist())
            for position, word in enumerate(caption_words):
                expected = np.zeros((2, 4))
                if word in ("dog", "dogs"):
                    expected[:, :2] = 1
                elif word == "ball":
                    expected[0, 3] = 0.5
                expected = expected[:, ::-1] if mirrored else expected
                np.testing.assert_array_equal(inside[0, row, position].numpy(), expected)
    assert views == {False, True}


def test_without_boxes_a_batch_has_no_regions():
    (batch,) = CaptionDataset([RECORD], Vocabulary(SPECIAL_WORDS), [Cache(0)]).batches(0, 8, 5, seed=0)
    assert batch.inside is None


def test_the_supervision_loss_counts_only_words_with_regions():
    alphas = torch.tensor([[[[0.5, 0.5, 0.0], [0.2, 0.2, 0.6], [1.0, 0.0, 0.0]]]])  # [B, K, T, L]
    inside = torch.tensor([[[[1.0, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]]]])
    by_hand = ((0.25 - np.log(0.751)) + (1 - np.log(0.001))) / 2
    assert attention_supervision_loss(alphas, inside).item() == pytest.approx(by_hand, rel=1e-5)
    assert attention_supervision_loss(alphas, torch.zeros_like(inside)).item() == 0
