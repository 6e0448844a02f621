"""A log of decisions with feedback in a real store, and learners that read it."""

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson
import redis

from policies.arms import Arm
from policies.features import FEATURE_NAMES
from policies.policy import ArmFacts
from policies.prices import Price
from policies.zoo.default import DefaultPolicy
from policies.zoo.thompson import Exploring
from router.metrics import Metrics
from router.online.awaiting import Hearing
from router.online.ledger import Ledger
from router.online.snapshot import Served, offsets_of, read_served
from router.online.tutor import Tutor
from router.store.base import End, Start
from router.store.keys import load_functions, online_keys
from router.store.valkey import StoreOptions, ValkeyStore

ARMS = [ArmFacts(Arm(name, "instant"), price=Price(10**8, 10**8)) for name in ("a", "b", "c", "spare")]
BOUNDS = {"score": (0.0, 1.0), "stars": (1.0, 5.0), "thumbs": (0.0, 1.0)}
HEARING = Hearing(BOUNDS, {"score": 1.0, "stars": 1.0, "thumbs": 0.5})


def example_policy(*, version: str = "v1") -> DefaultPolicy:
    """Arms a, b and c on embeddings of 8 numbers, residuals of deviation .4, two cells that may differ by .05."""
    policy = DefaultPolicy.example(ARMS)
    cells = np.array([0, 0, 0, 1, 1, 1], np.int32)
    offsets = replace(
        policy.offsets, cells=cells, sums=np.zeros((1, 3, 2)), counts=np.zeros((1, 3, 2)),
        prior_sd=np.full((1, 3), 0.05), noise_sd=np.full(3, 0.4),
    )  # fmt: skip
    return policy.with_offsets(offsets, version=version)


def embedding_of(number: int) -> np.ndarray:
    """Some query's."""
    return np.random.default_rng(number).normal(size=8).astype(np.float16)


class Lessons:
    """``async with Lessons(url, folder) as log: await log.answered(1); await log.feedback(1, 0.0)``."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder, self._stack, self._n_feedback = url, folder, AsyncExitStack(), 0
        self.client = redis.Redis.from_url(url)
        self.metrics = Metrics()

    async def __aenter__(self) -> Self:
        self.store = ValkeyStore(self.url, StoreOptions(spool_dir=self.folder / "spool"))
        await self.store.start()
        self._stack.push_async_callback(self.store.aclose)
        self._stack.callback(self.client.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def answered(self, *numbers: int, arm: str = "a/instant", organisation: str = "acme", **more: Any) -> None:
        """Decisions with their outcomes; `training=False` as a tenant's row that opted out, `decision` more of it."""
        status, tenant = more.get("status", "ok"), more.get("tenant", "t")
        for n in numbers:
            kept = embedding_of(n).tobytes() if more.get("training", True) else b""
            who = {"request_id": f"r{n}", "decision_id": f"d{n}", "organisation": organisation, "tenant": tenant}
            features = [0.0] * len(FEATURE_NAMES) if kept else []
            decision = {"encoder_id": "example" if kept else "", "features": features, "kind": "drawn", "arm": arm}
            decision |= more.get("decision", {})
            await self.store.begin(Start(f"r{n}", organisation, b"{}", orjson.dumps(who | decision), kept))
            outcome = orjson.dumps(who | {"status": status, "served_arm": arm} | more.get("outcome", {}))
            await self.store.settle(End(f"r{n}", organisation, outcome, f"d{n}", tenant))

    async def feedback(
        self, number: int, value: float, *, metric: str = "score", organisation: str = "acme", tenant: str = "t"
    ) -> None:
        self._n_feedback += 1
        row = {
            "feedback_id": f"f{self._n_feedback}", "decision_id": f"d{number}", "metric": metric, "value": value,
            "organisation": organisation, "tenant": tenant,
        }  # fmt: skip
        await self.store.feedback(organisation, row=orjson.dumps(row), idempotency_key="")

    def tutor(self, policy: DefaultPolicy | None = None, **more: Any) -> Tutor:
        """A learner as a process of its own would be."""
        policy = policy or example_policy()
        ledger = Ledger(self.client, load_functions(), artifact=policy.version, lease_s=30.0)
        told = {"hearing": HEARING, "exploring": Exploring(share=0.0), "trials_usd": {}}
        settings: dict[str, Any] = told | {"directory": self.folder, "metrics": self.metrics} | more
        return Tutor(policy, client=self.client, ledger=ledger, **settings)

    def caught_up(self, tutor: Tutor) -> Tutor:
        while tutor.round():
            pass
        return tutor

    def killed(self, tutor: Tutor, *, artifact: str = "v1") -> None:
        """It reads to the log's end and is gone; its lease runs out."""
        self.caught_up(tutor)
        self.client.delete(online_keys(artifact).lease)

    def served(self, policy: DefaultPolicy | None = None) -> Served:
        """What workers would serve."""
        policy = policy or example_policy()
        return read_served(self.state(policy), artifact=policy.version)

    def state(self, policy: DefaultPolicy | None = None) -> dict[bytes, bytes]:
        found: Any = self.client.hgetall(online_keys((policy or example_policy()).version).state)
        return dict(found)

    def shown(self) -> tuple[float, float]:
        """Weight of all residuals and their sum, in what is published."""
        offsets = offsets_of(self.served().offsets, example_policy())
        return float(offsets.counts.sum()), float(offsets.sums.sum())

    def expected(self, scores: dict[int, float], *, arm: int = 0, weight: float = 1.0) -> tuple[float, float]:
        """The same, were exactly these scores heard of decisions answered by one arm."""
        embeddings = np.stack([embedding_of(n) for n in scores]).astype(np.float32)
        recall = example_policy().recall(embeddings, np.zeros((len(scores), len(FEATURE_NAMES)), np.float32))
        residuals = np.array(list(scores.values())) - recall.quality[:, arm]
        return weight * len(scores), weight * float(residuals.sum())

    def lost(self, reason: str) -> float:
        """Counted under this reason."""
        return float(self.metrics.online_dropped.labels(reason)._value.get())
