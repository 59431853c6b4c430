"""Plots of curves, readable on light and on dark pages."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.growth.curves import Curve

SIZE, DPI = (5.2, 3.0), 100
"""In inches, and pixels per inch."""
POINTS, LINE = "#1f5fa8", "#c2571a"
"""Colours that also differ in lightness."""


def draw(curve: Curve, title: str, path: Path) -> None:
    """Draw the points with their ranges and the line, on white whatever the page's background and the user's style."""
    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        figure = Figure(SIZE, dpi=DPI, facecolor="white", layout="constrained")
        axes = figure.subplots()
        xs, ys = [point.x for point in curve.points], [point.y.median for point in curve.points]
        below = [point.y.median - point.y.least for point in curve.points]
        above = [point.y.most - point.y.median for point in curve.points]
        along = np.geomspace(min(xs), max(xs), 100) if curve.logarithmic else np.linspace(min(xs), max(xs), 100)
        axes.plot(along, [curve.line.at(x) for x in along], color=LINE, label=f"line, R² {curve.line.r_squared:.3f}")
        axes.errorbar(xs, ys, [below, above], fmt="o", color=POINTS, markersize=4, capsize=3, label="median and range")
        if curve.logarithmic:
            axes.set_xscale("log")
        elif all(x == int(x) for x in xs):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        highest = max(point.y.most for point in curve.points)
        axes.set(title=title, xlabel=curve.x, ylabel=curve.y, ylim=(0, 1.08 * highest))
        axes.grid(alpha=0.3)
        axes.legend(loc="best", frameon=False, fontsize="small")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Software": None})
