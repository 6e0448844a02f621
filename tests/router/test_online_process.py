"""The learner's process: what it is told, that it comes back, ends when told, and waits where the store is away."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from lessons import example_policy

from policies.artifact import Artifact, read_artifact, save_artifact
from policies.features import FEATURES_ID
from policies.zoo.thompson import Exploring
from router.config.load import build_config
from router.config.schema import Config
from router.online.brief import LearnerBrief
from router.online.keeper import KeptLearner
from router.online.process import run_rounds
from router.store.keys import online_keys
from router.store.valkey import StoreOptions, ValkeyStore


class Encoder:
    """What the example policy's embeddings come from."""

    encoder_id, name, dim = "example", "example", 8

    def encode(self, texts: Any) -> np.ndarray:
        return np.full((len(texts), 8), 8**-0.5, np.float32)


def config(folder: Path, url: str = "embedded", **online: Any) -> Config:
    tree = {
        "models": {name: {"deployments": [{"upstream": "fake"}]} for name in ("a", "b", "c")},
        "store": {"url": url, "dir": str(folder / "store")},
        "policy": {"name": "default", "artifact": str(folder / "artifact"), "online": {"enabled": True} | online},
        "tenants": {"loud": {"organisation": "acme"}, "quiet": {"organisation": "acme", "training": False}},
    }
    return build_config(tree, source="test", env={})


def written(folder: Path) -> str:
    """The example as an artifact; its version."""
    policy = example_policy()
    arms = tuple({"name": name, "price": None, "revision": ""} for name in policy.arm_names)
    artifact = Artifact("default", arms, "example", FEATURES_ID, tensors=policy.to_tensors())
    return read_artifact(save_artifact(artifact, folder / "artifact", encoder=Encoder())).version


def soon(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_a_brief_says_who_is_heard_and_survives_its_pipe(tmp_path: Path) -> None:
    brief = LearnerBrief.of(config(tmp_path, metrics={"thumbs": 0.3}, wait_s=60, explore_share=0.1, extra_usd=0.5))
    assert brief is not None
    assert LearnerBrief.load(brief.dump()) == brief
    assert brief.dump().count(b"\n") == 1
    hearing = brief.hearing
    assert (hearing.weights, hearing.opted_out, hearing.wait_s) == ({"thumbs": 0.3}, {("acme", "quiet")}, 60)
    assert brief.exploring == Exploring(share=0.1, extra_usd=0.5)
    every = LearnerBrief.of(config(tmp_path))
    assert every is not None
    assert every.exploring == Exploring(share=0.0)
    assert every.hearing.weights == dict.fromkeys(("accept", "score", "thumbs", "tests_passed"), 1.0)


def test_nothing_runs_where_nothing_is_learned(tmp_path: Path) -> None:
    assert LearnerBrief.of(config(tmp_path, enabled=False)) is None
    kept = KeptLearner(tmp_path)
    kept.take(config(tmp_path, enabled=False))
    kept.poll()
    assert kept.pid is None
    kept.stop()


def test_a_problem_is_told_once_until_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    stop, outcomes = threading.Event(), iter(["away", "away", "", "away", ""])

    def one_round() -> bool:
        problem = next(outcomes, None)
        if problem is None:
            stop.set()
        if problem:
            raise redis.ConnectionError(problem)
        return True

    with caplog.at_level(logging.INFO):
        run_rounds(one_round, stop=stop, interval_s=0.001)
    assert caplog.text.count("learning waits, serving goes on: ConnectionError: away") == 2
    assert caplog.text.count("learning goes on") == 2


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_learner_that_is_killed_comes_back_and_one_that_is_told_ends(valkey_url: str, tmp_path: Path) -> None:
    """It waits at first: no worker has loaded the store's functions yet."""
    keys, metrics_dir, now = online_keys(written(tmp_path)), tmp_path / "metrics", [0.0]
    metrics_dir.mkdir()
    kept, client = KeptLearner(metrics_dir, clock=lambda: now[0]), redis.Redis.from_url(valkey_url)
    kept.take(config(tmp_path, valkey_url, interval_s=0.1))
    store = ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path / "spool"))
    await store.start()
    try:
        soon(lambda: client.hget(keys.state, "read_at"))
        assert kept.pid is not None
        os.kill(kept.pid, signal.SIGKILL)
        soon(lambda: kept.poll() or kept.pid is None)
        now[0] += 60.0
        kept.poll()
        assert kept.pid is not None
        client.delete(keys.lease)
        before = client.hget(keys.state, "read_at")
        soon(lambda: client.hget(keys.state, "read_at") != before)
        assert client.exists(keys.lease)
    finally:
        kept.stop()
        await store.aclose()
    assert kept.pid is None
    assert not client.exists(keys.lease)  # it let go, so that the next begins at once
