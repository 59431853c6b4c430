"""The benchmark of attention's cost: every case is measured, and a line is fitted to the times per word."""

import math

import pytest
import torch

from benchmarks import attention_cost
from benchmarks.attention_cost import Results, Word, measure, nearest_line
from tests.support.benchmark_results import check


def test_locations_and_hypotheses_are_varied(shipped):
    results = measure(shipped, quick=True)
    check(attention_cost, Results(results.rows, ()), "dot", "additive")
    assert [(row.places, row.beam_width) for row in results.rows[:6]] == [
        (4, 2), (9, 2), (16, 2), (9, 1), (9, 2), (9, 3),
    ]  # fmt: skip
    assert [(line.score, line.what, line.against) for line in results.lines] == [
        (score, what, against)
        for score in ("dot", "additive")
        for against in ("locations", "hypotheses")
        for what in ("a word", "its attention")
    ]
    assert all(math.isfinite(line.slope_us) and line.r_squared <= 1 for line in results.lines)


def test_the_fitted_line_minimises_squared_errors():
    straight = nearest_line("dot", "a word", "places", [1, 2, 4], [5.0, 7.0, 11.0])
    assert (straight.slope_us, straight.intercept_us) == (pytest.approx(2), pytest.approx(3))
    assert straight.r_squared == pytest.approx(1)
    assert nearest_line("dot", "a word", "places", [1, 2, 3], [1.0, 2.0, 1.0]).r_squared == pytest.approx(0)


@pytest.mark.parametrize("query", ["hidden", "hidden_word"])
@pytest.mark.parametrize("score", ["dot", "additive", "general"])
def test_the_timed_attention_equals_the_attention_of_a_step(make_decoder, score, query):
    decoder = make_decoder(10, score=score, query=query)
    word = Word(decoder, locations=6, beam_width=3, times=1)
    with torch.inference_mode():
        _, _, alpha, *_ = decoder.step(word._features, word._state, word._tokens)
        torch.testing.assert_close(word.attend()[0], alpha)
