"""How slowly a request may arrive: one that comes byte by byte would hold its connection for ever."""

PATIENCE_SECONDS = 30
"""For which any request may take to arrive; a header must be there by then."""
LEAST_BYTES_PER_SECOND = 1000
"""Of a body that takes longer; slower than any line that a photo is sent over."""


def is_too_slow(seconds: float, received_bytes: int, header_is_there: bool) -> bool:
    """Whether a request of which so much has arrived, so long after its first byte, is to be ended."""
    earned = received_bytes / LEAST_BYTES_PER_SECOND if header_is_there else 0.0
    return seconds > PATIENCE_SECONDS + earned
