"""The requirements of pyproject.toml, with and without its extras."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = _PROJECT["optional-dependencies"]
SCRIPTS: dict[str, str] = _PROJECT["scripts"]


def required(*extras: str) -> dict[str, Requirement]:
    """Return the requirements of the project and of these extras by their names; an extra may name others."""
    requirements = [Requirement(line) for line in _PROJECT["dependencies"]]
    pending = list(extras)
    while pending:
        for requirement in map(Requirement, EXTRAS[pending.pop()]):
            if requirement.name == _PROJECT["name"]:
                pending += requirement.extras
            else:
                requirements.append(requirement)
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}
