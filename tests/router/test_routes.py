"""The API beside the chat route: who may call it, what it says, what it leaves in the log."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rig import CHAT, Given, World, body, tree

from router.tenants import Caller

pytestmark = pytest.mark.asyncio
KEYED = {"acme": {"organisation": "o", "keys": ["key-of-acme"]}, "beta": {"organisation": "o", "keys": ["key-of-beta"]}}
ACME, BETA = {"authorization": "Bearer key-of-acme"}, {"authorization": "Bearer key-of-beta"}
GUARDED: list[tuple[str, str, Any]] = [
    ("POST", CHAT, body()),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/auto", None),
    ("POST", "/v1/embeddings", {"model": "auto", "input": "x"}),
    ("POST", "/v1/decide", body()),
    ("POST", "/v1/feedback", {"response_id": "chatcmpl-0", "metric": "score", "value": 1}),
]


@pytest.mark.parametrize(("method", "path", "sent"), GUARDED, ids=[path for _, path, _ in GUARDED])
async def test_a_guarded_route_takes_the_right_key_only(
    valkey_url: str, tmp_path: Path, method: str, path: str, sent: Any
) -> None:
    async with World(valkey_url, tmp_path, tree(tenants=KEYED)) as world:
        keys: list[dict[str, str]] = [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic key-of-acme"}]
        refused = [await world.ask(path, sent, method=method, headers=key) for key in keys]
        let_in = [
            await world.ask(path, sent, method=method, headers=key) for key in (ACME, {"x-api-key": "key-of-acme"})
        ]
    assert [(got.status, got.error["code"]) for got in refused] == [(401, "invalid_api_key")] * 3
    assert not any(got.status == 401 for got in let_in)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_probes_need_no_key(valkey_url: str, tmp_path: Path, path: str) -> None:
    async with World(valkey_url, tmp_path, tree(tenants=KEYED)) as world:
        assert (await world.ask(path, method="GET")).status == 200


async def test_ready_means_that_outcomes_can_be_recorded(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        ready = (await world.ask("/readyz", method="GET")).json
        assert (ready["status"], ready["waiting"]) == ("ready", {})
        await world.store._link.aclose()
        world.store._link._connection = None
        lost = await world.ask("/readyz", method="GET")
    assert (lost.status, lost.error["code"]) == (503, "store_unavailable")


async def test_models_lists_every_kind_of_name(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        cards = (await world.ask("/v1/models", method="GET")).json["data"]
        one = await world.ask("/v1/models/small/instant", method="GET")
        none = await world.ask("/v1/models/nobody", method="GET")
    kinds = {card["id"]: card["gearshift"]["kind"] for card in cards}
    assert len(kinds) == len(cards)
    assert {"auto", "auto:cheap", "auto:balanced", "auto:best", "auto:instant"} <= kinds.keys()
    assert (kinds["auto"], kinds["small"], kinds["small/instant"]) == ("virtual", "model", "arm")
    assert kinds["tiny-0123456789ab"] == "encoder"
    assert (one.json["id"], none.status, none.error["code"]) == ("small/instant", 404, "model_not_found")


async def test_models_lists_what_the_callers_tenant_may_ask_for_and_no_more(valkey_url: str, tmp_path: Path) -> None:
    plain = tree("small", "large", tenants={"t": {"models": ["small"], "modes": ["instant"]}})
    plain["models"]["small"] |= {"modes": ["instant", "reasoning"], "thinking": "reasoning_effort"}
    async with World(valkey_url, tmp_path, plain) as world:
        cards = (await world.ask("/v1/models", method="GET")).json["data"]
        hidden = ["large", "large/instant", "small/reasoning", "auto:reasoning"]
        missing = [await world.ask(f"/v1/models/{name}", method="GET") for name in hidden]
        answers = [await world.chat(body(model=card["id"])) for card in cards if card["gearshift"]["kind"] != "encoder"]
        refused = [await world.chat(body(model=name)) for name in hidden]
    assert {card["id"] for card in cards} >= {"auto", "auto:instant", "small", "small/instant"}
    assert {got.status for got in missing} == {404}
    assert {got.status for got in answers} == {200}
    assert {got.status for got in refused} == {400}


@pytest.mark.parametrize("name", ["auto", "auto:cheap", "auto:instant", "router-mf-0.11593", "small", "large/instant"])
async def test_every_listed_or_aliased_name_answers(valkey_url: str, tmp_path: Path, name: str) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        assert (await world.chat(body(model=name))).status == 200


@pytest.mark.parametrize("form", ["float", "base64"])
async def test_the_gateways_own_embeddings(valkey_url: str, tmp_path: Path, form: str) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        sent = {"model": "auto", "input": ["one", "two"], "encoding_format": form}
        found = (await world.ask("/v1/embeddings", sent)).json
        truth = world.encoder.encode(["one", "two"])
    raw = [item["embedding"] for item in found["data"]]
    vectors = [np.frombuffer(base64.b64decode(item), "<f4") if form == "base64" else np.float32(item) for item in raw]
    assert np.array_equal(vectors, truth)
    assert found["model"] == "tiny-0123456789ab"
    assert found["usage"]["prompt_tokens"] == found["usage"]["total_tokens"] > 0


async def test_embeddings_of_a_configured_model_are_the_upstreams(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        found = (await world.ask("/v1/embeddings", {"model": "small", "input": "x", "dimensions": 3})).json
        assert world.encoder.texts == []
    assert (found["model"], len(found["data"][0]["embedding"])) == ("small-served", 3)


@pytest.mark.parametrize(
    ("sent", "status", "param"),
    [
        ({"model": "nobody", "input": "x"}, 404, "model"),
        ({"model": "auto", "input": [1, 2]}, 400, "input"),
        ({"model": "auto", "input": "x", "dimensions": 3}, 400, "dimensions"),
    ],
)
async def test_embeddings_that_cannot_be_made_are_refused(
    valkey_url: str, tmp_path: Path, sent: Any, status: int, param: str
) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        got = await world.ask("/v1/embeddings", sent)
    assert (got.status, got.error["param"]) == (status, param)


async def test_a_busy_encoder_is_503(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        world.gateway.encoder.close()
        got = await world.ask("/v1/embeddings", {"model": "auto", "input": "x"})
    assert (got.status, got.error["code"], got.headers["retry-after"]) == (503, "encoder_busy", "1")


@pytest.mark.parametrize(
    ("path", "sent"), [("/v1/embeddings", {"model": "auto", "input": "x"}), ("/v1/decide", body())]
)
async def test_what_embeds_takes_a_place_and_is_refused_when_there_is_none(
    valkey_url: str, tmp_path: Path, path: str, sent: Any
) -> None:
    plain = tree(server={"limits": {"inflight": 2}}, tenants={"t": {"concurrency": 1}})
    async with World(valkey_url, tmp_path, plain) as world:
        admission, mine = world.gateway.admission, Caller("t", "default", "", world.config.tenants["t"])
        with admission.enter(mine, limit=2):
            busy = await world.ask(path, sent)
            with admission.enter(replace(mine, tenant="other"), limit=2):
                full = await world.ask(path, sent)
        admission.draining = True
        draining = await world.ask(path, sent)
        assert world.places == 0
    assert (busy.status, full.status, full.error["code"]) == (429, 503, "overloaded")
    assert (draining.status, draining.error["code"]) == (503, "draining")


async def test_embeddings_of_a_model_the_tenant_may_not_use_are_refused(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(tenants={"t": {"models": ["small"]}})) as world:
        got = await world.ask("/v1/embeddings", {"model": "large", "input": "x"})
    assert got.status == 404


async def test_feedback_on_an_answer_or_its_decision_is_kept_once_for_each_key(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        row = (await world.chat(body())).headers
        said = {"metric": "score", "value": 0.5, "comment": "text of a person"}
        key = {"idempotency-key": "once"}
        first = await world.ask("/v1/feedback", {"response_id": row["x-request-id"], **said}, headers=key)
        again = await world.ask("/v1/feedback", {"response_id": row["x-request-id"], **said}, headers=key)
        other = await world.ask("/v1/feedback", {"decision_id": row["x-gearshift-decision-id"], **said})
        kept = world.rows(b"f")
    assert first.json["feedback_id"] == again.json["feedback_id"] != other.json["feedback_id"]
    assert [item["feedback_id"] for item in kept] == [first.json["feedback_id"], other.json["feedback_id"]]
    assert {item["decision_id"] for item in kept} == {row["x-gearshift-decision-id"]}
    assert {item["comment"] for item in kept} == {None}  # store_prompts is off


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"response_id": "chatcmpl-unknown"}, 404, "response_id"),
        ({"metric": "undeclared"}, 400, "metric"),
        ({"value": 1.5}, 400, "value"),
        ({"value": "good"}, 400, "value"),
    ],
)
async def test_feedback_that_makes_no_sense_is_refused(
    valkey_url: str, tmp_path: Path, change: Any, status: int, param: str
) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        answered = (await world.chat(body())).json["id"]
        got = await world.ask("/v1/feedback", {"response_id": answered, "metric": "score", "value": 1, **change})
        assert world.rows(b"f") == []
    assert (got.status, got.error["param"]) == (status, param)


async def test_tenants_of_one_organisation_neither_judge_nor_swallow_each_other(
    valkey_url: str, tmp_path: Path
) -> None:
    async with World(valkey_url, tmp_path, tree(tenants=KEYED)) as world:
        ids = [(await world.ask(CHAT, body(), headers=key)).json["id"] for key in (ACME, BETA)]
        said = [{"response_id": answered, "metric": "score", "value": 1} for answered in ids]
        foreign = await world.ask("/v1/feedback", said[1], headers=ACME)
        same_key = {"idempotency-key": "1"}
        kept = [
            (await world.ask("/v1/feedback", sent, headers={**key, **same_key})).json["request_id"]
            for sent, key in zip(said, (ACME, BETA), strict=True)
        ]
        rows = world.rows(b"f")
    assert (foreign.status, foreign.error["code"]) == (404, "unknown_response")
    assert kept == [row["request_id"] for row in rows] == ids


async def test_decide_explains_logs_nothing_and_calls_nobody(valkey_url: str, tmp_path: Path) -> None:
    policy = Given({"small/instant": 0.25, "large/instant": 0.75}, quality={"small/instant": 0.5, "large/instant": 0.9})
    async with World(valkey_url, tmp_path, tree("small", "large", "third"), policy=policy) as world:
        got = await world.ask("/v1/decide", body(gearshift={"models": ["small", "large"]}, stream=True))
        assert world.rows(b"d") == world.rows(b"o") == world.store.begun == []
        assert all(not e.upstream._attempts for m in world.config.models for e in _endpoints(world, m))
    told = got.json
    assert {arm["arm"]: arm["propensity"] for arm in told["arms"]} == pytest.approx(dict(policy.dist))
    assert {arm["arm"]: arm["quality"] for arm in told["arms"]} == policy.quality
    assert (told["kind"], told["reason"], told["removed"].keys()) == ("drawn", "as the test says", {"third/instant"})


def _endpoints(world: World, model: str) -> Any:
    return world.gateway.setup.deployments.of(model)


async def test_decide_refuses_what_the_request_would_be_refused(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        unknown = await world.ask("/v1/decide", body(model="gpt-9"))
        nobody = await world.ask("/v1/decide", body(gearshift={"models": ["nobody"]}))
    assert (unknown.status, nobody.status, nobody.error["code"]) == (404, 400, "no_eligible_model")


@pytest.mark.parametrize(("method", "path"), [("GET", CHAT), ("DELETE", "/v1/models"), ("GET", "/v1/feedback")])
async def test_a_wrong_method_is_an_openai_error(valkey_url: str, tmp_path: Path, method: str, path: str) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        got = await world.ask(path, method=method)
    assert (got.status, got.error["code"]) == (405, "method_not_allowed")
