"""Explaining a decision without a gateway, and with one: the same words and numbers."""

from pathlib import Path

import orjson
import pytest
from rig import Given, World, body, config_of, tree

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
