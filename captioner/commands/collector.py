"""Python's garbage collector while a process starts."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collector() -> Iterator[None]:
    """Collect no garbage in the context, in which packages are imported and a captioner is loaded.

    They make a million objects that stay, and each collection visits all of them: a tenth of the time of a start. Later
    collections do not visit them either, so only a process calls this, once. Objects are still freed when nothing
    refers to them any more; only cycles among these objects stay.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if "triton" not in sys.modules:  # it reports objects that the last collection of a process does not free
            gc.freeze()
        if was_enabled:
            gc.enable()
