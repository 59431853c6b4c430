"""The reward equals the official CIDEr-D, with the document frequencies of all references."""

import random
import time

import numpy as np
import pytest
from pycocoevalcap.cider.cider import Cider

from captioner.errors import DataError
from training.reward import CiderReward

WORDS = "a the dog cat man woman runs sits on in with red small grass street ball hat two of and".split()


def sentences(count: int, seed: int) -> list[str]:
    """Return captions of 1 to 14 words out of 20, so that n-grams repeat across images and within captions."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 14))) for _ in range(count)]


@pytest.fixture(scope="module")
def references():
    captions = iter(sentences(400, seed=1))
    references = {f"{n}.jpg": [next(captions) for _ in range(1 + n % 5)] for n in range(60)}
    references["0.jpg"].append("")
    return references


def test_rewards_equal_the_official_cider_on_the_whole_set(references):
    captions = sentences(len(references) - 3, seed=2)
    captions += ["", "dog dog dog dog dog", references["59.jpg"][0]]  # no words; clipped; a reference itself
    official, per_image = Cider().compute_score(
        references, {image_id: [caption] for image_id, caption in zip(references, captions, strict=True)}
    )
    rewards = CiderReward(references).score(list(references), captions)
    assert rewards.dtype == np.float64 and rewards.shape == (60,)
    np.testing.assert_allclose(rewards, per_image, atol=1e-9)
    assert rewards.mean() == pytest.approx(official, abs=1e-9)
    assert rewards[-3] == 0 and rewards[-1] > 2


def test_document_frequencies_are_those_of_all_references(references):
    captions = sentences(60, seed=3)
    reward = CiderReward(references)
    together = reward.score(list(references), captions)
    one_by_one = [float(reward.score([i], [c])[0]) for i, c in zip(references, captions, strict=True)]
    np.testing.assert_array_equal(one_by_one, together)


def test_an_image_may_occur_many_times_and_in_any_order(references):
    reward = CiderReward(references)
    captions = sentences(4, seed=4)
    first = reward.score(["8.jpg", "9.jpg", "8.jpg", "9.jpg"], captions)
    again = reward.score(["9.jpg", "9.jpg", "8.jpg", "8.jpg"], [captions[n] for n in (3, 1, 2, 0)])
    np.testing.assert_array_equal(again, first[[3, 1, 2, 0]])
    assert reward.score([], []).shape == (0,)


def test_a_repeated_word_and_another_images_caption_lower_the_reward():
    reward = CiderReward({1: ["a red ball on grass", "a ball"], 2: ["a cat in a hat"], 3: ["two men and a ball"]})
    captions = ["a red ball on grass", "a red red red ball on grass", "a cat in a hat"]
    right, repeated, wrong = reward.score([1, 1, 1], captions)
    assert right > repeated > wrong == 0


def test_every_reward_of_a_single_image_is_zero_as_in_the_official_code():
    references = {1: ["a dog runs", "the dog"]}
    assert (
        CiderReward(references).score([1], ["a dog runs"])[0]
        == Cider().compute_score(references, {1: ["a dog runs"]})[0]
        == 0
    )


def test_30000_captions_of_11_words_take_less_than_a_minute_of_one_core():
    draw = random.Random(5)

    def caption() -> str:
        return " ".join(draw.choices(WORDS, k=11))

    reward = CiderReward({n: [caption() for _ in range(5)] for n in range(200)})
    ids, captions = [n % 200 for n in range(1000)], [caption() for _ in range(1000)]
    started_at = time.process_time()
    reward.score(ids, captions)
    assert time.process_time() - started_at < 60 / 30


def test_missing_references_and_unknown_images_are_refused(references):
    with pytest.raises(DataError, match="no references to reward"):
        CiderReward({})
    with pytest.raises(DataError, match="'b' has no reference"):
        CiderReward({"a": ["x"], "b": []})
    reward = CiderReward(references)
    with pytest.raises(DataError, match="'new.jpg' has no references"):
        reward.score(["new.jpg"], ["a dog"])
    with pytest.raises(ValueError):
        reward.score(["1.jpg", "2.jpg"], ["a dog"])
