"""Every requirement has bounds that include constraints.txt, and pyproject.toml agrees with both and with the code."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.pyproject import EXTRAS, required

ROOT = Path(__file__).parents[1]


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


PINNED = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in requirements("constraints.txt")}


def is_bounded(requirement: Requirement) -> bool:
    return any(specifier.operator in ("<", "<=", "==", "~=") for specifier in requirement.specifier)


@pytest.mark.parametrize("requirement", requirements("requirements.txt"), ids=lambda requirement: requirement.name)
def test_a_requirement_has_bounds_that_include_the_tested_version(requirement):
    assert is_bounded(requirement), "a future major version may break the code"
    assert any(specifier.operator in (">=", "==", "~=") for specifier in requirement.specifier)
    version = PINNED[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version), f"constraints.txt has {version}"
    if requirement.specifier.contains("9999"):
        raise AssertionError("the upper bound is ineffective")


def test_a_checkout_and_the_wheel_require_the_same_packages_in_the_same_ranges():
    pinned = {canonicalize_name(requirement.name): requirement for requirement in requirements("requirements.txt")}
    assert required(*EXTRAS) == pinned


def test_the_extra_all_includes_every_extra_except_dev_which_includes_all():
    users = set(EXTRAS) - {"all", "dev"}
    assert users == {"training", "service", "parquet", "xmp", "onnx"}
    assert required("all") == required(*users) and required("all").items() < required("dev").items()


# Package -> the extras that it may import from.
IMPORTING = {"captioner": ["xmp", "onnx"], "training": ["training", "parquet"], "service": ["service"]}
BROUGHT_BY = {"werkzeug": "flask"}
"""Module -> the package whose public interface includes it."""


def modules_imported_by(package: str) -> Iterator[str]:
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (name.name.partition(".")[0] for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", IMPORTING)
def test_a_package_imports_only_packages_of_its_extras(package):
    names = packages_distributions()
    brought = set(required(*IMPORTING[package]))
    for module in set(modules_imported_by(package)) - sys.stdlib_module_names - set(IMPORTING):
        distributions = {canonicalize_name(name) for name in [BROUGHT_BY.get(module), *names[module]] if name}
        assert distributions & brought, f"{package} imports {module}, which {distributions} bring"


# Feature used -> its package, and the first version that has it or that passed the tests of it.
LOWEST = {
    "torch.cpu.get_capabilities": ("torch", "2.11"),
    "np.bitwise_count": ("numpy", "2.0"),
    "imagehash": ("imagehash", "4.3.1"),  # 4.3.0 imports six, which it does not require
    "timm.create_model": ("timm", "1.0.22"),  # older ones cannot build a vision transformer on the meta device
    "limits key_prefix": ("limits", "5.2"),  # older ones pass it on to Redis, which does not know it
    "sqlalchemy.URL": ("sqlalchemy", "2.1"),  # older ones cut the path of a database at a question mark
}


@pytest.mark.parametrize("used", LOWEST)
def test_the_lower_bound_has_the_features_that_the_code_uses(used):
    name, version = LOWEST[used]
    (requirement,) = (candidate for candidate in requirements("requirements.txt") if candidate.name == name)
    (lower,) = (Version(specifier.version) for specifier in requirement.specifier if specifier.operator == ">=")
    assert lower >= Version(version)


def test_make_test_lowest_pins_every_lower_bound():
    """Every requirement with a lower bound is pinned to it."""
    output = subprocess.run(["make", "-n", "test-lowest"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    command = next(line for line in output.splitlines() if line.startswith("sed"))
    script = re.search("'(.*)'", command).group(1)
    pins = subprocess.run(["sed", "-n", script, "requirements.txt"], cwd=ROOT, capture_output=True, text=True).stdout
    lowest = {
        canonicalize_name(requirement.name): specifier.version
        for requirement in requirements("requirements.txt")
        for specifier in requirement.specifier
        if specifier.operator == ">="
    }
    pinned = [pin.split("==") for pin in pins.split()]
    assert {canonicalize_name(name): version for name, version in pinned} == lowest


def test_every_constraint_is_one_version():
    for pin in requirements("constraints.txt"):
        assert [specifier.operator for specifier in pin.specifier] == ["=="], pin
        Version(PINNED[canonicalize_name(pin.name)])


def test_a_missing_bound_is_detected():
    assert not is_bounded(Requirement("flask>=3.1")) and is_bounded(Requirement("flask>=3.1,<4"))
