"""The shipped captioner (captioner/bundles/default) loads, is small, and describes photos correctly."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import captioner
from captioner.bundle.bundle import DEFAULT_BUNDLE
from captioner.captioner import Captioner
from captioner.confidence.wording import wording

EXAMPLES = Path(__file__).parents[3] / "examples"
PAPER = {"Bleu_2": 0.457, "Bleu_3": 0.314, "Bleu_4": 0.213, "METEOR": 0.203}
"""The best of each column for Flickr8k in Xu et al. 2015, table 1, except BLEU-1: 0.67 there, 0.669 here."""


@pytest.fixture(scope="module")
def shipped() -> Captioner:
    return captioner.load(device="cpu")


def test_the_bundle_is_small_enough_for_git():
    assert sum(file.stat().st_size for file in DEFAULT_BUNDLE.rglob("*")) <= 30e6


def test_the_card_shows_the_scores_of_its_metrics_which_beat_the_paper(shipped):
    scores = shipped.bundle.metrics["test"]
    for name, best in PAPER.items():
        assert scores[name] > best
        assert f"{scores[name]:.3f}" in shipped.bundle.card


@pytest.mark.parametrize(
    "photo, words", [("coffee", {"cup", "coffee", "table"}), ("dogs", {"brown", "dog"}), ("cat", {"cat"})]
)
def test_the_caption_names_the_content_of_a_photo(shipped, photo, words):
    (caption,) = shipped.caption([EXAMPLES / f"{photo}.jpg"])
    assert words <= {*caption.words}
    assert caption.alphas.shape == (len(caption.words), 20, 20)
    assert np.allclose(caption.alphas.sum(axis=(1, 2)), 1, atol=1e-4)


def test_the_card_shows_how_often_maps_point_at_the_named_object(shipped):
    scores = shipped.bundle.metrics["validation"]
    assert scores["attention_correctness"] > 0.7 and scores["pointing"] > 0.75
    sentence = "attention correctness {attention_correctness:.3f}, pointing {pointing:.3f}."
    assert sentence.format(**scores) in shipped.bundle.card


def test_the_maps_of_the_word_dog_peak_on_a_dog(shipped):
    (caption,) = shipped.caption([EXAMPLES / "dogs.jpg"])
    maps = (
        caption.alphas[caption.words.index("dog")],
        shipped.occlusion_maps(EXAMPLES / "dogs.jpg", caption)[caption.words.index("dog")],
    )
    for alpha in maps:
        row, column = np.unravel_index(alpha.argmax(), alpha.shape)
        x, y = (column + 0.5) / 20, (row + 0.5) / 20
        assert (0.30 < x < 0.53 and 0.23 < y < 0.47) or (0.46 < x < 0.69 and 0.43 < y < 0.67)  # on either of the dogs


def test_the_map_of_the_word_cup_peaks_on_the_cup(shipped):
    (caption,) = shipped.caption([EXAMPLES / "coffee.jpg"])
    alpha = caption.alphas[caption.words.index("cup")]
    row, column = np.unravel_index(alpha.argmax(), alpha.shape)
    assert 0.25 < (column + 0.5) / 20 < 0.75 and 0.1 < (row + 0.5) / 20 < 0.85


def test_a_drawing_is_less_sure_than_a_photo(shipped):
    photo, drawing = shipped.caption([EXAMPLES / "coffee.jpg", Image.effect_noise((320, 240), 90).convert("RGB")])
    assert wording(photo.confidence) != "guess" and wording(drawing.confidence) == "guess"


def test_a_photo_gets_the_same_caption_alone_and_in_a_batch(shipped):
    photos = sorted(EXAMPLES.glob("*.jpg"))
    together = [caption.text for caption in shipped.caption(photos)]
    assert together[-1] == shipped.caption(photos[-1:])[0].text
    assert len(set(together)) == len(photos)
