"""What the benchmark's own tests need: a C compiler and Linux."""

import os
import shutil
import sys
from collections.abc import Iterator

import pytest

from bench.fake import FakeUpstream, fake_upstream


@pytest.fixture(scope="session")
def upstream() -> Iterator[FakeUpstream]:
    if sys.platform != "linux":
        pytest.skip("the benchmark's programs use epoll: Linux only")
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed; run bench/setup.sh")
    with fake_upstream() as running:
        yield running


@pytest.fixture(scope="session")
def core() -> int:
    return min(os.sched_getaffinity(0)) if sys.platform == "linux" else 0
