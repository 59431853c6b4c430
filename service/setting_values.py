"""Values of settings: the forms that need parsing, and messages for invalid ones."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from service.environment import variable

if TYPE_CHECKING:
    from sqlalchemy import URL

_SECRETS = {
    "admin_token": "too short, but must be a secret of 16 characters or more",
    "database_url": "not usable, but must be the URL of a PostgreSQL database: postgresql://USER:PASSWORD@HOST:PORT/NAME",
    "redis_url": "not usable, but must be the URL of a Redis: redis://HOST:PORT/NUMBER",
}
"""Messages for wrong values that must not be shown: a URL may contain a password."""
_EXPECTED = {
    "trusted_hosts": "host names without https:// and paths, separated by commas: captions.example.org, .example.org",
    "translators": "folders of translators, separated by commas, each language once: FOLDER or LANGUAGE=FOLDER",
}
"""Expected values of settings that are lists."""
_TRANSLATOR = re.compile(r"(?:(?P<language>[A-Za-z][\w-]{0,39})=)?(?P<folder>[^=\0]+)")


def postgresql_url(url: SecretStr) -> "URL":
    """Parse the URL of a PostgreSQL database. Raises ValueError if it is none."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url.get_secret_value())
    except ArgumentError as error:
        raise ValueError from error
    if parsed.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise ValueError
    return parsed.set(drivername="postgresql+psycopg")


def read_translators(setting: str | None) -> list[tuple[str | None, Path]]:
    """Split a setting into languages and absolute folders. Raises ValueError if an entry is neither form."""
    entries = []
    for entry in filter(None, map(str.strip, (setting or "").split(","))):
        match = _TRANSLATOR.fullmatch(entry)
        if match is None:
            raise ValueError(f"{entry} is neither FOLDER nor LANGUAGE=FOLDER")
        try:
            folder = Path(match["folder"].strip()).expanduser().absolute()
        except RuntimeError as error:
            raise ValueError("the home directory is unknown") from error
        entries.append((match["language"], folder))
    languages = [language for language, _ in entries if language]
    if len(set(languages)) < len(languages):
        raise ValueError("a language comes twice")
    return entries


def invalid_value(details: dict[str, Any], field: FieldInfo, is_argument: bool) -> str:
    """Return the error message for a value.

    details: an error as reported by pydantic. field: the setting. is_argument: whether the value is from the command
    line, not from the environment.
    """
    name = details["loc"][0]
    where = f"--{name}" if is_argument else variable(name)
    if name in _SECRETS:
        return f"{where} is {_SECRETS[name]}"
    expected = _EXPECTED.get(name) or _describe_expected(field)
    return f"{where} is {str(details['input'])!r}, but must be {expected}"


def _describe_expected(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return f"one of {', '.join(get_args(field.annotation))}"
    limits = {kind: getattr(limit, kind) for limit in field.metadata for kind in ("ge", "le") if hasattr(limit, kind)}
    if limits:
        number = "a whole number" if field.annotation in (int, int | None) else "a number"
        return f"{number} from {limits['ge']} to {limits['le']}"
    return "an address or a name" if field.annotation is str else "a path without ~: the home directory is unknown"
