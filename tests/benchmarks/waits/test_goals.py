"""The table of what people wait for compares measured figures with goals, scaled to the machine."""

import pytest

from benchmarks import limits, many_photos, one_photo
from benchmarks.limits import BANDWIDTH, MATRIX, Peak
from benchmarks.machine import Machine
from benchmarks.many_photos import BASE, ONE_AT_A_TIME
from benchmarks.tables import figure
from benchmarks.timing import Spread
from benchmarks.waits import folder, goals, retraining, served, start
from benchmarks.waits.goals import PEAKS, Condition, Row, speed_of

WITH_BF16 = Machine("A CPU", 2, 23.6, "x86_64", "3.11.7", "2.6.0", 2, ("amx_bf16",), "cpu", None, False)
WITHOUT_BF16 = Machine("A CPU", 2, 23.6, "x86_64", "3.11.7", "2.6.0", 2, (), "cpu", None, False)
PARTS = ("limits", "start", "served", "one_photo", "folder", "retraining")
NOTHING = dict.fromkeys(PARTS)


def same(value):
    return Spread(value, value, value)


def limits_of(float32, bfloat16, share):
    peaks = [(MATRIX.format("float32"), float32), (MATRIX.format("bfloat16"), bfloat16), (BANDWIDTH, 30.0)]
    row = limits.Row("training step, 32 photos", 164.0, 510.0, same(400.0), 80.0, "operations", same(share))
    return limits.Results(tuple(Peak(name, same(value), "GFLOP/s") for name, value in peaks), (row,))


def photo_of(name, ms, times_ours, times_plain):
    return one_photo.Row(name, ms, 2 * ms, same(times_ours), same(times_plain), name in one_photo.DRAWING)


@pytest.fixture
def measured():
    """Figures of a machine like that of the goals: most aims are reached."""
    started = [
        start.Row(start.IMPORT, same(4.0), same(1.0), (same(0.75), same(0.9))),
        start.Row(start.COMMAND, same(6.0), same(1.5), (same(1.25), same(1.375))),
        start.Row(start.FIRST_START, same(12.0), same(3.0), (same(2.75), same(2.9))),
        start.Row(start.LATER_START, same(8.0), same(2.0), (same(1.75), same(1.9))),
    ]
    photos = [
        photo_of(one_photo.OURS, 28.0, 1.0, 1.3),
        photo_of(one_photo.PLAIN, 21.0, 0.8, 1.0),
        photo_of(one_photo.TEXTBOOK, 240.0, 8.5, 11.4),
        photo_of(one_photo.TEXTBOOK_PLAIN, 230.0, 8.2, 11.0),
    ]
    of_folder = [
        many_photos.Row(BASE, same(150.0), same(1.0)), many_photos.Row(ONE_AT_A_TIME, same(47.0), same(3.2)),
    ]  # fmt: skip
    return {
        "limits": limits_of(PEAKS["float32"], PEAKS["bfloat16"], 0.35),
        "start": start.Results(tuple(started)),
        "served": served.Results(1000.0, 1050.0, 1500.0, 2000, 16, same(90.0), same(150.0), same(200.0)),
        "one_photo": one_photo.Results(tuple(photos), (), same(9.0), ()),
        "folder": folder.Results(tuple(of_folder), 32),
        "retraining": retraining.Results(500, 5, (retraining.Step("in all", 90.0),), 0.6, 0.7, 12),
    }


def verdicts(measured, machine=WITH_BF16):
    lines = goals.report(measured, machine).splitlines()[2:]
    return [line.split(" | ")[-1].strip(" |") for line in lines if line.startswith("| ")]


def test_every_goal_is_judged(measured):
    #       command, start, first start, memory, photo, with maps, folder, clients, retraining, training step
    assert verdicts(measured) == ["must", "no", "", "must", "must", "must", "aim", "aim", "must", "must"]


def test_figures_are_shown_beside_their_goals(measured):
    report = goals.report(measured, WITH_BF16)
    assert "| 1.5 x + 1 s | 1.2 x + 0.5 s | 1.25 x + 1 s, 1.38 x + 0.5 s (6.00 s, 1.50 x) | must |" in report
    assert "| 1.1 GB | 0.7 GB | 1.00 / 1.05 GB | must |" in report
    assert "| 22 ms, 10 x the textbook, 35 x BLIP-base |" in report
    assert "| 21.0 ms, 11.0 x the textbook, BLIP-base greedy not measured | must |" in report
    assert "1.5 min, CIDEr 0.600 to 0.700" in report


def test_a_machine_of_half_the_speed_needs_twice_the_time(measured):
    slower = limits_of(PEAKS["float32"] / 2, PEAKS["bfloat16"] / 2, 0.35)
    report = goals.report(measured | {"limits": slower}, WITH_BF16)
    assert "| 22 ms (here 44.0), 10 x the textbook, 35 x BLIP-base |" in report
    assert "| 60 photos/s (here 30.0) | 80 photos/s (here 40.0) |" in report
    faster = limits_of(PEAKS["float32"] * 2, PEAKS["bfloat16"] * 2, 0.35)
    assert verdicts(measured | {"limits": faster})[4:9] == ["no"] * 5
    assert verdicts(measured | {"limits": faster})[:4] == verdicts(measured)[:4], "ratios and memory are not scaled"


def test_a_machine_without_bfloat16_is_compared_in_float32():
    speed, note = speed_of(limits_of(PEAKS["float32"] / 2, PEAKS["bfloat16"], 0.3), WITHOUT_BF16)
    assert speed == 0.5 and "no units for bfloat16" in note


def test_the_stricter_of_both_speeds_counts():
    for float32, bfloat16, expected in ((0.5, 1.0, 1.0), (0.9, 0.4, 0.9)):
        measured = limits_of(float32 * PEAKS["float32"], bfloat16 * PEAKS["bfloat16"], 0.3)
        speed, note = speed_of(measured, WITH_BF16)
        assert speed == pytest.approx(expected) and "the larger of the two" in note
        assert f"{figure(float32)} times in float32 and {figure(bfloat16)} times in bfloat16" in note


def test_parts_that_were_not_measured_are_named(measured):
    assert set(verdicts(NOTHING)) == {"not measured", ""}
    assert "measure the part `limits`" in goals.report(NOTHING, WITH_BF16)
    for part in PARTS:
        assert "not measured" in verdicts(measured | {part: None}), part


@pytest.mark.parametrize(
    ("must", "aim", "verdict"),
    [
        (1.0, 1.0, "aim"),
        (1.0, 3.0, "must"),
        (3.0, 3.0, "no"),
        (None, None, "not measured"),
        (1.0, None, "must"),
    ],
)
def test_a_goal_is_reached_if_all_its_measured_conditions_are_kept(must, aim, verdict):
    unmeasured = Condition("at most 2", 2.0, None)
    conditions = ((Condition("at most 2", 2.0, value), unmeasured) for value in (must, aim))
    assert Row("a row", *conditions, "").verdict() == verdict
