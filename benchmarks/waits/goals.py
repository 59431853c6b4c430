"""The table of what people wait for: what must be reached, what is aimed at, and what the sections measured.

Times and rates were set on one machine. They are scaled by the fastest matrix product of this one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.limits import MATRIX
from benchmarks.machine import Machine
from benchmarks.many_photos import BASE, ONE_AT_A_TIME
from benchmarks.one_photo import OURS, PLAIN, TEXTBOOK, TEXTBOOK_PLAIN
from benchmarks.tables import figure, table
from benchmarks.waits.start import COMMAND, FIRST_START, LATER_START

TITLE = "What people wait for"

PEAKS = {"float32": 390.0, "bfloat16": 2031.0}
"""Fastest matrix product of the machine that the goals were set on, in GFLOP/s."""
BLIP = "BLIP-base, greedy"
TRAINING_STEP = "training step"
UNMEASURED = "not measured"


@dataclass(frozen=True)
class Condition:
    """A bound, and the value that must keep it; None if it was not measured."""

    text: str
    bound: float
    value: float | None
    at_most: bool = True

    def is_kept(self) -> bool | None:
        if self.value is None:
            return None
        return self.value <= self.bound if self.at_most else self.value >= self.bound


@dataclass(frozen=True)
class Row:
    what: str
    must: tuple[Condition, ...]
    aim: tuple[Condition, ...]
    reached: str

    def verdict(self) -> str:
        """Return which goal is reached; conditions that were not measured do not count."""
        must, aim = ([condition.is_kept() for condition in goal] for goal in (self.must, self.aim))
        if not any(kept is not None for kept in must):
            return UNMEASURED if must else ""
        if False in must:
            return "no"
        return "must" if False in aim or not any(aim) else "aim"


def report(measured: Mapping[str, Any], machine: Machine) -> str:
    """measured: section -> its results, None if it was not measured."""
    speed, note = speed_of(measured["limits"], machine)
    rows = [row for rows_of in ROWS for row in rows_of(measured, speed)]
    cells = [(row.what, _text(row.must), _text(row.aim), row.reached, row.verdict()) for row in rows]
    return f"{table(['what people wait for', 'must', 'aim', 'reached', 'reaches'], cells)}\n\n{note}"


def speed_of(limits: Any, machine: Machine) -> tuple[float, str]:
    """Return how many times as fast this machine is as that of the goals, and a sentence about it."""
    if limits is None:
        return 1.0, "This machine's matrix product was not measured, so no goal is scaled: measure the part `limits`."
    best = {name: peak.value.most for name in PEAKS for peak in limits.peaks if peak.name == MATRIX.format(name)}
    ratios = {name: best[name] / PEAKS[name] for name in PEAKS}
    has_units = bool(machine.cpu_bf16) or machine.gpu_bf16
    name = max(ratios, key=ratios.get) if has_units else "float32"
    both = " and ".join(f"{figure(value)} times in {each}" for each, value in ratios.items())
    reason = "the larger of the two" if has_units else "as this processor has no units for bfloat16"
    return ratios[name], (
        f"The fastest matrix product here is {both} as fast as on the machine that the goals were set on. Milliseconds,"
        f" minutes and photos per second are scaled by that in {name}, {reason}."
    )


def _text(conditions: Sequence[Condition]) -> str:
    return ", ".join(condition.text for condition in conditions)


def _time(bound: float, unit: str, value: float | None, speed: float) -> Condition:
    return Condition(f"{bound:g} {unit}{_here(bound / speed, speed)}", bound / speed, value)


def _rate(bound: float, value: float | None, speed: float) -> Condition:
    return Condition(f"{bound:g} photos/s{_here(bound * speed, speed)}", bound * speed, value, at_most=False)


def _times(bound: float, what: str, value: float | None) -> Condition:
    return Condition(f"{bound:g} x {what}", bound, value, at_most=False)


def _here(scaled: float, speed: float) -> str:
    return f" (here {figure(scaled)})" if speed != 1 else ""


def _start(measured: Mapping[str, Any], speed: float) -> list[Row]:
    rows = {row.process: row for row in measured["start"].rows} if measured["start"] else {}
    table_rows = []
    for what, name in (
        (f"`{COMMAND}`, whole process, times `import torch`", COMMAND),
        ("service: start to ready, times `import torch`", LATER_START),
        ("service: first start, nothing prepared", FIRST_START),
    ):
        row = rows.get(name)
        after_must, after_aim = (after.median for after in row.times_after) if row else (None, None)
        must, aim = (Condition("1.5 x + 1 s", 1.5, after_must),), (Condition("1.2 x + 0.5 s", 1.2, after_aim),)
        reached = UNMEASURED
        if row:
            seconds = f"{figure(row.seconds.median)} s, {figure(row.times_import.median)} x"
            reached = f"{figure(after_must)} x + 1 s, {figure(after_aim)} x + 0.5 s ({seconds})"
        is_goal = name != FIRST_START
        table_rows.append(Row(what, must if is_goal else (), aim if is_goal else (), reached))
    return table_rows


def _memory(measured: Mapping[str, Any], speed: float) -> list[Row]:
    served = measured["served"]
    gigabytes = max(served.ready_mb, served.used_mb) / 1000 if served else None
    photos = f"{served.photos:,}" if served else "2,000"
    reached = f"{served.ready_mb / 1000:.2f} / {served.used_mb / 1000:.2f} GB" if served else UNMEASURED
    return [
        Row(
            f"service: memory when ready / after {photos} photos",
            (Condition("1.1 GB", 1.1, gigabytes),), (Condition("0.7 GB", 0.7, gigabytes),), reached,
        )
    ]  # fmt: skip


def _one_photo(measured: Mapping[str, Any], speed: float) -> list[Row]:
    rows = {row.contestant: row for row in measured["one_photo"].rows} if measured["one_photo"] else {}

    def p50(name: str) -> float | None:
        return rows[name].p50_ms if name in rows else None

    def times_plain(name: str) -> float | None:
        return rows[name].times_plain.median if name in rows else None

    textbook, blip = times_plain(TEXTBOOK_PLAIN), times_plain(BLIP)
    drawn = rows[TEXTBOOK].times_ours.median if TEXTBOOK in rows else None
    plain_text = f"{_ms(p50(PLAIN))}, {_x(textbook)} the textbook, BLIP-base greedy {_x(blip)}"
    return [
        Row(
            "one photo, JPEG bytes to caption, beam 5, nothing drawn",
            (_time(22, "ms", p50(PLAIN), speed), _times(10, "the textbook", textbook), _times(35, "BLIP-base", blip)),
            (_time(15, "ms", p50(PLAIN), speed), _times(16, "the textbook", textbook), _times(55, "BLIP-base", blip)),
            plain_text if rows else UNMEASURED,
        ),
        Row(
            "the same with every word's map drawn",
            (_time(30, "ms", p50(OURS), speed), _times(8, "the textbook", drawn)),
            (_time(20, "ms", p50(OURS), speed),),
            f"{_ms(p50(OURS))}, {_x(drawn)} the textbook" if rows else UNMEASURED,
        ),
    ]


def _folder(measured: Mapping[str, Any], speed: float) -> list[Row]:
    rows = {row.contestant: row for row in measured["folder"].rows} if measured["folder"] else {}
    rate = rows[BASE].photos_per_second.median if rows else None
    single = rows[ONE_AT_A_TIME].times_ours.median if rows else None
    return [
        Row(
            "a folder, beam 5",
            (_rate(100, rate, speed), _times(3, "one at a time", single)),
            (_rate(140, rate, speed),),
            f"{rows[BASE].photos_per_second} photos/s, {_x(single)} one at a time" if rows else UNMEASURED,
        )
    ]


def _clients(measured: Mapping[str, Any], speed: float) -> list[Row]:
    served = measured["served"]
    rate = served.per_second.median if served else None
    reached = f"{served.per_second} photos/s" if served else UNMEASURED
    what = f"{served.clients if served else 16} clients of the service"
    return [Row(what, (_rate(60, rate, speed),), (_rate(80, rate, speed),), reached)]


def _retraining(measured: Mapping[str, Any], speed: float) -> list[Row]:
    results = measured["retraining"]
    minutes, reached = None, UNMEASURED
    photos, captions = (results.photos, results.captions) if results else (500, 5)
    if results:
        minutes = results.steps[-1].seconds / 60
        reached = f"{minutes:.1f} min, CIDEr {results.cider_before:.3f} to {results.cider_after:.3f}"
    return [
        Row(
            f"retraining, preset quick, {photos} photos with {captions} captions each: upload to promoted",
            (_time(2, "min", minutes, speed),), (_time(1, "min", minutes, speed),), reached,
        )
    ]  # fmt: skip


def _training_step(measured: Mapping[str, Any], speed: float) -> list[Row]:
    rows = measured["limits"].rows if measured["limits"] else ()
    share = next((row.fraction for row in rows if row.work.startswith(TRAINING_STEP)), None)
    value = share.median if share else None
    return [
        Row(
            "training step as shipped, floor / time",
            (Condition("0.30", 0.3, value, at_most=False),), (Condition("0.40", 0.4, value, at_most=False),),
            str(share) if share else UNMEASURED,
        )
    ]  # fmt: skip


def _ms(value: float | None) -> str:
    return UNMEASURED if value is None else f"{figure(value)} ms"


def _x(value: float | None) -> str:
    return UNMEASURED if value is None else f"{figure(value)} x"


ROWS: tuple[Callable[[Mapping[str, Any], float], list[Row]], ...] = (
    _start, _memory, _one_photo, _folder, _clients, _retraining, _training_step,
)  # fmt: skip
