"""The photos of examples/, which most benchmarks caption."""

from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def example_photos(count: int | None = None) -> list[bytes]:
    """Return the files of the first `count` photos; None: of all."""
    return [path.read_bytes() for path in sorted(EXAMPLES.glob("*.jpg"))[:count]]
