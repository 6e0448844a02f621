"""Workers serve the last published state of their own artifact, and nothing else ever changes for a request."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from lessons import Lessons, example_policy
from rig import TinyEncoder, World, body, tree, until

from policies.zoo.default import DefaultPolicy
from policies.zoo.thompson import Exploring
from router.config.schema import OnlineConfig
from router.online.follower import Follower
from router.setup import Setup
from router.store.base import StoreUnavailable

pytestmark = pytest.mark.asyncio
SCORES = dict.fromkeys(range(40), 0.0)
ONLINE = OnlineConfig(enabled=True, interval_s=0.1)


class EightDimensions(TinyEncoder):
    """The example artifact's encoder."""

    encoder_id, name, dim = "example", "example", 8

    def encode(self, texts: Any) -> np.ndarray:
        short = super().encode(texts)
        return np.concatenate([short, short], axis=1) / np.float32(np.sqrt(2.0))


def learning(setup: Setup, policy: DefaultPolicy, online: OnlineConfig = ONLINE) -> Setup:
    """As a configuration with this artifact and `online` would be."""
    told = setup.config.model_copy(update={"policy": setup.config.policy.model_copy(update={"online": online})})
    label = f"{policy.name}@{policy.version}"
    return replace(setup, config=told, policy=policy, policy_label=label, policy_series=label, encoder_id="example")


def world(url: str, folder: Path) -> World:
    made = World(url, folder, tree("a", "b", "c"))
    made.encoder = EightDimensions()
    return made


def label(world: World) -> str:
    return world.gateway.setup.policy_label


async def taught(log: Lessons, tutor: Any, scores: dict[int, float] = SCORES) -> None:
    await log.answered(*scores)
    for n, score in scores.items():
        await log.feedback(n, score)
    log.caught_up(tutor)


async def test_a_worker_serves_what_was_learned_under_a_version_of_its_own(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log, world(valkey_url, tmp_path) as served:
        gateway, policy = served.gateway, example_policy()
        follower = Follower(log.store, gateway.metrics)
        gateway.setup = follower.take(learning(gateway.setup, policy))
        await follower.look(gateway)
        assert label(served) == "default@v1"
        tutor = log.caught_up(log.tutor())
        await follower.look(gateway)
        first = (await served.chat(body())).headers
        await taught(log, tutor)
        await follower.look(gateway)
        second = (await served.chat(body())).headers
        assert (first["x-gearshift-policy"], second["x-gearshift-policy"]) == ("default@v1+1", "default@v1+2")
        rows = [row for row in served.rows(b"d") if row["tenant"] == "default"]
        assert [row["policy"] for row in rows] == ["default@v1+1", "default@v1+2"]
        before, after = (dict(zip(row["arms"], row["quality"], strict=True)) for row in rows)
        assert after["a/instant"] < before["a/instant"] - 0.02
        assert all(sum(row["propensities"]) == pytest.approx(1.0) for row in rows)


async def test_series_do_not_multiply_with_the_states(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log, world(valkey_url, tmp_path) as served:
        follower = Follower(log.store, served.gateway.metrics)
        served.gateway.setup = follower.take(learning(served.gateway.setup, example_policy()))
        tutor = log.tutor()
        for n in range(3):
            await taught(log, tutor, {n: 0.0})
            await follower.look(served.gateway)
            await served.chat(body())
        samples = [sample for metric in served.gateway.metrics.decisions.collect() for sample in metric.samples]
        assert {sample.labels["policy"] for sample in samples} == {"default@v1"}


async def test_a_request_in_flight_keeps_its_state(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log, world(valkey_url, tmp_path) as served:
        follower = Follower(log.store, served.gateway.metrics)
        served.gateway.setup = follower.take(learning(served.gateway.setup, example_policy()))
        served.encoder.gate.clear()
        wire, task = served.start("/v1/chat/completions", body())
        await until(lambda: bool(served.encoder.texts))
        log.caught_up(log.tutor())
        await follower.look(served.gateway)
        served.encoder.gate.set()
        await task
        assert wire.got.headers["x-gearshift-policy"] == "default@v1"
        assert label(served) == "default@v1+1"


async def test_a_reload_keeps_what_was_learned_of_its_artifact(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log, world(valkey_url, tmp_path) as served:
        gateway, plain = served.gateway, served.gateway.setup
        follower = Follower(log.store, gateway.metrics)
        gateway.setup = follower.take(learning(plain, example_policy()))
        log.caught_up(log.tutor())
        await follower.look(gateway)
        assert follower.take(learning(plain, example_policy())).policy_label == "default@v1+1"
        assert follower.take(learning(plain, example_policy(version="v2"))).policy_label == "default@v2"
        assert follower.take(learning(plain, example_policy(), OnlineConfig())).policy_label == "default@v1"


async def test_a_state_that_does_not_fit_is_refused_once_and_the_policy_stays(
    valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Lessons(valkey_url, tmp_path) as log, world(valkey_url, tmp_path) as served:
        follower = Follower(log.store, served.gateway.metrics)
        served.gateway.setup = follower.take(learning(served.gateway.setup, example_policy()))
        log.caught_up(log.tutor())
        log.client.hset("gs:{gs}:online:v1", "offsets", b"nothing")
        for _ in range(3):
            await follower.look(served.gateway)
        assert label(served) == "default@v1"
        assert caplog.text.count("cannot be read") == 1


async def test_while_the_store_is_away_the_state_stays_and_the_lag_grows(valkey_url: str, tmp_path: Path) -> None:
    class Away:
        async def fields(self, key: str, *names: str) -> list[bytes | None]:
            raise StoreUnavailable("gone")

        now = fields

    async with Lessons(valkey_url, tmp_path) as log, world(valkey_url, tmp_path) as served:
        follower = Follower(log.store, served.gateway.metrics)
        served.gateway.setup = follower.take(learning(served.gateway.setup, example_policy()))
        log.caught_up(log.tutor())
        await follower.look(served.gateway)
        before = served.gateway.metrics.online_lag._value.get()
        follower._store = Away()  # type: ignore[assignment]
        await follower.look(served.gateway)
        assert label(served) == "default@v1+1"
        assert served.gateway.metrics.online_lag._value.get() > before


async def test_off_it_asks_the_store_for_nothing(valkey_url: str, tmp_path: Path) -> None:
    class Untouched:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"asked for {name}")

    async with world(valkey_url, tmp_path) as served:
        setup = served.gateway.setup
        follower = Follower(Untouched(), served.gateway.metrics)
        assert follower.take(setup) is setup
        await follower.look(served.gateway)
        assert served.gateway.setup is setup


async def test_what_the_gateway_bills_is_what_the_trials_cost_and_workers_bar_what_is_over(
    valkey_url: str, tmp_path: Path
) -> None:
    """Counted again here from the rows of real requests: the arm of highest utility pays nothing."""
    async with Lessons(valkey_url, tmp_path) as log, world(valkey_url, tmp_path) as served:
        gateway, trials = served.gateway, dict.fromkeys(("a/instant", "b/instant", "c/instant"), 1e-9)
        follower = Follower(log.store, gateway.metrics)
        gateway.setup = follower.take(learning(gateway.setup, example_policy()))
        tutor = log.caught_up(log.tutor(exploring=Exploring(share=1.0), trials_usd=trials))
        await follower.look(gateway)
        for n in range(20):
            await served.chat(body(f"question {n}", model="auto:best"))
        bills = {row["decision_id"]: row["nano_usd"] for row in served.rows(b"o")}
        cost: dict[str, int] = {}
        for row in served.rows(b"d"):
            per_usd, per_s, *_ = row["trade_off"]
            numbers = zip(row["arms"], row["quality"], row["usd"], row["seconds"], strict=True)
            worth = {arm: quality - per_usd * usd - per_s * seconds for arm, quality, usd, seconds in numbers}
            if worth[row["arm"]] < max(worth.values()):
                cost[row["arm"]] = cost.get(row["arm"], 0) + bills[row["decision_id"]]
        assert "c/instant" in cost
        log.caught_up(tutor)
        assert orjson.loads(log.state()[b"trials"])["spent_nano_usd"] == cost
        await follower.look(gateway)
        assert label(served) == "default@v1+2"
        assert gateway.setup.policy._exploring.barred == set(cost)  # type: ignore[attr-defined]


async def test_what_the_gateway_logs_is_what_the_learner_learns_from(valkey_url: str, tmp_path: Path) -> None:
    """The rows that a real request and its feedback over HTTP leave, not rows of a test."""
    async with Lessons(valkey_url, tmp_path) as log, world(valkey_url, tmp_path) as served:
        served.gateway.setup = learning(served.gateway.setup, example_policy())
        tutor = log.caught_up(log.tutor())
        answer = orjson.loads((await served.chat(body())).raw)
        await served.ask("/v1/feedback", {"response_id": answer["id"], "metric": "score", "value": 0.0})
        log.caught_up(tutor)
        assert log.shown()[0] == 1.0
        assert log.shown()[1] < 0.0
