"""What the supervisor tells the learner's process: one JSON line on its standard input, for it may hold a password."""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from policies.zoo.thompson import Exploring
from router.config.schema import Config, OnlineConfig, StoreConfig
from router.online.awaiting import Hearing


@dataclass(frozen=True, slots=True)
class LearnerBrief:
    """All the learner needs of a configuration.

    Attributes:
        opted_out: (organisation, tenant) of tenants with ``training: false``.
    """

    store: StoreConfig
    artifact: str
    online: OnlineConfig
    feedback: Mapping[str, tuple[float, float]]
    opted_out: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, config: Config) -> "LearnerBrief | None":
        """None where nothing is learned."""
        policy = config.policy
        if not policy.online.enabled or policy.artifact is None:
            return None
        opted_out = tuple((tenant.organisation, name) for name, tenant in config.tenants.items() if not tenant.training)
        return cls(config.store, policy.artifact, policy.online, config.feedback, opted_out)

    @property
    def hearing(self) -> Hearing:
        """Whose feedback is heard, and how."""
        online = self.online
        weights = dict.fromkeys(self.feedback, 1.0) if online.metrics is None else online.metrics
        return Hearing(
            self.feedback, weights, frozenset(self.opted_out), wait_s=online.wait_s, most=online.most_waiting
        )

    @property
    def exploring(self) -> Exploring:
        """As tenants' requests may explore, before any trial is over."""
        extra_usd = self.online.extra_usd
        return Exploring(share=self.online.explore_share, extra_usd=float("inf") if extra_usd is None else extra_usd)

    def dump(self) -> bytes:
        """One line."""
        told = {
            "store": self.store.model_dump(mode="json"),
            "artifact": self.artifact,
            "online": self.online.model_dump(mode="json"),
            "feedback": self.feedback,
            "opted_out": self.opted_out,
        }
        return orjson.dumps(told) + b"\n"

    @classmethod
    def load(cls, line: bytes) -> "LearnerBrief":
        """Read what `dump` wrote."""
        told = orjson.loads(line)
        return cls(
            StoreConfig.model_validate(told["store"]),
            told["artifact"],
            OnlineConfig.model_validate(told["online"]),
            {metric: (low, high) for metric, (low, high) in told["feedback"].items()},
            tuple((organisation, tenant) for organisation, tenant in told["opted_out"]),
        )
