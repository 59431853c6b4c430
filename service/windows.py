"""How long whoever has asked too often has to wait, by a window that moves with the clock."""

import math
import time

from limits import RateLimitItem
from limits.strategies import MovingWindowRateLimiter


def seconds_to_wait(limiter: MovingWindowRateLimiter, limit: RateLimitItem, who: str) -> int | None:
    """Until somebody at the limit may come again, at least 1.

    None where the clock was put back, and their count begins anew: nobody is kept out until it has caught up.
    """
    seconds = math.ceil(limiter.get_window_stats(limit, who).reset_time - time.time())
    if seconds > limit.get_expiry():
        limiter.clear(limit, who)
        return None
    return max(1, seconds)
