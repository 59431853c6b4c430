"""Straight lines through measurements."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """A straight line fitted by least squares."""

    slope: float
    intercept: float
    r_squared: float
    """Share of the variance explained by the line: 1 is a straight line."""

    def at(self, x: float) -> float:
        return self.intercept + self.slope * x


def fit_line(xs: Sequence[float], ys: Sequence[float]) -> Line:
    """Fit a line to two points or more. Equal values lie on their line exactly: R² is 1."""
    slope, intercept = np.polyfit(xs, ys, 1)
    values = np.asarray(ys, float)
    residual = np.square(values - (slope * np.asarray(xs) + intercept)).sum()
    variance = np.square(values - values.mean()).sum()
    return Line(float(slope), float(intercept), float(1 - residual / variance) if variance else 1.0)
