"""Features of a caption and of its words are computed from the search, the maps and the photo's labels."""

import math
from dataclasses import replace

import numpy as np
import pytest

from captioner.confidence.features import caption_features, word_features
from captioner.labels.reader import PhotoLabel
from captioner.text.lexicon import ENGLISH, UnlistedLanguage
from tests.support.confidence_models import caption_with_agreement


def test_features_of_a_caption_and_its_words_are_computed():
    caption = replace(caption_with_agreement("a dog and a dog"), word_log_probs=np.array([-1, -2, -3, -4, -6.0]))
    features = caption_features(caption, ENGLISH)
    assert features["log_prob"] == pytest.approx(-3.2) and features["noun_log_prob"] == -4
    assert features["lowest_noun_log_prob"] == -6 and features["nouns"] == 2 and features["repeated_nouns"] == 1
    assert features["noun_agreement"] == pytest.approx(0.625) and features["lowest_noun_agreement"] == 0.25
    assert math.isnan(features["top_label"]) and math.isnan(features["nouns_from_labels"])
    words = word_features(caption, ENGLISH)
    assert [word["noun"] for word in words] == [0, 1, 0, 0, 1]
    assert [word["repeated"] for word in words] == [0, 0, 0, 1, 1]
    assert [word["log_prob"] for word in words] == [-1, -2, -3, -4, -6]
    alone = word_features(replace(caption, agreement=None), ENGLISH)
    assert all(math.isnan(word["agreement"]) for word in alone)
    without_nouns = caption_features(caption, UnlistedLanguage(frozenset(caption.words)))
    assert without_nouns["noun_log_prob"] == pytest.approx(-3.2) and without_nouns["nouns"] == 0


def test_labels_of_the_photo_become_features_where_there_are_some():
    labels = PhotoLabel("Welsh spaniel", 0.5), PhotoLabel("toy terrier", 0.25), PhotoLabel("cup", 0.125)
    caption = replace(caption_with_agreement("a dog and a cup"), labels=labels, word_labels=(None, None, None, None, 2))
    features = caption_features(caption, ENGLISH)
    assert features["top_label"] == 0.5 and features["noun_label_probability"] == 0.0625
    assert features["nouns_from_labels"] == 0.5
    assert features["label_support"] == pytest.approx((0.75 + 0.125) / 2) and features["least_label_support"] == 0.125
    words = word_features(caption, ENGLISH)
    assert [word["label_probability"] for word in words] == [0, 0, 0, 0, 0.125]
    assert [word["label_support"] for word in words] == [0, 0.75, 0, 0, 0.125]  # a spaniel is a dog
