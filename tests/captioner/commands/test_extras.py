"""A missing package is reported with the extra that installs it."""

import sys

import pytest

from captioner.commands.extras import how_to_install, needs_extra
from captioner.errors import ConfigError


def test_the_advice_names_the_extra_and_the_single_package():
    assert how_to_install("training") == 'pip install "captioner[training]"'
    assert how_to_install("xmp", "exiv2") == 'pip install "captioner[xmp]", or pip install exiv2'


@pytest.mark.parametrize("statement", ["import flask", "import flask.views", "from flask import Flask"])
def test_a_missing_package_is_named_with_its_extra(monkeypatch, statement):
    for name in [name for name in sys.modules if name.partition(".")[0] == "flask"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "flask", None)
    with pytest.raises(ConfigError, match=r'the package flask is not installed: pip install "captioner\[service\]"$'):
        with needs_extra("service"):
            exec(statement)


def test_an_unknown_package_counts_as_missing():
    with pytest.raises(ConfigError, match="the package no_such_package is not installed"), needs_extra("training"):
        import no_such_package  # noqa: F401


def test_a_missing_module_of_an_installed_package_is_a_programming_error():
    with pytest.raises(ModuleNotFoundError, match="captioner.nothing"), needs_extra("training"):
        import captioner.nothing  # noqa: F401


def test_other_errors_and_successful_imports_pass_through():
    with pytest.raises(KeyError), needs_extra("training"):
        raise KeyError("a fault")
    with needs_extra("training"):
        import captioner  # noqa: F401
