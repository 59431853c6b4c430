"""Sentences in, translations with their matrices out."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from captioner.errors import ConfigError, TextError
from captioner.text.vocabulary import END
from captioner.translation.config import MAX_PIECES, TRANSLATION, max_translated_pieces
from captioner.translation.subwords import Subwords
from captioner.translation.translator import Translator, encode_sentence

SENTENCES = ["A dog runs.", "Two men ride a red bicycle over the grass.", "a woman", "A dog, and a book!"]


@pytest.fixture
def translator(tiny_translator):
    return Translator(tiny_translator, "cpu")


def test_every_sentence_gets_a_translation_with_a_row_for_each_word(translator):
    for sentence, found in zip(SENTENCES, translator.translate(SENTENCES), strict=True):
        assert "".join(found.source_words) == sentence.replace(" ", "")
        assert found.weights.shape == (len(found.words), len(found.source_words))
        np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-4)
        assert found.text.replace(" ", "") == "".join(found.words)
        assert len(found.word_probabilities) == len(found.words) and (found.word_probabilities <= 1).all()
        assert 0 < found.probability <= 1
        assert found.word_log_probs.sum() >= found.log_prob - 1e-4  # the end of the sentence counts as well


def test_the_order_and_the_batches_change_nothing(translator):
    one = [translator.translate([sentence])[0] for sentence in SENTENCES]
    for found in (translator.translate(SENTENCES), translator.translate(SENTENCES, batch_size=2)):
        assert [each.text for each in found] == [each.text for each in one]
        assert [each.log_prob for each in found] == pytest.approx([each.log_prob for each in one], abs=1e-4)


def test_n_best_translations_come_best_first(translator):
    options = dataclasses.replace(translator.decoding, beam_width=4, captions_per_image=3)
    for ranked in translator.translations(SENTENCES, options):
        assert len(ranked) == 3 and len({each.text for each in ranked}) == 3
        assert [each.score for each in ranked] == sorted((each.score for each in ranked), reverse=True)


def test_a_fixed_vector_stands_for_all_pieces_alike(make_translator):
    (found,) = Translator(make_translator(summary="last"), "cpu").translate(["A dog"])
    np.testing.assert_allclose(found.weights, np.repeat(found.weights[:1], len(found.words), axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-4)


@pytest.mark.parametrize("text", ["", "   ", "\n\x00"])
def test_no_text_is_refused(translator, text):
    with pytest.raises(TextError, match="no text to translate"):
        translator.translate([text])


def test_a_text_of_ten_thousand_words_is_refused(translator):
    with pytest.raises(TextError, match=f"at most {MAX_PIECES}"):
        translator.translate(["dog " * 10_000])


@pytest.mark.parametrize("text", ["собака бежит", "狗", "🐶", "!!!"])
def test_a_text_without_a_known_letter_is_refused_with_the_language(translator, text):
    with pytest.raises(TextError, match="reads the language 'en'"):
        translator.translate([text])


def test_nothing_is_translated_if_one_text_is_refused(translator, monkeypatch):
    monkeypatch.setattr(translator, "_translate", lambda *arguments: pytest.fail("translated"))
    with pytest.raises(TextError):
        translator.translate(["a dog", ""])


def test_a_text_that_is_refused_can_get_an_empty_translation_in_its_place(translator):
    texts = [SENTENCES[0], "...", SENTENCES[1], "", "\u266a", "dog " * (MAX_PIECES + 1)]
    found = translator.translate(texts, strict=False)
    assert [each.text for each in found] == [
        translator.translate([text])[0].text if text in SENTENCES else "" for text in texts
    ]
    assert found[1].words == () and found[1].weights.size == 0 and found[1].probability == 0
    options = dataclasses.replace(translator.decoding, captions_per_image=2)
    assert [len(ranked) for ranked in translator.translations(texts, options, strict=False)] == [2, 1, 2, 1, 1, 1]
    with pytest.raises(TextError):
        translator.translate(texts)


def steps_of(translator, monkeypatch, text):
    """Return the number of decoding steps of a translation, and its number of pieces."""
    steps, step = [], translator.model.decoder.step
    monkeypatch.setattr(translator.model.decoder, "step", lambda *arguments: steps.append(1) or step(*arguments))
    lengths, make = [], translator._translation
    monkeypatch.setattr(
        translator, "_translation",
        lambda hypotheses, *rest: lengths.append(int(hypotheses.lengths[0, 0])) or make(hypotheses, *rest),
    )  # fmt: skip
    translator.translate([text], TRANSLATION)
    return len(steps), lengths[0]


def test_a_translation_that_never_ends_is_as_long_as_its_sentence_allows(translator, monkeypatch):
    with torch.no_grad():
        translator.model.decoder.output_bias[END] = -100.0  # it ends only where it must
    text = "A dog runs."
    most = max_translated_pieces(len(translator.encode(text)))
    assert steps_of(translator, monkeypatch, text) == (most + 1, most)
    beside_longer = translator.translate([text, text * 12])[0]  # which may have a longer translation
    assert beside_longer.text == translator.translate([text])[0].text
    options = dataclasses.replace(translator.decoding, max_words=3)
    assert len(translator.bundle.target.encode(translator.translate([text], options)[0].text)) <= 3


@pytest.mark.parametrize(("pieces", "most"), [(1, 52), (8, 52), (9, 84), (400, 1620)])
def test_a_longer_sentence_may_have_a_longer_translation(pieces, most):
    assert max_translated_pieces(pieces) == most


def test_a_text_in_capitals_is_read_in_lower_case(translator):
    text = "TWO MEN RIDE A BICYCLE."
    assert translator.encode(text) == translator.encode(text.lower())
    (found,) = translator.translate([text])
    assert "".join(found.source_words) == text.replace(" ", "")  # the words are shown as they were written
    assert translator.encode("TWO MEN ride") != translator.encode("two men ride")


def test_a_name_in_capitals_that_is_known_stays(translator):
    pieces = Subwords.learn(["A NASA rocket", "NASA"] * 5 + ["a cat"], 60)
    assert encode_sentence("NASA", pieces, "en") == pieces.encode("NASA")


def test_capitals_without_a_lower_case_of_one_character_stay(translator):
    (found,) = translator.translate(["A DOG \u0130N A RED HAT"])
    assert "".join(found.source_words) == "ADOG\u0130NAREDHAT"


def test_the_search_stops_when_no_hypothesis_goes_on(translator, monkeypatch):
    with torch.no_grad():
        translator.model.decoder.output_bias[END] = 5.0
    steps, length = steps_of(translator, monkeypatch, "A dog runs.")
    assert length <= steps < 10


def test_a_device_that_cannot_be_used_is_named(tiny_translator):
    with pytest.raises(ConfigError, match="the device abacus cannot be used"):
        Translator(tiny_translator, "abacus")


def test_probabilities_of_pieces_multiply_to_those_of_words(translator):
    (found,) = translator.translate(["A dog runs."])
    assert math.prod(found.word_probabilities) == pytest.approx(math.exp(found.word_log_probs.sum()), rel=1e-5)
