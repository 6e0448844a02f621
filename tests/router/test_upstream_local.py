"""The built-in model's endpoint says why it cannot be called: it loads, or its process does not run."""

from functools import partial
from pathlib import Path

import pytest
from rig import Json, World, body, tree

from router.config.local import with_local_url
from router.upstreams.local import LocalNews, LocalUpstream

pytestmark = pytest.mark.asyncio
NOWHERE = "http://127.0.0.1:9/v1"
MISSING = "the local model needs the package xllamacpp"


def local_tree() -> Json:
    plain = tree("small")
    plain["models"]["local"] = {"deployments": [{"upstream": "local"}], "price": {"input": 0, "output": 0}}
    return plain


@pytest.mark.parametrize(("problem", "said"), [("", "is still loading"), (MISSING, MISSING)])
async def test_a_local_model_that_is_not_up_says_why_to_whoever_asks(
    valkey_url: str, tmp_path: Path, problem: str, said: str
) -> None:
    news = LocalNews()
    world = World(valkey_url, tmp_path, local_tree())
    world.config, world.local = with_local_url(world.config, NOWHERE), partial(LocalUpstream, news=news)
    async with world:
        news.problem = problem
        named = await world.chat(body(model="local"))
        routed = await world.chat(body(gearshift={"models": ["local"]}))
        removed = (await world.ask("/v1/decide", body())).json["removed"]
        waiting = (await world.ask("/readyz", method="GET")).json["waiting"]
        other = await world.chat(body())
    assert (named.status, routed.status, other.status) == (503, 503, 200)
    assert said in named.error["message"]
    assert said in routed.error["message"]
    assert said in removed["local/instant"]
    assert said in waiting["local"]
