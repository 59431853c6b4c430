"""Addresses of the service: sockets for a host name and port, and the URL for browsers."""

import errno
import ipaddress
import os
import socket
from collections.abc import Iterable

from captioner.errors import ConfigError


def bind(host: str, port: int) -> list[socket.socket]:
    """Bind a socket for each address of a host, all on the same port; connections are refused until a Server listens.

    Port 0 picks a free port. Raises ConfigError if an address does not exist or cannot be used.
    """
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in entries))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the host {host!r} has no address ({getattr(error, 'strerror', None) or error}): set another with --host"
            " or CAPTIONER_HOST, such as 127.0.0.1 for this machine alone or 0.0.0.0 for all of its networks"
        ) from error
    sockets: list[socket.socket] = []
    unavailable = None
    for family, address in addresses:
        actual_port = port or (sockets[0].getsockname()[1] if sockets else 0)
        try:
            sockets.append(_bind_socket(family, (address[0], actual_port, *address[2:])))
        except OSError as error:
            # `localhost` may stand for an IPv6 address on a machine that has no IPv6.
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                unavailable = error
                continue
            for sock in sockets:
                sock.close()
            raise bind_error(host, actual_port, error) from error
    if not sockets:
        raise bind_error(host, port, unavailable) from unavailable
    return sockets


def _bind_socket(family: int, address: tuple) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on Windows this option would share the port with another process
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def bind_error(host: str, port: int, error: OSError) -> ConfigError:
    """Return the error for an address that the operating system refuses."""
    match error.errno:
        case errno.EADDRINUSE:
            reason = "is already in use: stop the other program, or set another port"
        case errno.EACCES:
            reason = "is not allowed for this user: set a port above 1023"
        case errno.EADDRNOTAVAIL:
            return ConfigError(
                f"{host} is not an address of this machine: set another with --host or CAPTIONER_HOST,"
                " such as 127.0.0.1 for this machine alone or 0.0.0.0 for all of its networks"
            )
        case _:
            reason = f"cannot be used ({error.strerror or error}): set another port"
    return ConfigError(f"port {port} of {host} {reason} with --port or CAPTIONER_PORT; 0 picks a free one")


def is_loopback_only(sockets: Iterable[socket.socket]) -> bool:
    """Return whether all sockets are bound to loopback addresses."""
    return all(ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback for sock in sockets)


def url_of(host: str, port: int) -> str:
    """Return the URL of the server for a browser on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
