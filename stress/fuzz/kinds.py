"""What is tried: each kind draws a broken input from a random generator, and hands it to the product."""

import importlib
from random import Random
from typing import Protocol


class Find(AssertionError):
    """The product did something that it must not do, without an exception of its own."""


class Kind(Protocol):
    """One kind of input. Made once in each process; its cases share nothing but that."""

    expected: tuple[type[Exception], ...]
    """What the product may raise: what it documents."""

    def case(self, rng: Random) -> str | None:
        """One input, decided by `rng` alone -> how it ended, in a word; None where the input was good enough.

        Raises one of `expected` where it was not. Anything else that is raised is a find.
        """


KINDS = {
    "images": "stress.fuzz.images:Images",
    "drawings": "stress.fuzz.drawings:Drawings",
    "archives": "stress.fuzz.archives:Archives",
    "captions": "stress.fuzz.captions:CaptionFiles",
    "boxes": "stress.fuzz.captions:BoxFiles",
    "bundles": "stress.fuzz.bundles:Bundles",
    "checkpoints": "stress.fuzz.bundles:Checkpoints",
    "api": "stress.fuzz.api:Requests",
    "connections": "stress.fuzz.api:Connections",
}
"""Name -> where its class stands: what one kind needs, the others do not wait for."""


def make(name: str) -> Kind:
    module, _, kind = KINDS[name].partition(":")
    return getattr(importlib.import_module(module), kind)()
