"""Host names under which the service answers: a page of another site that points its own name here is refused.

A browser lets a page read what its own host name answers. DNS rebinding lets that name stand for 127.0.0.1, or another
address in a private network, so every request has to name a host that is known (`TRUSTED_HOSTS` of Flask). Nobody can
point an IP address elsewhere, so any address passes.
"""

import ipaddress
import re
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

LOOPBACK = ("localhost", ".localhost")
_NAME = re.compile(r"\.?[^\s.:/\[\]@?#*\\]+(\.[^\s.:/\[\]@?#*\\]+)*(:\d+)?")
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]@?#\\]+)(:(?P<port>\d{0,5}))?")
_PORTS = {"http": 80, "https": 443}


def read_names(listed: str | None) -> list[str]:
    """Split a setting into names, without ports; a leading dot stands for all names below one, `*` for any name.

    Raises ValueError for what is no name.
    """
    names = []
    for entry in re.split(r"[,\s]+", listed or ""):
        if not entry:
            continue
        entry = entry.removeprefix("*") if entry.startswith("*.") else entry
        if entry != "*" and not is_address(entry) and not _NAME.fullmatch(entry):
            raise ValueError(f"{entry} is no host name")
        if not is_address(entry):  # which is trusted without being listed
            names.append(_plain(entry.partition(":")[0]))
    return names


def trusted_names(host: str, listed: str | None) -> list[str]:
    """Names of the loopback, of the host that the service listens on, and those that are listed.

    Where other machines can reach the service at an address, they may call it by the name of this machine.
    """
    own = host
    if is_address(host):
        own = "" if ipaddress.ip_address(host).is_loopback else socket.gethostname()
    return list(dict.fromkeys([*LOOPBACK, *([_plain(own)] if own else []), *read_names(listed)]))


def is_trusted(host: str | None, names: Collection[str]) -> bool:
    """Whether a Host header names one of `names`, or an IP address. Browsers always send one."""
    if host is None:
        return True
    if (found := _HOST.fullmatch(host)) is None:
        return False
    return is_address(found["name"]) or _is_among(found["name"], names)


def is_own_origin(origin: str, host: str | None, listed: Collection[str]) -> bool:
    """Whether the page that an Origin header names is the service's own, as requested under a Host header.

    A proxy may pass another Host on, or drop its port: then the origin's name has to be listed.
    """
    try:
        parts = urlsplit(origin)
        name, port = _plain(parts.hostname or ""), parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return False
    if not name or parts.scheme not in _PORTS:
        return False
    asked = _HOST.fullmatch(host or "")
    if asked is not None and _plain(asked["name"].strip("[]")) == name:
        if port == int(asked["port"] or _PORTS[parts.scheme]):
            return True
        if asked["port"]:
            return False
    return _is_among(name, listed)


def is_address(host: str) -> bool:
    """Whether a host is an IP address, as a URL writes it: 127.0.0.1, [::1], with or without a port."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host
    if name.count(":") == 1:
        name = name.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_among(name: str, names: Collection[str]) -> bool:
    name = _plain(name)
    return any(
        each == "*" or name == each.removeprefix(".") or (each.startswith(".") and name.endswith(each))
        for each in names
    )


def _plain(name: str) -> str:
    """Lower case, ASCII, without the dot that ends a full name."""
    name = name.lower().removesuffix(".")
    try:
        return name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return name
