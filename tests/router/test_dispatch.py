"""Choosing a deployment, trying again, and what a client is told: against the scripted upstream in process."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import orjson
import pytest

from policies.records import AttemptRecord
from router.config.schema import Deployment, Timeouts
from router.upstreams.base import Call, UpstreamError
from router.upstreams.breaker import Breaker
from router.upstreams.deployments import Deployments, Endpoint, NoDeployment
from router.upstreams.dispatch import Attempt, fetch, to_api_error, worth_falling_back
from router.upstreams.fake import Answer, FakeUpstream, Script

QUICK = Timeouts(first_byte_s=0.05, between_chunks_s=0.05, total_s=0.2)


def whole(attempt: Attempt, body: bytes) -> bytes:
    return body


class World:
    """Deployments of model `m`, one per answer, on a clock that only sleeping moves."""

    def __init__(self, *answers: Answer, weights: tuple[float, ...] = ()) -> None:
        self.now, self.slept, self.attempts = 0.0, [0.0], list[AttemptRecord]()
        endpoints = []
        for index, answer in enumerate(answers):
            config = Deployment(upstream="fake", model="real", weight=weights[index] if weights else 1.0)
            upstream = FakeUpstream(f"m#{index}", config, Script({}, answer))
            endpoints.append(Endpoint(upstream, config, QUICK))
        self.deployments = Deployments(
            {"m": endpoints}, rng=random.Random(7), clock=lambda: self.now, sleep=self._sleep
        )

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)

    async def ask(self, arm: str = "m/instant") -> bytes:
        """One request of its own, whole."""
        return await fetch(
            self.deployments, "m", caller(0), arm=arm, revision="rev", attempts=self.attempts, read=whole
        )

    async def ask_anew(self) -> None:
        """One request with its own list of attempts, its failure swallowed."""
        attempts: list[AttemptRecord] = []
        try:
            await fetch(
                self.deployments, "m", caller(self.now), arm="m/instant", revision="", attempts=attempts, read=whole
            )
        except UpstreamError:
            pass
        finally:
            self.attempts += attempts


class Unbreakable(Breaker):
    """So that only the retry budget protects the upstream."""

    def failed(self, now: float) -> None:
        """Never opens."""


def caller(request: float) -> Callable[[Deployment], Call]:
    def call_for(deployment: Deployment) -> Call:
        body = {"model": deployment.model, "messages": [{"role": "user", "content": "hi"}]}
        return Call(body=body, raw=orjson.dumps(body), stream=False, request_id=str(request))

    return call_for


@pytest.mark.asyncio
async def test_an_answer_leaves_one_attempt_and_no_trace() -> None:
    world = World(Answer())
    assert orjson.loads(await world.ask())["model"] == "real"
    assert [(a.deployment, a.arm, a.revision, a.kind, a.status) for a in world.attempts] == [
        ("m#0", "m/instant", "rev", "ok", 200)
    ]
    assert world.deployments.load("m") == 0.0


@pytest.mark.asyncio
async def test_a_failure_is_tried_again_on_another_deployment() -> None:
    world = World(Answer(fault="status_500"), Answer(fault="status_500"), Answer())
    await world.ask()
    assert world.attempts[-1].kind == "ok"
    assert len({attempt.deployment for attempt in world.attempts}) == len(world.attempts)


@pytest.mark.asyncio
async def test_a_cut_body_is_asked_for_again() -> None:
    world = World(Answer(fault=("cut_in_body", None)))
    await world.ask()
    assert [attempt.kind for attempt in world.attempts] == ["cut", "ok"]


@pytest.mark.asyncio
async def test_a_body_that_is_no_answer_is_a_failed_attempt() -> None:
    def read(attempt: Attempt, body: bytes) -> bytes:
        if b"choices" not in body:
            raise UpstreamError(attempt.deployment, "garbage", status=200)
        return body

    world = World(Answer(fault=("body_null", None)))
    await fetch(world.deployments, "m", caller(0), arm="a", revision="", attempts=world.attempts, read=read)
    assert [attempt.kind for attempt in world.attempts] == ["garbage", "ok"]


@pytest.mark.asyncio
async def test_three_attempts_are_all() -> None:
    world = World(Answer(fault="status_500"))
    with pytest.raises(UpstreamError) as caught:
        await world.ask()
    assert caught.value.status == 500
    assert [attempt.kind for attempt in world.attempts] == ["status"] * 3


@pytest.mark.asyncio
async def test_the_clients_own_mistake_is_not_tried_again() -> None:
    world = World(Answer(fault="status_400"), Answer())
    world.deployments.of("m")[1].breaker.state = "open"
    with pytest.raises(UpstreamError) as caught:
        await world.ask()
    assert len(world.attempts) == 1
    assert not worth_falling_back(caught.value)


@pytest.mark.asyncio
async def test_a_full_outage_adds_a_fifth_to_the_load_at_most() -> None:
    world = World(Answer(fault="status_500"))
    world.deployments.of("m")[0].breaker = Unbreakable()
    for _ in range(300):
        await world.ask_anew()
    # 3 at the start, a fifth of the requests, and what the reserve regains in the seconds slept.
    assert 300 < len(world.attempts) <= 300 * 1.2 + 3 + world.now * 0.1


def test_one_models_outage_leaves_anothers_retries_alone() -> None:
    config = Deployment(upstream="fake")
    groups = {name: [Endpoint(FakeUpstream(f"{name}#0", config), config, QUICK)] for name in ("a", "b")}
    deployments = Deployments(groups, rng=random.Random(0), clock=lambda: 0.0)
    assert [deployments.take_retry("a#0") for _ in range(4)] == [True, True, True, False]
    assert deployments.take_retry("b#0")


@pytest.mark.asyncio
async def test_an_outage_opens_the_circuit_and_is_left_alone() -> None:
    world = World(Answer(fault="status_500"))
    for _ in range(100):
        await world.ask_anew()
    assert len(world.attempts) <= 8
    assert world.deployments.healthy("m") == "circuit open"
    with pytest.raises(NoDeployment) as caught:
        await world.ask()
    assert to_api_error(caught.value).status == 503
    assert worth_falling_back(caught.value)


@pytest.mark.asyncio
async def test_busy_and_bad_requests_never_open_the_circuit() -> None:
    for fault in ("status_429", "status_400", "status_404"):
        world = World(Answer(fault=fault))
        for _ in range(50):
            await world.ask_anew()
        assert world.deployments.healthy("m") is None


@pytest.mark.asyncio
async def test_a_short_retry_after_is_waited_for() -> None:
    world = World(Answer(fault=("retry_after_short_429", None)))
    await world.ask()
    assert world.slept[1:] == [0.2]


@pytest.mark.asyncio
async def test_a_long_retry_after_is_handed_on_at_once() -> None:
    world = World(Answer(fault="retry_after_long_503"))
    with pytest.raises(UpstreamError) as caught:
        await world.ask()
    told = to_api_error(caught.value)
    assert (told.status, told.retry_after_s, len(world.attempts), world.now) == (503, 30.0, 1, 0.0)


@pytest.mark.asyncio
async def test_a_long_retry_after_is_not_waited_for_where_another_is_free() -> None:
    world = World(Answer(fault="retry_after_long_429"), Answer(fault="retry_after_long_429"), Answer())
    await world.ask()
    assert world.now < 1.0


@pytest.mark.asyncio
async def test_idle_deployments_share_by_weight() -> None:
    world = World(Answer(), Answer(), Answer(), weights=(1, 2, 5))
    for _ in range(1600):
        await world.ask_anew()
    served = Counter(attempt.deployment for attempt in world.attempts)
    for index, share in enumerate((1 / 8, 2 / 8, 5 / 8)):  # standard error 0.012
        assert served[f"m#{index}"] / 1600 == pytest.approx(share, abs=0.04)


@pytest.mark.asyncio
async def test_a_slow_deployment_gets_less() -> None:
    world = World(Answer(first_s=0.03), Answer())
    slow, _ = world.deployments.of("m")
    for _ in range(40):
        slow.in_flight = 3
        await world.ask_anew()
    assert Counter(attempt.deployment for attempt in world.attempts) == {"m#1": 40}


@pytest.mark.asyncio
async def test_a_cancelled_attempt_blames_nobody() -> None:
    world = World(Answer(fault="hang_before_status"))
    task = asyncio.create_task(world.ask())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [attempt.kind for attempt in world.attempts] == ["cancelled"]
    assert (world.deployments.load("m"), world.deployments.healthy("m")) == (0.0, None)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UpstreamError("u", "connect", retryable=True, reached=False), 502),
        (UpstreamError("u", "timeout", retryable=True), 504),
        (UpstreamError("u", "cut", retryable=True), 502),
        (UpstreamError("u", "garbage", status=302), 502),
        (UpstreamError("u", "status", status=401), 502),
        (UpstreamError("u", "status", status=402), 502),
        (UpstreamError("u", "status", status=404, client_error={"message": "no such model"}), 404),
        (UpstreamError("u", "status", status=413, client_error={"message": "too long"}), 413),
        (UpstreamError("u", "status", status=400), 502),
        (UpstreamError("u", "status", status=429, retry_after_s=30), 429),
        (UpstreamError("u", "status", status=503), 502),
        (UpstreamError("u", "status", status=503, retry_after_s=30), 503),
        (UpstreamError("u", "status", status=504), 504),
        (UpstreamError("u", "loading"), 503),
    ],
)
def test_what_the_client_is_told(error: UpstreamError, status: int) -> None:
    told = to_api_error(error)
    assert told.status == status
    assert orjson.loads(told.body())["error"]["message"]


def test_the_upstreams_error_object_keeps_its_fields() -> None:
    given = {"message": "too long", "type": "t", "param": "messages", "code": "context_length_exceeded"}
    told = to_api_error(UpstreamError("u", "status", status=400, client_error=given))
    assert orjson.loads(told.body())["error"] == given
