"""Lets the next start wait for the last run's workers: what they still settle must not be taken for lost."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NAME = "workers.lock"


@contextmanager
def worker_lock(directory: Path) -> Iterator[None]:
    """Held, shared, by every worker for its whole life; the kernel lets go of it however the process ends."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(directory / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


def wait_for_workers(directory: Path, *, wait_s: float) -> bool:
    """Wait until no worker of an earlier run lives; False if one still does after ``wait_s``."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(directory / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_s
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.05)
    finally:
        os.close(fd)
