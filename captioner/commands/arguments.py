"""Command-line arguments made from the fields of an options dataclass: same name, default and help text."""

import argparse
import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Collection
from typing import Any, TypeVar

Options = TypeVar("Options")


def count(text: str) -> int:
    """Parse a positive whole number; the `type` of an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")
    return int(text)


def field_docs(options: type) -> dict[str, str]:
    """Return the docstring below each field of a dataclass and of its bases, on one line."""
    docs = {}
    for each in options.__mro__:
        if dataclasses.is_dataclass(each):
            docs = _own_field_docs(each) | docs  # a field that is declared again keeps the later docstring
    return docs


def _own_field_docs(options: type) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(options))).body
    docs, name = {}, ""
    for statement in definition.body:
        if isinstance(statement, ast.AnnAssign):
            name = statement.target.id
        elif name and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            docs[name] = " ".join(str(statement.value.value).split())
        else:
            name = ""
    return docs


def add_arguments(
    parser: argparse.ArgumentParser,
    options: type,
    title: str,
    leave_out: Collection[str] = (),
    only_given: bool = False,
    **defaults: Any,
) -> None:
    """Add an argument for each field not in `leave_out`; `defaults` replace those of the dataclass.

    only_given: leave arguments that are not on the command line out of the namespace, so that something other than the
    dataclass may set them.
    """
    group, docs = parser.add_argument_group(title), field_docs(options)
    for field in dataclasses.fields(options):
        if field.name in leave_out:
            continue
        default = defaults.get(field.name, field.default)
        text = docs.get(field.name, "").replace("%", "%%") + ("" if default is None else f" Default: {default}.")
        flag = f"--{field.name.replace('_', '-')}"
        if only_given:
            default = argparse.SUPPRESS
        if field.type in (bool, "bool"):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=text)
            continue
        kind = next(kind for kind in (int, float, str) if kind in (field.type, *getattr(field.type, "__args__", ())))
        group.add_argument(flag, type=kind, default=default, metavar=kind.__name__.upper(), help=text)


def from_arguments(options: type[Options], arguments: argparse.Namespace, **values: Any) -> Options:
    """Make the dataclass from the arguments; `values` override them. Raises ConfigError as the dataclass does."""
    return options(**(given_arguments(options, arguments) | values))


def given_arguments(options: type, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the dataclass's fields that the arguments hold."""
    names = [field.name for field in dataclasses.fields(options) if hasattr(arguments, field.name)]
    return {name: getattr(arguments, name) for name in names}
