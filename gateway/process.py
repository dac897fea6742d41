"""What a process owes its parent: to be gone when the parent is gone."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process (SIGKILL) when its parent, the pid `parent`, has died (prctl(2)).

    The signal comes when the *thread* that forked ends, so forking is for main threads. Without prctl (not
    Linux) this does nothing but to exit where the parent has gone already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died between the fork and the line above
        os._exit(1)
