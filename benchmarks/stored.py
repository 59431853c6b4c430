"""Results of benchmarks on disk: JSON that keeps the results of earlier runs on the same machine."""

import dataclasses
import json
import types
import typing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.machine import Machine
from captioner.files import read_json, write_json

FILE = "results.json"


class StoredResults:
    """Results of sections in a folder, written after each section, so that a stopped run keeps its results.

    Sections of earlier runs are kept if these ran on the same machine in the same form (`--quick` or not).
    """

    def __init__(self, folder: Path, machine: Machine, quick: bool):
        self._path = folder / FILE
        self._values: dict[str, Any] = {"machine": asdict(machine), "quick": quick, "sections": {}}
        try:
            earlier = read_json(self._path)
            same = all(earlier[key] == json.loads(json.dumps(self._values[key])) for key in ("machine", "quick"))
            self._values["sections"] = dict(earlier["sections"]) if same else {}
        except (OSError, ValueError, KeyError, TypeError):  # there are none, or those of another version
            pass

    @property
    def machine(self) -> Machine:
        return rebuild(Machine, self._values["machine"])

    def keep(self, name: str, results: Any) -> None:
        """Write the results of a section, a dataclass."""
        self._values["sections"][name] = asdict(results)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, self._values, indent=1)

    def get(self, name: str, kind: Any) -> Any:
        """Return the results of a section as the dataclass `kind`; None if there are none."""
        if name not in self._values["sections"]:
            return None
        try:
            return rebuild(kind, self._values["sections"][name])
        except (TypeError, KeyError, AttributeError):  # written by another version
            return None


def rebuild(kind: Any, values: Any) -> Any:
    """Rebuild a dataclass from the output of `asdict` and JSON."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        if values is None:
            return None
        (kind,) = (option for option in typing.get_args(kind) if option is not types.NoneType)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: rebuild(hints[name], value) for name, value in values.items()})
    if typing.get_origin(kind) is tuple:
        return tuple(rebuild(typing.get_args(kind)[0], value) for value in values)
    return values
