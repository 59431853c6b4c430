"""Environment variables of the service: their names, and those that containers inject."""

import difflib
import logging
import os
import re
from collections.abc import Iterable
from typing import Any

from pydantic_settings import EnvSettingsSource

log = logging.getLogger(__name__)

PREFIX = "CAPTIONER_"
_LINK = r"(tcp|udp|sctp)://.*"
_INJECTED = {
    r"(\w+_)?SERVICE_HOST": r"[\d.]+|[\da-f:]+|None",
    r"(\w+_)?SERVICE_PORT(_\w+)?": r"\d+",
    r"(\w+_)?PORT(_\d+_(TCP|UDP|SCTP))?": _LINK,
    r"(\w+_)?PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)": r".*",
    r"NAME": r"/.*",
    r"ENV_\w+": r".*",
}
"""Variables that Kubernetes sets for a Service named captioner or captioner-..., and Docker for a linked container:
pattern of the name after the prefix -> pattern of the value."""


class Environment(EnvSettingsSource):
    """Environment variables with stripped values, without those that Kubernetes and Docker inject."""

    def __call__(self) -> dict[str, Any]:
        values = {name: value.strip() for name, value in super().__call__().items()}
        if re.fullmatch(_LINK, values.get("port", "")):
            del values["port"]
        return {name: value for name, value in values.items() if value}


def variable(name: str) -> str:
    """Return the environment variable of a field."""
    return PREFIX + name.upper()


def warn_of_unknown_variables(settings: Iterable[str]) -> None:
    """Log a warning for each variable that has the prefix and is not one of these settings."""
    setting_names = [name.upper() for name in settings]
    for name, value in os.environ.items():
        suffix = name.upper().removeprefix(PREFIX)
        if suffix == name.upper() or suffix in setting_names or _is_injected(suffix, value):
            continue
        matches = difflib.get_close_matches(suffix, setting_names, n=1)
        hint = f"did you mean {PREFIX}{matches[0]}?" if matches else "`python -m service --help` lists the settings."
        log.warning("%s is ignored because it is not a setting: %s", name, hint)


def _is_injected(name: str, value: str) -> bool:
    return any(
        re.fullmatch(name_pattern, name) and re.fullmatch(value_pattern, value)
        for name_pattern, value_pattern in _INJECTED.items()
    )
