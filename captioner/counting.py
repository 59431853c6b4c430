"""Numbers of things in sentences."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """The number and its noun: "1 photo", "1,200 photos". plural: where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
