import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench import proc

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc: Linux only")

# Burns CPU, tells how much, then waits until its input is closed.
_BURN = """
import sys, time
while time.process_time() < float(sys.argv[1]):
    pass
print(time.process_time(), flush=True)
sys.stdin.read()
"""
_PARENT = """
import sys
from subprocess import PIPE, Popen
child = Popen([sys.executable, "-c", sys.argv[2], sys.argv[1]], stdout=PIPE, stdin=PIPE)
print(child.stdout.readline().decode(), end="", flush=True)
sys.stdin.read()
child.communicate()
print("child waited for", flush=True)
sys.stdin.close()
"""
_TICKS_S = 3 / os.sysconf("SC_CLK_TCK") + 0.03  # rounding of three figures, and the clock read after the loop


@contextmanager
def started(*args: str) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", *args]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_cpu_of_a_busy_process_is_what_it_says_itself() -> None:
    with started(_BURN, "0.3") as process:
        own = float(said(process))
        assert proc.cpu_s(process.pid).total == pytest.approx(own, abs=_TICKS_S)


def test_cpu_of_a_child_counts_while_it_lives() -> None:
    with started(_PARENT, "0.3", _BURN) as process:
        child = float(said(process))
        assert proc.cpu_s(process.pid).total >= child - _TICKS_S
        assert len(proc.alive(process.pid)) == 2


def test_cpu_of_a_child_still_counts_after_it_ended() -> None:
    waits_for_child = _PARENT.replace("sys.stdin.read()\nchild", "child").replace(
        "sys.stdin.close()", "sys.stdin.read()"
    )
    with started(waits_for_child, "0.3", _BURN) as process:
        child = float(said(process))
        assert said(process) == "child waited for\n"
        assert len(proc.alive(process.pid)) == 1
        assert proc.cpu_s(process.pid).total >= child - _TICKS_S


def test_cpu_of_another_process_is_not_counted() -> None:
    with started(_BURN, "0.3") as busy, started(_BURN, "0") as idle:
        said(busy), said(idle)
        assert proc.cpu_s(idle.pid).total < 0.3 - _TICKS_S


def test_the_store_is_told_apart_by_its_command() -> None:
    named = "open('/proc/self/comm', 'w').write('valkey-server')\n" + _BURN
    with started(named, "0.2") as process:
        own = float(said(process))
        used = proc.cpu_s(process.pid)
        assert used.store == pytest.approx(own, abs=_TICKS_S)
        assert used.gateway == 0.0
        assert proc.resident_mb(process.pid).store > 1


def test_memory_sees_what_a_process_holds() -> None:
    hold = "import sys; held = bytearray(b'x') * 50_000_000; print('held', flush=True); sys.stdin.read()"
    with started(hold) as big, started(_BURN, "0") as small:
        said(big), said(small)
        grown = proc.resident_mb(big.pid).gateway - proc.resident_mb(small.pid).gateway
        assert grown == pytest.approx(50, abs=5)


def test_a_process_that_is_gone_has_used_nothing_more() -> None:
    with started("pass") as process:
        process.communicate()
    assert proc.alive(process.pid) == []
    assert proc.cpu_s(process.pid).total == 0.0
