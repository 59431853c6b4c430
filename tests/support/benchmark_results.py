"""Checks that hold for the results of every benchmark."""

import dataclasses
import json
import math
import typing
from collections.abc import Iterator
from typing import Any


def check(section: Any, results: Any, *names: str) -> None:
    """Check that figures are finite and positive, the JSON holds the whole table, and these contestants are in it."""
    assert all(math.isfinite(figure) and figure > 0 for figure in figures_of(results))
    values = json.loads(json.dumps(dataclasses.asdict(results)))
    report = section.report(results)
    assert section.report(rebuild(type(results), values)) == report
    for name in names:
        assert f"| {name} |" in report


def figures_of(results: Any) -> Iterator[float]:
    if isinstance(results, int | float) and not isinstance(results, bool):
        yield results
    elif isinstance(results, tuple):
        for result in results:
            yield from figures_of(result)
    elif dataclasses.is_dataclass(results):
        for value in vars(results).values():
            yield from figures_of(value)


def rebuild(kind: Any, values: Any) -> Any:
    """Rebuild a dataclass from the output of `asdict` and JSON."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: rebuild(hints[name], value) for name, value in values.items()})
    if typing.get_origin(kind) is tuple:
        return tuple(rebuild(typing.get_args(kind)[0], value) for value in values)
    return values
