"""Archives the store now and then, from a thread of the supervisor; each pass is a short-lived process.

pyarrow takes 60 MB that no long-lived process should hold.
"""

import logging
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from router.config.schema import StoreConfig
from router.store.place import data_dir, store_url

log = logging.getLogger(__name__)

LONGEST_PAUSE = 8  # times the usual one, while nothing comes in
STOP_S = 10.0
LAST_PASS_S = 15.0


class Archiver:
    """Runs `archive_in_child` every `archive_s` seconds; rarer while there is nothing to do.

    Args:
        environ: The children's environment; this process's own by default.
    """

    def __init__(self, config: StoreConfig, *, environ: Mapping[str, str] | None = None) -> None:
        self._environ = environ
        self._url, self._directory, self._every_s = store_url(config), data_dir(config), config.archive_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="archiver", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the pass under way, which loses nothing, and makes a last one: readers of the archive then find all that
        a stopped gateway logged. Call it after the workers have ended and before the store stops.
        """
        self._stop.set()
        self._thread.join(STOP_S)
        too_long = threading.Event()
        patience = threading.Timer(LAST_PASS_S, too_long.set)
        patience.daemon = True
        patience.start()
        archive_in_child(self._url, self._directory, stop=too_long, environ=self._environ)
        patience.cancel()
        if too_long.is_set():
            log.warning("the last pass was given up after %g s; what it left is archived later", LAST_PASS_S)

    def _run(self) -> None:
        run_archiver(self._url, self._directory, every_s=self._every_s, stop=self._stop, environ=self._environ)


def run_archiver(
    store_url: str,
    directory: Path,
    *,
    every_s: float,
    stop: threading.Event,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Archive every `every_s` seconds until `stop` is set."""
    pause_s = every_s
    while not stop.wait(pause_s):
        rows = archive_in_child(store_url, directory, stop=stop, environ=environ)
        pause_s = every_s if rows else min(pause_s * 2, every_s * LONGEST_PAUSE)


def archive_in_child(
    store_url: str, directory: Path, *, stop: threading.Event, environ: Mapping[str, str] | None = None
) -> int:
    """`router.store.archive.archive_once` in a process of its own, ended early when `stop` is set.

    Returns:
        Rows archived; 0 for a failed pass, which is logged and made good by the next.
    """
    # The URL may hold a password, and a command line is public.
    printed = pass_in_child("router.store.archive", directory, store_url, stop=stop, environ=environ)
    return 0 if printed is None else int(printed)


def pass_in_child(
    module: str, directory: Path, told: str, *, stop: threading.Event, environ: Mapping[str, str] | None = None
) -> str | None:
    """Run a module's pass over a data directory in a process of its own, ended early when `stop` is set.

    Args:
        told: What it reads on standard input.

    Returns:
        What it printed; None for a failed pass, which is logged and made good by the next.
    """
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", module, str(directory)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environ,
    )  # fmt: skip
    to_send: str | None = told
    while True:
        try:
            printed, problems = child.communicate(to_send, timeout=0.1)
            break
        except subprocess.TimeoutExpired:
            to_send = None
            if stop.is_set():
                child.terminate()
    if child.returncode != 0:
        if not stop.is_set():
            log.error("%s failed and will be tried again: %s", module, problems.strip().rsplit("\n", 1)[-1])
        return None
    return printed
