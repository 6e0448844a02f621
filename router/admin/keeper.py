"""The supervisor's hold on the admin API: its socket, and the process that serves it."""

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from router.admin.brief import AdminBrief
from router.config.schema import Config
from router.kept_process import KeptProcess
from router.listening import PortTaken, bind
from router.parent_death import die_with_parent
from router.worker_environment import worker_environment

log = logging.getLogger(__name__)


class KeptAdmin(KeptProcess):
    """Serves the admin API where the configuration has one."""

    name = "the admin API"

    def __init__(
        self, metrics_dir: Path, *, secret: bytes, version: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(metrics_dir, clock=clock)
        self._secret, self._version = secret, version
        self._socket: socket.socket | None = None
        self._address: tuple[str, int] | None = None

    def listen(self, config: Config) -> None:
        """Bind where this configuration says, if anywhere. Raises PortTaken."""
        wanted = None if config.admin is None else (config.admin.host, config.admin.port)
        if wanted == self._address:
            return
        self._unbind()
        if wanted is not None:
            self._socket = bind(*wanted, remedy="set another admin.port")
            self._address = wanted

    def take(self, config: Config) -> None:
        """Serve as this configuration says from now on; a place that is taken costs the admin API, not the gateway."""
        self.stop()
        try:
            self.listen(config)
        except PortTaken as problem:
            log.error("there is no admin API: %s", problem)
            return
        super().take(config)

    def close(self) -> None:
        """Stop, and listen no more."""
        self.stop()
        self._unbind()

    def start(self, config: Config) -> tuple[subprocess.Popen[bytes], bytes] | None:
        if config.admin is None or self._socket is None:
            return None
        brief = AdminBrief(config, self._secret, self._socket.fileno(), self._version)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "router.admin.process"],
            stdin=subprocess.PIPE,
            pass_fds=(brief.socket_fd,),
            env=worker_environment(config, os.environ, metrics_dir=self._metrics_dir),
            process_group=0,
            preexec_fn=die_with_parent(),
        )
        return process, brief.dump()

    def _unbind(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = self._address = None
