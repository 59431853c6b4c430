"""Scores of translations are sacrebleu's, for all sentences and by length."""

import pytest

from captioner.errors import DataError
from training.translation.scores import length_group, score_translations, scores_by_length, sentence_scores

GERMAN = ["Ein Hund läuft über die grüne Wiese.", "Zwei Männer fahren ein rotes Fahrrad."]


def test_the_reference_itself_has_a_score_of_100():
    scores = score_translations(GERMAN, GERMAN)
    assert scores.bleu == pytest.approx(100) and scores.chrf == pytest.approx(100) and scores.sentences == 2
    assert "case:mixed" in scores.signature and "tok:13a" in scores.signature


def test_bleu_counts_case_and_order():
    assert score_translations([text.lower() for text in GERMAN], GERMAN).bleu < 80
    assert score_translations([" ".join(reversed(text.split())) for text in GERMAN], GERMAN).bleu < 20


def test_a_worse_sentence_has_a_lower_score():
    best, worst = sentence_scores([GERMAN[0], "Ein Hund."], [GERMAN[0]] * 2)
    assert best == pytest.approx(100) and 0 < worst < 60


@pytest.mark.parametrize(
    ("words", "group"),
    [(1, "up to 10"), (10, "up to 10"), (11, "11-15"), (15, "11-15"), (20, "16-20"), (21, "over 20")],
)
def test_sentences_are_grouped_by_their_number_of_words(words, group):
    assert length_group("word " * words) == group


def test_scores_by_length_leave_out_empty_groups():
    found = scores_by_length(["a b", "word " * 12], [GERMAN[0], "falsch"], GERMAN)
    assert list(found) == ["up to 10", "11-15"]
    assert found["up to 10"].bleu == pytest.approx(100) and found["11-15"].bleu < 1


def test_no_translation_is_an_error():
    with pytest.raises(DataError, match="no translation to score"):
        score_translations([], [])
