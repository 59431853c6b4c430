"""Checks that hold for the results of every benchmark."""

import dataclasses
import json
import math
from collections.abc import Iterator
from typing import Any

from benchmarks.stored import rebuild


def check(section: Any, results: Any, *names: str) -> None:
    """Check that figures are finite and positive, the JSON holds the whole table, and these contestants are in it."""
    assert all(math.isfinite(figure) and figure > 0 for figure in figures_of(results))
    values = json.loads(json.dumps(dataclasses.asdict(results)))
    report = section.report(results)
    assert section.report(rebuild(type(results), values)) == report
    for name in names:
        assert f"| {name} |" in report


def check_curve(section: Any, results: Any, xs: list[float]) -> None:
    """Check that a curve has these points with positive costs, and that its JSON holds the whole table."""
    curve = section.curve(results)
    assert [point.x for point in curve.points] == xs
    assert all(0 < point.y.least <= point.y.median <= point.y.most for point in curve.points)
    values = json.loads(json.dumps(dataclasses.asdict(results)))
    assert section.report(rebuild(section.Results, values)) == section.report(results)
    assert curve.y in section.report(results)


def figures_of(results: Any) -> Iterator[float]:
    if isinstance(results, int | float) and not isinstance(results, bool):
        yield results
    elif isinstance(results, tuple):
        for result in results:
            yield from figures_of(result)
    elif dataclasses.is_dataclass(results):
        for value in vars(results).values():
            yield from figures_of(value)
