"""Run a command, and stop it when its parent ends: `python -m service.jobs.child PARENT NICENESS COMMAND ...`.

The new process sets itself up, then replaces itself by the command. `preexec_fn` is not an option: it runs Python code
between fork and exec, and deadlocks if another thread holds a lock at that moment, such as the allocator's.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_SET_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux; it survives exec."""


def command(*arguments: str, niceness: int = 0) -> list[str]:
    """Return the command line that runs `python ARGUMENTS` as such a child of this process."""
    return [sys.executable, "-m", "service.jobs.child", str(os.getpid()), str(niceness), sys.executable, *arguments]


def main(arguments: Sequence[str]) -> None:
    parent, niceness, *replacement = arguments
    if int(niceness):
        os.nice(int(niceness))
    if sys.platform == "linux":
        # Python has no function for prctl. One package needs a C compiler and libcap, the other makes this ctypes call.
        # Polling for the parent with psutil would end once this process has become the command.
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != int(parent):  # the parent has already ended, so no signal will come
        sys.exit(128 + signal.SIGTERM)
    os.execv(replacement[0], replacement)


if __name__ == "__main__":
    main(sys.argv[1:])
