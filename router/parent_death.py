"""Ties a child's life to its parent's: no process of ours outlives the one that answers for it."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def die_with_parent() -> Callable[[], None] | None:
    """For Linux: what the forked child runs to get SIGTERM when the thread that started it is gone."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent, term = ctypes.CDLL(None).prctl, os.getpid(), int(signal.SIGTERM)

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, term)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return arm
