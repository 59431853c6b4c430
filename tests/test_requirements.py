"""Versions: every requirement has a bound above, and constraints.txt is within the bounds."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


PINNED = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in requirements("constraints.txt")}


def is_bounded(requirement: Requirement) -> bool:
    return any(part.operator in ("<", "<=", "==", "~=") for part in requirement.specifier)


@pytest.mark.parametrize("requirement", requirements("requirements.txt"), ids=lambda requirement: requirement.name)
def test_a_requirement_has_bounds_and_the_tested_version_is_within(requirement):
    assert is_bounded(requirement), "a major version to come may break what was tested"
    assert any(part.operator in (">=", "==", "~=") for part in requirement.specifier)
    version = PINNED[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version), f"constraints.txt has {version}"
    if requirement.specifier.contains("9999"):
        raise AssertionError("the bound is none")


def test_every_constraint_is_one_version():
    for pin in requirements("constraints.txt"):
        assert [part.operator for part in pin.specifier] == ["=="], pin
        Version(PINNED[canonicalize_name(pin.name)])


def test_a_missing_bound_would_be_seen():
    assert not is_bounded(Requirement("flask>=3.1")) and is_bounded(Requirement("flask>=3.1,<4"))
