"""Minimum speed of incoming requests, so that slow clients cannot hold connections for ever."""

PATIENCE_SECONDS = 30
"""Time that every request may take to arrive; its header must be complete by then."""
MIN_BYTES_PER_SECOND = 1000
"""Minimum average speed of a body that takes longer; below any usual connection."""


def is_too_slow(seconds: float, received_bytes: int, has_header: bool) -> bool:
    """Return whether a request is too slow. seconds: since its first byte. has_header: the header is complete."""
    extra_seconds = received_bytes / MIN_BYTES_PER_SECOND if has_header else 0.0
    return seconds > PATIENCE_SECONDS + extra_seconds
