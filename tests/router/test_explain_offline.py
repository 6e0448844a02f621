"""Explaining a decision without a gateway, and with one: the same words and numbers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
import pytest
from rig import Given, TinyEncoder, World, body, config_of, tree

from policies.zoo.linear import LinearPolicy
from router.commands.explain import show
from router.errors import NotFound
from router.explain import explain_offline

pytestmark = pytest.mark.asyncio
PLAIN = tree("small", "large", tenants={"first": {}, "second": {"models": ["large"]}})


async def test_a_prompt_is_explained_with_the_configured_rules() -> None:
    told = await explain_offline(config_of(PLAIN), body("hi"))
    assert (told["kind"], told["arm"], told["late"]) == ("drawn", "small/instant", False)
    assert (told["policy"].partition("@")[0], told["encoder_id"].startswith("minilm-")) == ("rules", True)
    assert "short and simple" in told["reason"]
    assert orjson.loads(orjson.dumps(told)) == told


async def test_the_tenant_decides_who_may_answer() -> None:
    told = await explain_offline(config_of(PLAIN), body("hi"), tenant="second")
    assert (told["arm"], list(told["removed"])) == ("large/instant", ["small/instant"])


async def test_an_unknown_tenant_is_told_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match="first, second"):
        await explain_offline(config_of(PLAIN), body("hi"), tenant="third")


async def test_intervals_are_eighty_percent_and_inside_the_unit(valkey_url: str, tmp_path: Path) -> None:
    policy = Given(quality={"small/instant": 0.5, "large/instant": 0.9})
    async with World(valkey_url, tmp_path, tree(), policy=policy) as world:
        told = (await world.ask("/v1/decide", body())).json
    assert [arm["quality_low"] for arm in told["arms"]] == [None, None]  # this policy claims no uncertainty
    assert [arm["usd"] for arm in told["arms"]] == [None, None]
    assert (told["trade_off"]["max_usd"], told["turn"], told["explore"]) == (None, 1, 0.0)


class EightNumbers(TinyEncoder):
    """As many as the linear policy's example looks at."""

    dim = 8

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.tile(super().encode(texts), 2)


async def test_a_learned_policys_every_figure_is_shown_and_adds_up(
    valkey_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tree("small", "large", "third", tenants={"t": {"models": ["small", "large"], "explore": 0.1}})
    world = World(valkey_url, tmp_path, plain)
    world.encoder = EightNumbers()
    async with world:
        policy = LinearPolicy.example(list(world.gateway.setup.arms.values()))
        world.gateway.setup = world.setup_of(world.config, policy)
        told = (await world.ask("/v1/decide", body("how many primes are there below 100?"))).json
    worth, pace = told["trade_off"]["quality_per_usd"], told["trade_off"]["quality_per_s"]
    for arm in told["arms"]:
        assert 0 <= arm["quality_low"] < arm["quality"] < arm["quality_high"] <= 1
        assert arm["utility"] == pytest.approx(arm["quality"] - worth * arm["usd"] - pace * arm["seconds"])
        assert arm["usd"] > 0
        assert arm["seconds"] > 0
        assert arm["propensity"] >= 0.1 / 2
    assert sum(arm["propensity"] for arm in told["arms"]) == pytest.approx(1.0)
    assert told["removed"] == {"third/instant": "model not allowed for this request or tenant"}
    show(told)
    shown = capsys.readouterr().out
    for arm in told["arms"]:
        assert f"{arm['quality']:.2f} {arm['quality_low']:.2f}…{arm['quality_high']:.2f}" in shown
        assert all(figure in shown for figure in (f"{arm['usd']:.6f}", f"{arm['utility']:.3f}"))
    assert "third/instant removed: model not allowed" in shown
