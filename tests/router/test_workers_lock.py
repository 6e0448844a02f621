"""The next start waits for workers of the last run, and for nothing else."""

import subprocess
import sys
from pathlib import Path

from router.workers_lock import wait_for_workers, worker_lock

HOLDER = "import sys,pathlib; from router.workers_lock import worker_lock\n"
HOLDER += "with worker_lock(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def test_a_start_waits_for_every_worker(tmp_path: Path) -> None:
    assert wait_for_workers(tmp_path, wait_s=0)
    with worker_lock(tmp_path):
        with worker_lock(tmp_path):  # shared: workers do not wait for each other
            assert not wait_for_workers(tmp_path, wait_s=0)
        assert not wait_for_workers(tmp_path, wait_s=0)
    assert wait_for_workers(tmp_path, wait_s=0)


def test_a_killed_worker_holds_nothing(tmp_path: Path) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == b"held\n"
        assert not wait_for_workers(tmp_path, wait_s=0)
        process.kill()
        process.wait()
    assert wait_for_workers(tmp_path, wait_s=5)
