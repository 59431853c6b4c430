"""Counts with nouns, for messages."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number and its noun: "1 photo", "1,200 photos". plural: the plural, if it is not the noun plus s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
