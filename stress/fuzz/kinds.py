"""Kinds of inputs: each draws a broken input from a random generator and gives it to the product."""

import importlib
from random import Random
from typing import Protocol


class WrongResult(AssertionError):
    """The product did something wrong without raising an exception."""


class Kind(Protocol):
    """One kind of input. Created once per process; its cases share nothing else."""

    expected: tuple[type[Exception], ...]
    """Documented exceptions of the product."""

    def case(self, rng: Random) -> str | None:
        """Run one case, determined by `rng` -> its outcome in a word; None if the input was accepted.

        Raises one of `expected` if the input was refused. Any other exception is a finding.
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
"""Name -> module of its class, imported on demand, so that one kind does not wait for the packages of another."""


def make(name: str) -> Kind:
    module, _, kind = KINDS[name].partition(":")
    return getattr(importlib.import_module(module), kind)()
