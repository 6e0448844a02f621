"""The learner's process: rounds of learning until SIGTERM. It serves nobody, so that learning costs no request."""

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable

import redis

from policies.artifact import read_artifact
from policies.zoo.default import DefaultPolicy
from router.metrics import Metrics, settle_process_id
from router.online.brief import LearnerBrief
from router.online.ledger import Ledger
from router.online.snapshot import StateUnreadable
from router.online.tutor import Tutor
from router.store.keys import load_functions
from router.store.place import data_dir, store_url

log = logging.getLogger(__name__)
LEAST_LEASE_S, LEASE_ROUNDS = 15.0, 3.0
REDIS_TIMEOUT_S = 30.0


def learn(brief: LearnerBrief, *, stop: threading.Event, metrics: Metrics) -> None:
    """Learn until ``stop`` is set. A store that is away is waited for.

    Raises:
        PolicyError: The artifact cannot be used.
    """
    # Its embeddings come from the log, and `Awaiting` compares their encoder: none is loaded here.
    policy = DefaultPolicy.from_artifact(read_artifact(brief.artifact))
    lease_s = max(LEAST_LEASE_S, LEASE_ROUNDS * brief.online.interval_s)
    for arm in policy.arm_names:
        for direction in ("worse", "better"):
            metrics.arm_alarms.labels(arm, direction)  # from 0 on, so that the first alarm is a rise
    for arm in brief.online.trials:
        metrics.trials_ended.labels(arm)
    with redis.Redis.from_url(store_url(brief.store), socket_timeout=REDIS_TIMEOUT_S) as client:
        ledger = Ledger(client, load_functions(), artifact=policy.version, lease_s=lease_s)
        tutor = Tutor(
            policy,
            client=client,
            ledger=ledger,
            directory=data_dir(brief.store),
            hearing=brief.hearing,
            exploring=brief.exploring,
            trials_usd=brief.online.trials,
            metrics=metrics,
        )
        run_rounds(tutor.round, stop=stop, interval_s=brief.online.interval_s)
        with contextlib.suppress(redis.RedisError):  # it runs out by itself
            ledger.release()


def run_rounds(one_round: Callable[[], bool], *, stop: threading.Event, interval_s: float) -> None:
    """A round after the other while there is more to read, else every ``interval_s``; each new problem is told once."""
    told = ""
    while not stop.is_set():
        try:
            more, problem = one_round(), ""
        except (redis.RedisError, OSError, ValueError, StateUnreadable) as error:
            more, problem = False, f"{type(error).__name__}: {error}"
        if problem and problem != told:
            log.error("learning waits, serving goes on: %s", problem)
        elif told and not problem:
            log.info("learning goes on")
        told = problem
        if not more:
            stop.wait(interval_s)


def main() -> None:
    """Read the brief from standard input and learn."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    brief = LearnerBrief.load(sys.stdin.buffer.readline())
    settle_process_id()
    learn(brief, stop=stop, metrics=Metrics())


if __name__ == "__main__":
    main()
