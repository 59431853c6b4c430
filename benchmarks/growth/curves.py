"""Cost against size: points, the straight line through them, and their table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.lines import Line, fit_line
from benchmarks.tables import figure, table
from benchmarks.timing import Spread


@dataclass(frozen=True)
class Point:
    x: float
    y: Spread


@dataclass(frozen=True)
class Curve:
    """Cost against size, and the straight line through the medians."""

    x: str
    """Label of the size that varies, with its unit."""
    y: str
    """Label of the cost, with its unit."""
    points: tuple[Point, ...]
    line: Line
    logarithmic: bool = False
    """Whether to draw x on a logarithmic axis."""

    @classmethod
    def of(cls, x: str, y: str, values: Mapping[float, Sequence[float]], logarithmic: bool = False) -> "Curve":
        """values: for each x its costs, one per round."""
        points = tuple(Point(float(size), Spread.of(costs)) for size, costs in values.items())
        line = fit_line([point.x for point in points], [point.y.median for point in points])
        return cls(x, y, points, line, logarithmic)


def report(curve: Curve, further: Mapping[str, Sequence[object]] | None = None) -> str:
    """Return the table of the points and a sentence about the line. further: heading -> a column of the table."""
    columns = further or {}
    rows = [
        (number(point.x), point.y, curve.line.at(point.x), *cells)
        for point, *cells in zip(curve.points, *columns.values(), strict=True)
    ]
    return f"{table([curve.x, curve.y, 'on the line', *columns], rows)}\n\n{sentence(curve)}"


def sentence(curve: Curve) -> str:
    """Describe the line, and how far it rises: R² says nothing about a flat curve."""
    line, xs = curve.line, [point.x for point in curve.points]
    middle = sum(point.y.median for point in curve.points) / len(curve.points)
    rise = line.slope * (max(xs) - min(xs)) / middle
    off = max(abs(point.y.median - line.at(point.x)) for point in curve.points) / middle
    sign = "+" if line.slope >= 0 else "-"
    return (
        f"Least squares: {figure(line.intercept)} {sign} {figure(abs(line.slope))} for one more;"
        f" R² {line.r_squared:.4f}."
        f" From {number(min(xs))} to {number(max(xs))} the line rises by {100 * rise:.0f} % of the mean; no point is"
        f" further than {100 * off:.0f} % of the mean from it."
    )


def number(x: float) -> str:
    """Format a size: whole numbers whole."""
    return f"{x:,.0f}" if x == int(x) else figure(x)
