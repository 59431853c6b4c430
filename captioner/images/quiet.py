"""Silence Pillow's warnings while a photo is read."""

import contextlib
import threading
import warnings
from collections.abc import Iterator

_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_filters: warnings.catch_warnings | None = None


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence Pillow's warnings (large photos, odd EXIF); serious problems raise ImageError.

    `warnings.catch_warnings` is not thread-safe: two overlapping uses can leave the first one's filter in place for
    good. Here the first thread in sets the filter and the last one out removes it.
    """
    global _quiet_depth, _quiet_filters
    with _quiet_lock:
        if _quiet_depth == 0:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                _quiet_filters.__exit__(None, None, None)
                _quiet_filters = None
