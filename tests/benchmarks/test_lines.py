"""Lines are fitted by least squares."""

import pytest

from benchmarks.lines import fit_line


def test_a_straight_line_is_found():
    line = fit_line([1, 2, 4], [5.0, 7.0, 11.0])
    assert (line.slope, line.intercept, line.r_squared) == (pytest.approx(2), pytest.approx(3), pytest.approx(1))
    assert line.at(3) == pytest.approx(9)


def test_equal_values_lie_on_their_line():
    line = fit_line([1, 2, 4], [5.0, 5.0, 5.0])
    assert line.slope == pytest.approx(0) and line.r_squared == 1
