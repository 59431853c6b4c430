"""Contestants take turns; the median, the least and the most of their times are reported."""

import time

import pytest
import torch

from benchmarks.tables import figure, table
from benchmarks.timing import Spread, ratio, take_turns, time_in_turns

CPU = torch.device("cpu")


def test_contestants_take_turns_in_alternating_order():
    turns = []
    contestants = {name: lambda number, name=name: turns.append((name, number)) for name in "ab"}
    seconds = time_in_turns(contestants, 3, CPU)
    warm_up, rounds = turns[:2], turns[2:]
    assert warm_up == [("a", 0), ("b", 0)]
    assert rounds == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}


def test_what_measures_give_is_kept_without_the_warm_up():
    given = iter(range(100))
    assert take_turns({1: lambda _: next(given), 2: lambda _: -next(given)}, 3) == {1: [2, 5, 6], 2: [-3, -4, -7]}


def test_a_contestants_time_is_measured():
    seconds = time_in_turns({"short": lambda _: None, "long": lambda _: time.sleep(0.02)}, 2, CPU)
    assert min(seconds["long"]) >= 0.02 and min(seconds["short"]) > 0


def test_a_spread_is_the_median_the_least_and_the_most():
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert str(Spread(1234.5, 0.01234, 99.96)) == "1,234 (0.0123 to 100.0)"


def test_ratios_are_computed_per_round():
    assert ratio([2.0, 30.0, 4.0], of=[1.0, 10.0, 4.0]) == Spread(2.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.0"), (1.0, "1.00"), (0.00123456, "0.00123"), (98765.4, "98,765"), (-12.34, "-12.3")]
)
def test_figures_have_three_significant_digits(value, text):
    assert figure(value) == text


def test_tables_are_markdown():
    assert table(["a", "b"], [("x", 1.5), (3, Spread(1.0, 1.0, 1.0))]).splitlines() == [
        "| a | b |", "| --- | --- |", "| x | 1.50 |", "| 3 | 1.00 (1.00 to 1.00) |",
    ]  # fmt: skip
