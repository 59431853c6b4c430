"""How often one client may ask for what takes the processor's time."""

import ipaddress
import re

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from service.windows import seconds_to_wait

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
    """Counts the costly requests of each client. Threads share it; each process counts for itself."""

    def __init__(self, per_minute: int) -> None:
        """per_minute: costly requests of one client; 0 for any number."""
        self._limit = RateLimitItemPerMinute(per_minute) if per_minute else None
        self._requests = MovingWindowRateLimiter(MemoryStorage())

    def count(self, address: str) -> None:
        """One more request of a client. Raises TooOften where it is one too many; that one does not count."""
        if self._limit is None or self._requests.hit(self._limit, client := _client(address)):
            return
        seconds = seconds_to_wait(self._requests, self._limit, client)
        if seconds is not None:
            raise TooOften(seconds)
        self._requests.hit(self._limit, client)


def _client(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a socket without an address
        return address
    if found.version == 6 and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, _IPV6_BITS), strict=False))
    return str(found)
