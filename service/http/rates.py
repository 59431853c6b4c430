"""How often one client may ask for what takes the processor's time."""

import ipaddress
import re

from service.http.minute_limits import MinuteLimit

_MADE = ("/api/captions", "/api/datasets", "/api/models", "/api/trainings")
_DRAWN = re.compile(r"/api/captions/[^/]+/(evidence|figure\.png|overlays/[^/]+)")

_IPV6_BITS = 64
"""Of an address: whoever has one of these networks has all addresses in it."""


class TooOften(Exception):
    """`seconds` must pass before a client may ask for this again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def is_costly(method: str, path: str) -> bool:
    """Whether a request takes long: captions, evidence, pictures that are drawn, and what is sent to be kept."""
    return method == "POST" and path in _MADE or method != "OPTIONS" and _DRAWN.fullmatch(path) is not None


class Rates:
    """Counts the costly requests of each client. Threads share it, and replicas with a Redis its count."""

    def __init__(self, per_minute: int, redis_url: str | None = None) -> None:
        """per_minute: costly requests of one client; 0 for any number."""
        self._limit = MinuteLimit(per_minute, "costly requests", redis_url) if per_minute else None

    def count(self, address: str) -> None:
        """One more request of a client. Raises TooOften where it is one too many; that one does not count."""
        if self._limit is not None and (seconds := self._limit.count(_client(address))) is not None:
            raise TooOften(seconds)


def _client(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a socket without an address
        return address
    if found.version == 6 and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, _IPV6_BITS), strict=False))
    return str(found)
