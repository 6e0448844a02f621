"""All deployments of all models with their health: who may be called, and who is called next."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import aiohttp

from router.config.schema import Config, Deployment, Timeouts
from router.upstreams.base import Upstream, UpstreamError
from router.upstreams.breaker import Breaker
from router.upstreams.retries import RetryBudget

FULL = 8.0  # calls in flight on one deployment at which `load` says one half

Maker = Callable[[str, Deployment, aiohttp.ClientSession], Upstream]


@runtime_checkable
class Starting(Protocol):
    """An upstream that is not there at once says so: a local model that still loads."""

    def unready(self) -> str | None:
        """Why it cannot be called yet, e.g. "loading"; None when it can."""
        ...


@dataclass(slots=True)
class Endpoint:
    """One deployment at work: the fixed wiring, and its health, which changes."""

    upstream: Upstream
    config: Deployment  # its `model` is always set: the name the endpoint knows
    timeouts: Timeouts
    breaker: Breaker = field(default_factory=Breaker)
    in_flight: int = 0
    _starting: Starting | None = field(init=False)

    def __post_init__(self) -> None:
        # Asked for every request, and isinstance of a protocol is slow.
        self._starting = self.upstream if isinstance(self.upstream, Starting) else None

    @property
    def name(self) -> str:
        return self.upstream.name

    def unready(self) -> str | None:
        """Why it cannot be called yet; None when it can."""
        return self._starting.unready() if self._starting is not None else None


class Deployments:
    """The endpoints of every model. `clock` is monotonic, `rng` balances and jitters, `sleep` waits for retries."""

    def __init__(
        self,
        endpoints: Mapping[str, list[Endpoint]],
        *,
        rng: random.Random,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.clock, self.sleep, self.rng = clock, sleep, rng
        self._endpoints = {model: tuple(group) for model, group in endpoints.items()}
        self._model_of = {endpoint.name: model for model, group in endpoints.items() for endpoint in group}
        # One budget for each model: another model's outage must not use up its retries.
        self._budgets = {model: RetryBudget() for model in endpoints}
        self._slow_start = frozenset(
            model for model, group in endpoints.items() if any(isinstance(e.upstream, Starting) for e in group)
        )

    def of(self, model: str) -> tuple[Endpoint, ...]:
        """The endpoints of a model, in the configuration's order."""
        return self._endpoints[model]

    def healthy(self, model: str) -> str | None:
        """None when the model can be called now, else the reason it cannot."""
        now = self.clock()
        group = self._endpoints[model]
        if model not in self._slow_start:
            return None if any(endpoint.breaker.usable(now) for endpoint in group) else "circuit open"
        reasons = [
            endpoint.unready() or (None if endpoint.breaker.usable(now) else "circuit open") for endpoint in group
        ]
        return None if None in reasons else reasons[0]

    def load(self, model: str) -> float:
        """How busy the usable endpoints are: 0 idle, 1/2 at 8 calls in flight on each, 1 when none is usable."""
        now = self.clock()
        usable = [endpoint for endpoint in self._endpoints[model] if endpoint.breaker.usable(now)]
        if not usable:
            return 1.0
        busy = sum(endpoint.in_flight for endpoint in usable) / len(usable)
        return busy / (busy + FULL)

    def pick(self, model: str, *, avoid: Collection[str] = ()) -> Endpoint:
        """The endpoint for the next attempt, one not in `avoid` if there is any.

        Two are drawn by weight and the one with fewer calls in flight per weight is taken: in proportion to the
        weights when idle, towards the quicker one under load.

        Raises:
            NoDeployment: None can be called now.

        Source: Mitzenmacher, "The power of two choices in randomized load balancing", 2001.
        """
        now = self.clock()
        usable = [e for e in self._endpoints[model] if e.breaker.usable(now) and e.unready() is None]
        if not usable:
            raise self._none_usable(model, now)
        fresh = [endpoint for endpoint in usable if endpoint.name not in avoid] if avoid else usable
        candidates = fresh or usable
        if len(candidates) == 1:
            return candidates[0]
        first = self._draw(candidates)
        second = self._draw([endpoint for endpoint in candidates if endpoint is not first])
        ahead = first.in_flight * second.config.weight <= second.in_flight * first.config.weight
        return first if ahead else second

    def note_request(self, model: str) -> None:
        """A client's request is about to make its first attempt on a model; earns its retry budget a share."""
        live = sum(endpoint.in_flight for endpoint in self._endpoints[model])
        self._budgets[model].request(self.clock(), live=live)

    def take_retry(self, deployment: str) -> bool:
        """Whether the budget allows to try again after an attempt on a deployment; takes one retry from it."""
        return self._budgets[self._model_of[deployment]].take(self.clock())

    def has_other(self, model: str, avoid: Collection[str]) -> bool:
        """Whether an endpoint outside `avoid` can be called now."""
        now = self.clock()
        return any(
            e.name not in avoid and e.breaker.usable(now) and e.unready() is None for e in self._endpoints[model]
        )

    async def aclose(self) -> None:
        """Close every upstream; the session is closed by who opened it."""
        for group in self._endpoints.values():
            for endpoint in group:
                await endpoint.upstream.aclose()

    def _draw(self, endpoints: list[Endpoint]) -> Endpoint:
        at = self.rng.random() * sum(endpoint.config.weight for endpoint in endpoints)
        for endpoint in endpoints:
            at -= endpoint.config.weight
            if at < 0:
                return endpoint
        return endpoints[-1]

    def _none_usable(self, model: str, now: float) -> "NoDeployment":
        group = self._endpoints[model]
        unready = next((why for endpoint in group if (why := endpoint.unready())), "")
        wait_s = 1.0 if unready else min(endpoint.breaker.wait_s(now) for endpoint in group)
        return NoDeployment(model, "loading" if unready else "connect", wait_s, why=unready)


class NoDeployment(UpstreamError):
    """Nothing of the model can be called now: every circuit is open, or it is not up. Nothing was sent.

    Attributes:
        why: What the endpoint says for itself, where it does.
    """

    def __init__(self, model: str, kind: str, wait_s: float, *, why: str = "") -> None:
        self.why = why
        super().__init__(model, kind, retry_after_s=wait_s, reached=False)


def build_deployments(
    config: Config,
    session: aiohttp.ClientSession,
    *,
    makers: Mapping[str, Maker],
    rng: random.Random | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Deployments:
    """The deployments a configuration declares.

    Args:
        makers: How to make an upstream of each `upstream:` kind; see `router.upstreams.makers`.
    """
    endpoints = {
        model: [
            Endpoint(
                upstream=makers[deployment.upstream](f"{model}#{index}", deployment, session),
                config=deployment.model_copy(update={"model": deployment.model or model}),
                timeouts=deployment.timeouts or settings.timeouts,
            )
            for index, deployment in enumerate(settings.deployments)
        ]
        for model, settings in config.models.items()
    }
    return Deployments(endpoints, rng=rng or random.Random(), clock=clock)
