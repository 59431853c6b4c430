"""Halves of characters (lone surrogates), which JSON can escape and names of files can hold, but UTF-8 cannot."""

import re

_HALVES = re.compile("[\ud800-\udfff]")
_HALVES_BUT_BYTES = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def has_half_character(text: str, allow_bytes: bool = False) -> bool:
    """Return whether a text holds half of a character.

    allow_bytes: whether to pass halves that stand for bytes in the name of a file, as `surrogateescape` makes them.
    """
    return not text.isascii() and bool((_HALVES_BUT_BYTES if allow_bytes else _HALVES).search(text))
