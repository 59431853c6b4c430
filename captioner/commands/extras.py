"""Extras of the package `captioner`: what an error says when a package is missing that only some users need."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from captioner.errors import ConfigError


def how_to_install(extra: str, package: str | None = None) -> str:
    """Return the command that installs an extra, for the end of an error.

    package: the one package of the extra that is missing, where it is enough to install that.
    """
    command = f'pip install "captioner[{extra}]"'
    return f"{command}, or pip install {package}" if package else command


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn the import error of a package that is not installed into a ConfigError that names its extra.

    An import error inside a package that is installed stays what it is: that is a fault, not a missing extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or find_spec(package) is not None:
            raise
        raise ConfigError(f"the package {package} is not installed: {how_to_install(extra)}") from error
