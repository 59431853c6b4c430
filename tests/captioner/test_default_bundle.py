"""Of captioner/bundles/default: the captioner that ships loads, is small enough, and says what a photo shows."""

from pathlib import Path

import numpy as np
import pytest

import captioner
from captioner.bundle import DEFAULT_BUNDLE
from captioner.captioner import Captioner

EXAMPLES = Path(__file__).parents[2] / "examples"
PAPER = {"Bleu_1": 0.67, "Bleu_2": 0.457, "Bleu_3": 0.314, "Bleu_4": 0.213, "METEOR": 0.203}
"""The best of each column for Flickr8k in Xu et al. 2015, table 1."""


@pytest.fixture(scope="module")
def shipped() -> Captioner:
    return captioner.load(device="cpu")


def test_it_is_small_enough_for_git():
    assert sum(file.stat().st_size for file in DEFAULT_BUNDLE.rglob("*")) <= 30e6


def test_its_card_and_its_metrics_say_the_same(shipped):
    scores = shipped.bundle.metrics["test"]
    for name, best in PAPER.items():
        assert scores[name] > best
        assert f"{scores[name]:.3f}" in shipped.bundle.card


@pytest.mark.parametrize("photo, words", [("photographer", {"man", "camera"}), ("dogs", {"dog", "brown"})])
def test_it_says_what_is_on_a_photo(shipped, photo, words):
    (caption,) = shipped.caption([EXAMPLES / f"{photo}.jpg"])
    assert words <= {*caption.words}
    assert caption.alphas.shape == (len(caption.words), 10, 10)
    assert np.allclose(caption.alphas.sum(axis=(1, 2)), 1, atol=1e-4)


def test_a_photo_gets_the_same_caption_alone_and_in_a_batch(shipped):
    photos = sorted(EXAMPLES.glob("*.jpg"))
    together = [caption.text for caption in shipped.caption(photos)]
    assert together[-1] == shipped.caption(photos[-1:])[0].text
    assert len(set(together)) == len(photos)
