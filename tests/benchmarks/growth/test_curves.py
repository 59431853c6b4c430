"""A curve has the line through its medians, and its table says how far it is from straight."""

import pytest

from benchmarks.growth.curves import Curve, number, report

STRAIGHT = Curve.of("photos", "ms", {1: [4.0, 5.0, 9.0], 2: [7.0], 4: [11.0]})


def test_the_line_goes_through_medians():
    assert (STRAIGHT.line.slope, STRAIGHT.line.intercept) == (pytest.approx(2), pytest.approx(3))
    assert STRAIGHT.line.r_squared == pytest.approx(1)
    assert STRAIGHT.line.at(10) == pytest.approx(23)


def test_the_table_has_the_points_the_line_and_further_columns():
    lines = report(STRAIGHT, {"words": (9, 8, 7)}).splitlines()
    assert lines[0] == "| photos | ms | on the line | words |"
    assert lines[2] == "| 1 | 5.00 (4.00 to 9.00) | 5.00 | 9 |"
    assert "3.00 + 2.00 for one more; R² 1.0000" in lines[-1] and "further than 0 %" in lines[-1]


def test_a_flat_curve_is_described_by_its_rise():
    flat = Curve.of("photos", "MB", {100: [500.0], 1000: [500.0]})
    assert flat.line.r_squared == 1
    assert "rises by 0 % of the mean" in report(flat) or "rises by -0 % of the mean" in report(flat)


def test_a_bend_is_visible_in_the_numbers():
    bent = Curve.of("photos", "ms", {1: [1.0], 2: [4.0], 3: [1.0]})
    assert bent.line.r_squared == pytest.approx(0, abs=1e-9)
    assert "further than 100 % of the mean" in report(bent)


@pytest.mark.parametrize(("x", "text"), [(1600.0, "1,600"), (0.2, "0.200"), (64.0, "64")])
def test_whole_sizes_are_written_whole(x, text):
    assert number(x) == text
