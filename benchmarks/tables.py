"""Numbers and Markdown tables."""

import math
from collections.abc import Iterable, Sequence


def figure(value: float) -> str:
    """Format a number with three significant digits and all digits before the point."""
    if value == 0 or not math.isfinite(value):
        return str(value)
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table, with numbers formatted by `figure`."""
    lines = [headings, ["---"] * len(headings), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return figure(value) if isinstance(value, float) else str(value)
