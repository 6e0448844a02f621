"""Erasures that were asked for over HTTP: they take as long as the archive is large, so each runs on its own thread.

What is known of them lives as long as this process. One that the process did not survive is simply asked for again; the
log of changes, which outlives it, has the end of those that came to one.
"""

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import redis

from policies.archive_schema import DamagedPartition
from router.directory.kept import DirectoryUnreadable
from router.http.boundary import log_place
from router.store.base import StoreUnavailable

if TYPE_CHECKING:
    from router.store.erase import Erased

log = logging.getLogger(__name__)
MOST_KEPT = 100
IN_WORDS = (StoreUnavailable, DamagedPartition, DirectoryUnreadable, OSError)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be erased."""

    organisation: str
    tenant: str
    budgets: bool


@dataclass(frozen=True, slots=True)
class Erasure:
    """One erasure as it stands.

    Attributes:
        erased: Once it is done.
        problem: Why it failed; what it had erased by then is gone.
    """

    id: str
    asked: Asked
    erased: "Erased | None" = None
    problem: str | None = None

    @property
    def state(self) -> Literal["running", "done", "failed"]:
        return "failed" if self.problem is not None else "running" if self.erased is None else "done"


class Erasures:
    """Those of this process, the last hundred."""

    def __init__(self) -> None:
        self._known: dict[str, Erasure] = {}
        self._lock = threading.Lock()

    def begin(self, asked: Asked, erase: "Callable[[], Erased]") -> Erasure:
        """Start it; one that is asked for while it runs is that one."""
        with self._lock:
            for known in self._known.values():
                if known.asked == asked and known.state == "running":
                    return known
            begun = Erasure(secrets.token_hex(8), asked)
            self._known[begun.id] = begun
            ended = [each.id for each in self._known.values() if each.state != "running"]
            for old in ended[: max(len(self._known) - MOST_KEPT, 0)]:
                del self._known[old]
        # A process that is told to stop must not wait for it: killed at any point, it can be begun again.
        threading.Thread(target=self._carry_out, args=(begun, erase), daemon=True).start()
        return begun

    def find(self, erasure_id: str) -> Erasure | None:
        with self._lock:
            return self._known.get(erasure_id)

    def _carry_out(self, begun: Erasure, erase: "Callable[[], Erased]") -> None:
        try:
            ended = replace(begun, erased=erase())
        except Exception as error:
            ended = replace(begun, problem=_in_words(error))
            log.error("erasure %s of tenant %r failed: %s", begun.id, begun.asked.tenant, ended.problem)
        with self._lock:
            self._known[begun.id] = ended


def _in_words(error: Exception) -> str:
    if isinstance(error, redis.RedisError):
        return "the store does not answer; ask for it again once it does"
    if isinstance(error, IN_WORDS):
        return f"{error}; ask for it again once that is mended"
    log_place(error)
    return "an internal error; the gateway's log says where"
