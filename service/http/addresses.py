"""Where the service answers: from a host's name and a port to sockets, and to what a browser is told."""

import errno
import ipaddress
import os
import socket
from collections.abc import Iterable

from captioner.errors import ConfigError


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets at each address that a host has, all of the same port; clients are refused until a Server has them.

    Port 0 takes any that is free. Raises ConfigError for an address that does not exist, or cannot be used.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"there is no address {host!r} ({getattr(error, 'strerror', None) or error}): name another with --host"
            " or CAPTIONER_HOST, such as 127.0.0.1 for this machine alone or 0.0.0.0 for all of its networks"
        ) from error
    sockets: list[socket.socket] = []
    missing = None
    for family, address in addresses:
        chosen = port or (sockets[0].getsockname()[1] if sockets else 0)
        try:
            sockets.append(_bound(family, (address[0], chosen, *address[2:])))
        except OSError as error:
            # `localhost` may stand for an IPv6 address on a machine that has no IPv6.
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                missing = error
                continue
            for each in sockets:
                each.close()
            raise unusable(host, chosen, error) from error
    if not sockets:
        raise unusable(host, port, missing) from missing
    return sockets


def _bound(family: int, address: tuple) -> socket.socket:
    created = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere this would share the port with whoever has it
            created.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            created.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        created.bind(address)
    except OSError:
        created.close()
        raise
    return created


def unusable(host: str, port: int, error: OSError) -> ConfigError:
    """What to tell a person where the system refuses an address."""
    match error.errno:
        case errno.EADDRINUSE:
            says = "is in use already: stop what uses it, or name another"
        case errno.EACCES:
            says = "may not be used by this user: name one above 1023"
        case errno.EADDRNOTAVAIL:
            return ConfigError(
                f"{host} is no address of this machine: name another with --host or CAPTIONER_HOST,"
                " such as 127.0.0.1 for this machine alone or 0.0.0.0 for all of its networks"
            )
        case _:
            says = f"cannot be used ({error.strerror or error}): name another"
    return ConfigError(f"port {port} of {host} {says} with --port or CAPTIONER_PORT; 0 takes any that is free")


def only_this_machine(sockets: Iterable[socket.socket]) -> bool:
    """Whether nobody but this machine can connect."""
    return all(ipaddress.ip_address(bound.getsockname()[0].partition("%")[0]).is_loopback for bound in sockets)


def url_of(host: str, port: int) -> str:
    """Where a browser on this machine finds the server."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
