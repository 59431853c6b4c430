"""Numbers are finite, and no integer is too large to ask."""

import pytest

from captioner.numbers import is_number


@pytest.mark.parametrize("value", [0, -3, 0.5, 1e308, 10**308])
def test_finite_numbers_are_numbers(value):
    assert is_number(value)


@pytest.mark.parametrize("value", [10**309, -(10**400), float("inf"), float("nan"), True, "1", None, [1], 1j])
def test_other_values_are_not(value):
    assert not is_number(value)
