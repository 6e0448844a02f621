"""A chat request from end to end: what the client gets, and what the log holds afterwards."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from rig import CHAT, Given, World, body, config_of, tree, until

pytestmark = pytest.mark.asyncio
TOOL = {"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}
ARMS = {"small/instant": 0.25, "large/instant": 0.75}
LOOKING = "tiny-0123456789ab"


async def test_a_routed_answer_has_one_drawn_decision_and_one_ok_outcome(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=Given(ARMS)) as world:
        got = await world.chat(body(), x_client_request_id="mine-1")
        row, outcome = world.row(), world.outcome()
    assert (got.status, row["kind"], outcome["status"]) == (200, "drawn", "ok")
    assert got.json["id"] == row["request_id"] == outcome["request_id"]
    assert row["client_request_id"] == outcome["client_request_id"] == "mine-1"
    assert dict(zip(row["arms"], row["propensities"], strict=True)) == pytest.approx(ARMS)
    assert outcome["served_arm"] == row["arm"]
    assert outcome["attempts"][0]["kind"] == "ok"


async def test_the_headers_and_the_usage_tell_the_decision_and_its_cost(valkey_url: str, tmp_path: Path) -> None:
    plain = tree(tenants={"t": {"reference": "large/instant"}})
    async with World(valkey_url, tmp_path, plain, policy=Given({"small/instant": 1})) as world:
        got = await world.chat(body(gearshift={"include_gearshift": True}))
        row, outcome = world.row(), world.outcome()
    headers = {name.removeprefix("x-gearshift-"): value for name, value in got.headers.items()}
    assert (headers["arm"], headers["mode"], headers["policy"]) == ("small/instant", "instant", "given@1")
    assert (headers["propensity"], headers["attempts"], headers["decision-id"]) == ("1", "1", row["decision_id"])
    assert got.headers["x-request-id"] == got.json["id"]
    usage = got.json["usage"]
    # 0.1 and 0.4 USD per million tokens are 100 and 400 nano-USD a token.
    nano = 100 * usage["prompt_tokens"] + 400 * usage["completion_tokens"]
    assert outcome["nano_usd"] == nano
    assert headers["cost-usd"] == f"{nano / 1e9:.9f}"
    assert headers["baseline-cost-usd"] == f"{10 * nano / 1e9:.9f}"
    assert usage["cost"] == got.json["gearshift"]["cost_usd"] == nano / 1e9
    assert got.json["gearshift"]["decision_id"] == row["decision_id"]


async def test_a_stream_tells_its_attempt_at_once_and_its_cost_only_if_asked(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=Given({"small/instant": 1})) as world:
        plain = await world.chat(body(stream=True))
        asked = await world.chat(body(stream=True, stream_options={"include_usage": True}))
    assert plain.headers["x-gearshift-attempts"] == "1"
    assert "x-gearshift-cost-usd" not in plain.headers
    assert "x-gearshift-baseline-cost-usd" not in plain.headers
    assert all("usage" not in event for event in plain.events[:-1])
    assert (plain.events[-1], asked.events[-1]) == (b"[DONE]", b"[DONE]")
    usage = asked.events[-2]["usage"]
    assert usage["cost"] == pytest.approx((100 * usage["prompt_tokens"] + 400 * usage["completion_tokens"]) / 1e9)


@pytest.mark.parametrize("named", ["large", "large/instant"])
async def test_a_named_model_or_arm_is_forced_with_propensity_one_and_no_embedding(
    valkey_url: str, tmp_path: Path, named: str
) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=Given(ARMS, encoder_id=LOOKING)) as world:
        got = await world.chat(body(model=named))
        row, texts = world.row(), world.encoder.texts
    assert (row["kind"], row["arm"], row["propensities"]) == ("forced", "large/instant", [1.0])
    assert (got.headers["x-gearshift-propensity"], row["embedding"], texts) == ("1", b"", [])
    assert got.json["model"] == "large-served"


async def test_observed_traffic_is_answered_as_pinned_and_logs_what_the_policy_would_do(
    valkey_url: str, tmp_path: Path
) -> None:
    plain = tree(tenants={"t": {"observe": True}})
    async with World(valkey_url, tmp_path, plain, policy=Given(ARMS, encoder_id=LOOKING)) as world:
        await world.chat(body(model="small"))
        row = world.row()
    assert (row["kind"], row["arm"], row["embedding_dim"]) == ("forced", "small/instant", 4)
    observed = row["observed"]
    assert dict(zip(observed["arms"], observed["propensities"], strict=True)) == pytest.approx(ARMS)
    assert (observed["kind"], observed["arm"] in ARMS) == ("drawn", True)


async def test_an_unknown_model_is_404_and_leaves_no_row(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        got = await world.chat(body(model="gpt-9"))
        assert world.rows(b"d") == []
    assert (got.status, got.error["code"], got.error["param"]) == (404, "model_not_found", "model")


async def test_a_tool_result_stays_on_its_arm_and_decision_whoever_answered_before(
    valkey_url: str, tmp_path: Path
) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=Given({"large/instant": 1})) as world:
        asked = body(tools=[TOOL])
        called = (await world.chat(asked)).json["choices"][0]["message"]
        result = {"role": "tool", "tool_call_id": called["tool_calls"][0]["id"], "content": "42"}
        world.gateway.sessions = type(world.gateway.sessions)(world.store)  # another process: only the store knows
        world.gateway.setup = world.setup_of(world.config, Given({"small/instant": 1}))
        got = await world.chat({**asked, "messages": [*asked["messages"], called, result]})
        first, second = world.rows(b"d")
    assert got.status == 200
    assert (second["kind"], second["arm"], second["propensities"]) == ("sticky", "large/instant", [0.0, 1.0])
    assert second["decision_id"] == first["decision_id"]
    assert second["request_id"] != first["request_id"]


async def test_an_unknown_tool_call_makes_a_fresh_decision(valkey_url: str, tmp_path: Path) -> None:
    calls = [{"id": "call_nobody", "type": "function", "function": {"name": "search", "arguments": "{}"}}]
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_nobody", "content": "42"},
    ]
    async with World(valkey_url, tmp_path, tree(), policy=Given(ARMS)) as world:
        got = await world.chat({"model": "auto", "messages": messages})
        row = world.row()
    assert (got.status, row["kind"]) == (200, "drawn")
    assert row["decision_id"].removeprefix("dec-") == row["request_id"].removeprefix("chatcmpl-")


async def test_a_new_user_turn_is_a_new_decision_that_knows_the_last_arm(valkey_url: str, tmp_path: Path) -> None:
    policy = Given({"large/instant": 1})
    async with World(valkey_url, tmp_path, tree(), policy=policy) as world:
        said = (await world.chat(body("one"))).json["choices"][0]["message"]
        messages = [{"role": "user", "content": "one"}, said, {"role": "user", "content": "two"}]
        await world.chat({"model": "auto", "messages": messages})
        first, second = world.rows(b"d")
    assert first["session"] == second["session"]
    assert (second["turn"], policy.seen[-1].last_arm) == (2, "large/instant")
    assert first["decision_id"] != second["decision_id"]


async def test_a_late_embedding_means_the_declared_fallback_marked_late(valkey_url: str, tmp_path: Path) -> None:
    plain = tree(encoder={"name": "minilm", "late_ms": 5}, policy={"fallback": "large/instant"})
    async with World(valkey_url, tmp_path, plain, policy=Given({"small/instant": 1}, encoder_id=LOOKING)) as world:
        world.encoder.gate.clear()
        got = await world.chat(body())
        world.encoder.gate.set()
        row = world.row()
    assert (got.status, got.headers["x-gearshift-late"]) == (200, "true")
    assert (row["kind"], row["arm"], row["embedding_dim"]) == ("late", "large/instant", 0)


@pytest.mark.parametrize("culprit", ["policy", "encoder"])
async def test_a_failing_policy_or_encoder_costs_the_choice_and_never_the_answer(
    valkey_url: str, tmp_path: Path, culprit: str, caplog: pytest.LogCaptureFixture
) -> None:
    error = RuntimeError("canary-in-an-error")
    policy = Given(ARMS, encoder_id=LOOKING, error=error if culprit == "policy" else None)
    async with World(valkey_url, tmp_path, tree(policy={"fallback": "large/instant"}), policy=policy) as world:
        world.encoder.error = error if culprit == "encoder" else None
        got = await world.chat(body())
        row = world.row()
    assert (got.status, row["kind"], row["arm"]) == (200, "late", "large/instant")
    assert "RuntimeError" in caplog.text
    assert "canary-in-an-error" not in caplog.text


async def test_a_tool_result_whose_arm_may_no_longer_answer_gets_the_fallback(valkey_url: str, tmp_path: Path) -> None:
    policy = Given({"large/instant": 1}, encoder_id=LOOKING)
    async with World(valkey_url, tmp_path, tree(), policy=policy) as world:
        asked = body(tools=[TOOL])
        called = (await world.chat(asked)).json["choices"][0]["message"]
        result = {"role": "tool", "tool_call_id": called["tool_calls"][0]["id"], "content": "42"}
        messages = [*asked["messages"], called, result]
        got = await world.chat({**asked, "messages": messages, "gearshift": {"models": ["small"]}})
        row = world.rows(b"d")[1]
    assert (got.status, row["kind"], row["arm"]) == (200, "late", "small/instant")


async def test_without_training_neither_embedding_nor_features_are_logged(valkey_url: str, tmp_path: Path) -> None:
    plain = tree(tenants={"t": {"training": False}})
    async with World(valkey_url, tmp_path, plain, policy=Given(ARMS, encoder_id=LOOKING)) as world:
        await world.chat(body())
        row = world.row()
    assert (row["kind"], row["embedding"], row["embedding_dim"]) == ("drawn", b"", 0)
    assert (row["features"], row["encoder_id"]) == ([], "")


async def test_the_logged_embedding_is_the_encoders_in_half_precision(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=Given(ARMS)) as world:
        await world.chat(body("embed me"))
        row, truth = world.row(), world.encoder.encode(["embed me"])[0]
    logged = np.frombuffer(row["embedding"], np.float16)
    assert (logged == truth.astype(np.float16)).all()
    assert (row["encoder_id"], row["embedding_dim"]) == (LOOKING, 4)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_prompt_is_in_its_row_or_nowhere(
    valkey_url: str, tmp_path: Path, kept: bool, caplog: pytest.LogCaptureFixture
) -> None:
    canary = "canary-7e1fd2"
    caplog.set_level("DEBUG")
    async with World(valkey_url, tmp_path, tree(tenants={"t": {"store_prompts": kept}}), policy=Given(ARMS)) as world:
        await world.chat(body(canary))
        await world.chat(body(canary, stream=True))
        await world.chat(body(canary, fake={"fault": "status_400"}))
        await world.chat(body(canary, temperature="hot"))
        rows = world.rows(b"d") + world.rows(b"o")
    found = [row for row in rows if canary in str(row)]
    assert [row["prompt"] for row in found] == ([canary] * 3 if kept else [])
    assert canary not in caplog.text


async def test_requests_in_flight_keep_the_configuration_they_began_with(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=Given({"large/instant": 1})) as world:
        before = world.gateway.setup
        wire, task = world.start(CHAT, body(stream=True, fake={"pace_s": 0.02}))
        await wire.begun.wait()
        world.gateway.setup = world.setup_of(config_of(tree("other")))
        await task
        after = await world.chat(body())
        rows, outcomes = world.rows(b"d"), world.rows(b"o")
    assert (wire.got.whole, outcomes[0]["served_arm"]) == (True, "large/instant")
    assert rows[0]["config"] == before.config_hash != rows[1]["config"]
    assert after.headers["x-gearshift-arm"] == "other/instant"


async def test_the_fallback_serves_and_the_action_stays(valkey_url: str, tmp_path: Path) -> None:
    plain, scripts = tree("a", "b", "c", policy={"fallback": "c/instant"}), {"a": {"fault": "status_500"}}
    policy = Given({"a/instant": 0.98, "b/instant": 0.02})
    async with World(valkey_url, tmp_path, plain, scripts=scripts, policy=policy) as world:
        got = await world.chat(body())
        row, outcome = world.row(), world.outcome()
    assert (row["arm"], outcome["served_arm"], outcome["status"]) == ("a/instant", "c/instant", "ok")
    assert got.headers["x-gearshift-arm"] == "c/instant"
    assert got.headers["x-gearshift-fallback-reason"] == outcome["fallback_reason"] == "status"
    nano = 10_000 * outcome["input_tokens"] + 40_000 * outcome["output_tokens"]
    assert outcome["nano_usd"] == nano  # at the price of the arm that answered


async def test_without_a_declared_fallback_in_reach_the_likeliest_serves(valkey_url: str, tmp_path: Path) -> None:
    broken = {"fault": "status_500"}
    plain, scripts = tree("a", "b", "c", policy={"fallback": "a/instant"}), {"a": broken}
    policy = Given({"a/instant": 0.98, "b/instant": 0.004, "c/instant": 0.016})
    async with World(valkey_url, tmp_path, plain, scripts=scripts, policy=policy) as world:
        await world.chat(body())
        assert world.outcome()["served_arm"] == "c/instant"


async def test_a_forced_model_never_falls_back(valkey_url: str, tmp_path: Path) -> None:
    plain, scripts = tree("a", "b"), {"a": {"fault": "status_500"}}
    async with World(valkey_url, tmp_path, plain, scripts=scripts) as world:
        got = await world.chat(body(model="a"))
        outcome = world.outcome()
    assert (got.status, outcome["status"], outcome["served_arm"]) == (502, "error", "a/instant")
    assert {attempt["arm"] for attempt in outcome["attempts"]} == {"a/instant"}


@pytest.mark.parametrize("stream", [False, True])
async def test_when_all_fail_the_client_learns_the_drawn_arms_error(
    valkey_url: str, tmp_path: Path, stream: bool
) -> None:
    plain, scripts = tree("a", "b"), {"a": {"fault": "status_429"}, "b": {"fault": "status_500"}}
    async with World(valkey_url, tmp_path, plain, scripts=scripts, policy=Given({"a/instant": 1})) as world:
        got = await world.chat(body(stream=stream))
        outcome = world.outcome()
    assert (got.status, outcome["http_status"], outcome["served_arm"]) == (429, 429, "a/instant")
    assert (outcome["usage_source"], outcome["nano_usd"], outcome["fallback_reason"]) == ("none", 0, None)
    assert got.headers["x-request-id"] == outcome["request_id"]
    assert "x-gearshift-cost-usd" not in got.headers


async def test_the_clients_own_mistake_is_not_tried_on_another_model(valkey_url: str, tmp_path: Path) -> None:
    plain, scripts = tree("a", "b"), {"a": {"fault": "status_400"}}
    async with World(valkey_url, tmp_path, plain, scripts=scripts, policy=Given({"a/instant": 1})) as world:
        got = await world.chat(body())
        outcome = world.outcome()
    assert (got.status, len(outcome["attempts"])) == (400, 1)


async def test_thinking_beyond_the_clients_bound_is_billed(valkey_url: str, tmp_path: Path) -> None:
    plain, scripts = tree("a"), {"a": {"reasoning": "thought " * 1500, "text": "yes"}}
    plain["models"]["a"] |= {"modes": ["reasoning"], "thinking": "budget_tokens"}
    async with World(valkey_url, tmp_path, plain, scripts=scripts) as world:
        await world.chat(body(max_tokens=10))
        outcome = world.outcome()
    assert (outcome["output_tokens"], outcome["usage_flags"]) == (1501, [])


async def test_an_upstreams_error_code_never_becomes_a_label(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=Given({"small/instant": 1})) as world:
        await world.chat(body(fake={"fault": "context_length"}))
        await world.chat(body(model="nobody-knows"))
        (family,) = world.gateway.metrics.rejected.collect()
    codes = {sample.labels["code"] for sample in family.samples}
    assert codes == {"model_not_found"}


async def test_labels_never_come_from_the_client(valkey_url: str, tmp_path: Path) -> None:
    canary = "canary-label"
    async with World(valkey_url, tmp_path, tree(), policy=Given(ARMS)) as world:
        await world.chat(
            body(user=canary, gearshift={"tags": {canary: canary}, "session": canary}), x_client_request_id=canary
        )
        await world.chat(body(model=canary))
        await world.ask("/v1/feedback", {"response_id": canary, "metric": canary, "value": 1})
        metrics = vars(world.gateway.metrics).values()
        labels = [s.labels for m in metrics if hasattr(m, "collect") for f in m.collect() for s in f.samples]
    assert labels
    assert canary not in str(labels)


async def test_a_cut_stream_ends_in_an_error_event_and_is_billed_by_our_count(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=Given({"small/instant": 1})) as world:
        got = await world.chat(body(stream=True, fake={"fault": "cut_after_3_events"}))
        outcome = world.outcome()
    assert (outcome["status"], outcome["usage_source"]) == ("upstream_cut", "counted")
    assert outcome["input_tokens"] > 0 < outcome["output_tokens"]
    assert "error" in got.events[-1]
    assert not any(choice["finish_reason"] for event in got.events[:-1] for choice in event["choices"])


async def test_the_store_being_full_is_503_before_any_upstream_hears_of_it(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(), high_water=1) as world:
        await world.chat(body())
        got = await world.chat(body())
        assert len(world.rows(b"o")) == 1
    assert (got.status, got.error["code"]) == (503, "log_full")
    assert got.headers["retry-after"] == "5"


async def test_concurrent_decisions_leave_one_row_each(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=Given(ARMS)) as world:
        answers = await asyncio.gather(*(world.chat(body(f"question {n}")) for n in range(40)))
        await until(lambda: world.gateway.admission._total == 0)
        ids = {row["request_id"] for row in world.rows(b"o")}
    assert {got.json["id"] for got in answers} == ids
    assert len(ids) == 40
