"""JSON is refused if it cannot be written again, and numbers are finite."""

import pytest

from captioner.text.json_values import is_number, parse_json


@pytest.mark.parametrize("value", [0, -3, 0.5, 1e308, 10**308])
def test_finite_numbers_are_numbers(value):
    assert is_number(value)


@pytest.mark.parametrize("value", [10**309, -(10**400), float("inf"), float("nan"), True, "1", None, [1], 1j])
def test_other_values_are_not(value):
    assert not is_number(value)


def test_json_with_halves_is_refused():
    assert parse_json(b'{"a": "\\ud83d\\udc15"}') == {"a": "\U0001f415"}
    with pytest.raises(ValueError):
        parse_json(b'{"a": ["\\ud83d"]}')
