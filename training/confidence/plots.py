"""Plots of confidence scores for the evaluation page, as SVG coordinates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.confidence.scores import ConfidenceScores

_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 346.0, 16.0, 256.0
"""Edges of the plot area, in the units of the template's SVG."""


@dataclass(frozen=True)
class Curve:
    """Curve of a plot."""

    name: str
    """captions or words"""
    points: str
    """Points of an SVG polyline."""
    dots: tuple[tuple[float, float, float, str], ...] = ()
    """x, y, radius and tooltip."""


@dataclass(frozen=True)
class Plot:
    """Plot with both axes from 0 to 1."""

    title: str
    label: str
    """Accessible description."""
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    diagonal: bool
    """Whether to draw the diagonal, the ideal curve."""

    @property
    def ticks(self) -> list[dict[str, Any]]:
        shares = [number / 5 for number in range(6)]
        return [dict(zip(("x", "y"), _to_svg(share, share), strict=True)) | {"text": f"{share:g}"} for share in shares]


def confidence_plots(scores: Mapping[str, ConfidenceScores]) -> list[Plot]:
    """Return the risk-coverage curve and the reliability diagram, of captions and of words; none without scores."""
    if not scores:
        return []
    risks = {name: confidence_scores.curve() for name, confidence_scores in scores.items()}
    description = "; ".join(f"{name}: {_describe_curve(curve)}" for name, curve in risks.items())
    bins = {name: confidence_scores.bins() for name, confidence_scores in scores.items()}
    dots = {
        name: tuple(
            (
                *_to_svg(mean, right),
                round(2 + 6 * (count / len(scores[name].right)) ** 0.5, 1),
                f"{count:,} {name} with a mean confidence of {mean:.2f}: {right:.0%} right",
            )
            for mean, right, count in values
        )
        for name, values in bins.items()
    }
    return [
        Plot(
            "Risk and coverage", f"Share that is wrong among the most confident. {description}",
            "share kept, the most confident", "share of these that is wrong",
            tuple(Curve(name, _polyline_points(curve)) for name, curve in risks.items()), False,
        ),
        Plot(
            "Reliability", "Share that is right by confidence; perfect confidences lie on the diagonal",
            "confidence", "share that is right",
            tuple(Curve(name, _polyline_points(values), dots[name]) for name, values in bins.items()), True,
        ),
    ]  # fmt: skip


def _to_svg(x: float, y: float) -> tuple[float, float]:
    """Convert plot coordinates, 0 to 1, to those of the template's SVG."""
    return round(_LEFT + x * (_RIGHT - _LEFT), 1), round(_BOTTOM - y * (_BOTTOM - _TOP), 1)


def _polyline_points(values: Sequence[Sequence[float]]) -> str:
    return " ".join("{:g},{:g}".format(*_to_svg(x, y)) for x, y, *_ in values)


def _describe_curve(curve: Sequence[tuple[float, float]]) -> str:
    """Describe the curve at half and at full coverage, in words."""
    half = min(curve, key=lambda point: abs(point[0] - 0.5))
    return f"of the better {half[0]:.0%} {half[1]:.0%} are wrong, of all {curve[-1][1]:.0%}"
