"""The measured bottleneck of one fixed vector, as lines and tables for the page about attention.

The figures are `table.json` of `training.recipes.bottleneck`.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean

from pydantic import BaseModel, Field

log = logging.getLogger(__name__)

WIDTH, HEIGHT = 360, 200
"""Size of a plot's inner area, in units of the SVG."""
TICK = 10
"""Distance between the lines of the grid, BLEU."""
_NAMES = {"attention": "Attention", "last state": "One vector: the last state", "mean": "One vector: the mean"}


class _Group(BaseModel):
    sentences: int = Field(ge=1)
    bleu: float = Field(ge=0, le=100, allow_inf_nan=False)
    cost: float = Field(ge=0, allow_inf_nan=False)


class _Table(BaseModel):
    source: str
    target: str
    pairs: int
    seeds: int
    results: dict[str, dict[str, list[dict[str, _Group]]]]
    """Kind of sentences -> variant -> a result for each seed: length group -> scores."""


@dataclass(frozen=True)
class Row:
    """Scores of the sentences of similar length."""

    group: str
    """Number of words: "up to 10"."""
    sentences: int
    cells: tuple[str, ...]
    """Mean BLEU of each variant, with the range over the seeds."""
    cost: float
    """Mean number of scores of a sentence with attention, N × M."""


@dataclass(frozen=True)
class Line:
    """A variant in the plot, in units of the SVG."""

    name: str
    points: tuple[tuple[float, float], ...]
    """x, y of the mean BLEU of each length group."""
    band: tuple[tuple[float, float], ...]
    """x, y of the corners of the range over the seeds."""


@dataclass(frozen=True)
class Plot:
    """BLEU by length, of single sentences or of joined ones."""

    kind: str
    """`single` or `joined`."""
    lines: tuple[Line, ...]
    rows: tuple[Row, ...]
    columns: tuple[float, ...]
    """x of each row's length group."""


@dataclass(frozen=True)
class Bottleneck:
    """Figures of all kinds of sentences, with one scale."""

    source: str
    target: str
    pairs: int
    """Number of training pairs."""
    seeds: int
    names: tuple[str, ...]
    """Variants, in the order of the lines and cells."""
    ticks: tuple[tuple[int, float], ...]
    """BLEU and y of the lines of the grid."""
    plots: tuple[Plot, ...]


def read_bottleneck(file: Path) -> Bottleneck | None:
    """Read the figures; None if there is no file, or if it is damaged, which is logged."""
    try:
        table = _Table.model_validate_json(file.read_bytes())
        return _bottleneck(table)
    except FileNotFoundError:
        return None
    except (OSError, LookupError, ValueError) as error:  # pydantic's error is a ValueError
        log.error("%s has no figures for the page: copy table.json of the recipe again (%s)", file, error)
        return None


def _bottleneck(table: _Table) -> Bottleneck:
    """Raise LookupError or ValueError if the variants or their length groups differ."""
    results = {kind: variants for kind, variants in table.results.items() if any(map(any, variants.values()))}
    if not results:
        raise ValueError("there are no results")
    names = tuple(next(iter(results.values())))
    runs = [run for variants in results.values() for run in chain.from_iterable(variants.values())]
    top = TICK * max(1, math.ceil(max(group.bleu for run in runs for group in run.values()) / TICK))
    plots = tuple(_plot(kind, [variants[name] for name in names], names, top) for kind, variants in results.items())
    ticks = tuple((bleu, _y(bleu, top)) for bleu in range(0, top + 1, TICK))
    shown = tuple(_NAMES.get(name, name) for name in names)
    return Bottleneck(table.source, table.target, table.pairs, table.seeds, shown, ticks, plots)


def _plot(kind: str, variants: Sequence[Sequence[Mapping[str, _Group]]], names: Sequence[str], top: int) -> Plot:
    groups = tuple(variants[0][0])
    columns = tuple(round(WIDTH * (index + 0.5) / len(groups), 1) for index in range(len(groups)))
    # [variant][group][seed]
    bleu = [[[run[group].bleu for run in runs] for group in groups] for runs in variants]
    lines = tuple(
        Line(
            _NAMES.get(name, name),
            tuple((x, _y(fmean(values), top)) for x, values in zip(columns, of_variant, strict=True)),
            _band(columns, of_variant, top),
        )
        for name, of_variant in zip(names, bleu, strict=True)
    )
    first = variants[0][0]
    rows = tuple(
        Row(group, first[group].sentences, tuple(_cell(values[index]) for values in bleu), first[group].cost)
        for index, group in enumerate(groups)
    )
    return Plot(kind, lines, rows, columns)


def _band(columns: Sequence[float], bleu: Sequence[Sequence[float]], top: int) -> tuple[tuple[float, float], ...]:
    above = [(x, _y(max(values), top)) for x, values in zip(columns, bleu, strict=True)]
    below = [(x, _y(min(values), top)) for x, values in zip(columns, bleu, strict=True)]
    return (*above, *reversed(below))


def _cell(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{fmean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _y(bleu: float, top: int) -> float:
    return round(HEIGHT * (1 - bleu / top), 1)
