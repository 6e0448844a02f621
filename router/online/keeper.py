"""The supervisor's hold on the learner's process: started where something is learned, and again when it ends."""

import os
import subprocess
import sys
from collections.abc import Callable

from router.config.schema import Config
from router.kept_process import KeptProcess
from router.online.brief import LearnerBrief
from router.parent_death import die_with_parent
from router.worker_environment import worker_environment

NICE = 10  # from its first step on: workers that start beside it come first


class KeptLearner(KeptProcess):
    """Learns as the configuration says; its artifact may be new in the same folder."""

    name = "the learner"

    def start(self, config: Config) -> tuple[subprocess.Popen[bytes], bytes] | None:
        brief = LearnerBrief.of(config)
        if brief is None:
            return None
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "router.online.process"],
            stdin=subprocess.PIPE,
            env=worker_environment(config, os.environ, metrics_dir=self._metrics_dir),
            process_group=0,
            preexec_fn=_gently(die_with_parent()),
        )
        return process, brief.dump()


def _gently(tie: Callable[[], None] | None) -> Callable[[], None]:
    def begin() -> None:
        os.nice(NICE)
        if tie is not None:
            tie()

    return begin
