"""Arms told to endpoints: each thinking family, bounds, and nothing else touched."""

import copy
from typing import Any

import pytest

from policies.arms import Arm, parse_arm
from router.config.schema import Deployment, ModeConfig, ModelConfig, Thinking
from router.modes import adapt, adapt_pinned

USER = {"role": "user", "content": "hi"}


def model(thinking: Thinking) -> ModelConfig:
    return ModelConfig(deployments=[Deployment()], thinking=thinking)


def adapted(arm: str, thinking: Thinking, mode: ModeConfig | None = None, **body: Any) -> dict[str, Any]:
    asked = {"model": "auto", "messages": [USER], **body}
    return adapt(asked, parse_arm(arm, ["m"]), model(thinking), mode, deployment_model="real")


def test_the_input_is_never_changed() -> None:
    body = {"model": "auto", "messages": [{"role": "system", "content": "s"}, USER], "stream": True, "gearshift": {}}
    before = copy.deepcopy(body)
    adapt(body, Arm("m", "reasoning"), model("prompt"), ModeConfig(max_tokens=9, system="think"), deployment_model="x")
    assert body == before


def test_unknown_fields_stay_and_our_own_goes() -> None:
    out = adapted("m/instant", "none", gearshift={"max_usd": 1}, top_k=5)
    assert out == {"model": "real", "messages": [USER], "top_k": 5}


@pytest.mark.parametrize(
    ("arm", "told"),
    [
        ("m/instant", None),
        ("m/reasoning:off", "none"),
        ("m/reasoning:minimal", "minimal"),
        ("m/reasoning:high", "high"),
    ],
)
def test_effort_is_told_only_when_the_arm_has_one(arm: str, told: str | None) -> None:
    assert adapted(arm, "reasoning_effort").get("reasoning_effort") == told


@pytest.mark.parametrize(
    ("budget", "told"), [("300", "minimal"), ("1024", "low"), ("2000", "medium"), ("9000", "high")]
)
def test_a_budget_becomes_the_nearest_effort(budget: str, told: str) -> None:
    assert adapted(f"m/reasoning:{budget}", "reasoning_effort")["reasoning_effort"] == told


def test_the_arm_wins_over_the_clients_effort() -> None:
    assert adapted("m/reasoning:low", "reasoning_effort", reasoning_effort="high")["reasoning_effort"] == "low"


@pytest.mark.parametrize(("arm", "on"), [("m/instant", False), ("m/reasoning", True), ("m/reasoning:off", False)])
def test_template_switch_joins_the_clients_own_arguments(arm: str, on: bool) -> None:
    out = adapted(arm, "chat_template_kwargs", chat_template_kwargs={"a": 1})
    assert out["chat_template_kwargs"] == {"a": 1, "enable_thinking": on}


@pytest.mark.parametrize(
    ("effort", "budget"), [("", 2048), (":low", 1024), (":high", 4096), (":100", 1024), (":5000", 5000)]
)
def test_budget_family_thinks_within_a_budget(effort: str, budget: int) -> None:
    out = adapted(f"m/reasoning{effort}", "budget_tokens", max_tokens=500)
    assert out["thinking"] == {"type": "enabled", "budget_tokens": budget}
    assert out["max_tokens"] == 500 + budget


def test_budget_family_is_switched_off_for_instant() -> None:
    out = adapted("m/instant", "budget_tokens", max_tokens=500)
    assert (out["thinking"], out["max_tokens"]) == ({"type": "disabled"}, 500)


def test_prompt_family_prepends_the_modes_text() -> None:
    out = adapted("m/reasoning", "prompt", ModeConfig(system="Think."))
    assert out["messages"] == [{"role": "system", "content": "Think."}, USER]


@pytest.mark.parametrize("content", ["Be kind.", [{"type": "text", "text": "Be kind."}], None])
def test_prompt_family_keeps_one_system_message(content: object) -> None:
    out = adapted(
        "m/reasoning", "prompt", ModeConfig(system="Think."), messages=[{"role": "system", "content": content}, USER]
    )
    assert [message["role"] for message in out["messages"]] == ["system", "user"]
    text = str(out["messages"][0]["content"])
    assert "Think." in text
    assert ("Be kind." in text) == (content is not None)


def test_other_families_leave_the_messages_alone() -> None:
    assert adapted("m/reasoning", "reasoning_effort", ModeConfig(system="Think."))["messages"] == [USER]


@pytest.mark.parametrize(("thinking", "key"), [("none", "max_tokens"), ("reasoning_effort", "max_completion_tokens")])
def test_the_modes_bound_holds_when_the_client_set_none(thinking: Thinking, key: str) -> None:
    assert adapted("m/instant", thinking, ModeConfig(max_tokens=7))[key] == 7
    assert adapted("m/instant", thinking, ModeConfig(max_tokens=7), max_completion_tokens=3)[key] == 3


@pytest.mark.parametrize(("thinking", "key"), [("none", "max_tokens"), ("reasoning_effort", "max_completion_tokens")])
@pytest.mark.parametrize(
    "given", [{"max_tokens": 5}, {"max_completion_tokens": 5}, {"max_tokens": 4, "max_completion_tokens": 5}]
)
def test_the_clients_bound_goes_out_once_under_the_name_that_the_endpoint_knows(
    thinking: Thinking, key: str, given: dict[str, int]
) -> None:
    out = adapted("m/instant", thinking, **given)
    assert {name: out[name] for name in ("max_tokens", "max_completion_tokens") if name in out} == {key: 5}


@pytest.mark.parametrize("given", [None, {}, {"include_usage": False, "x": 1}])
def test_streams_always_ask_for_usage(given: dict[str, Any] | None) -> None:
    out = adapted("m/instant", "none", stream=True, stream_options=given)
    assert out["stream_options"] == {**(given or {}), "include_usage": True}


def test_a_pinned_body_is_sent_as_it_is() -> None:
    body = {"model": "m", "messages": [USER], "max_tokens": 5, "gearshift": {}}
    assert adapt_pinned(body, deployment_model="real") == {"model": "real", "messages": [USER], "max_tokens": 5}


def test_a_request_cannot_name_models_beside_the_one_that_was_chosen() -> None:
    more = {"models": ["dear"], "fallbacks": [{"model": "dear"}], "route": "fallback", "preset": "mine", "top_k": 5}
    assert adapted("m/instant", "none", **more) == {"model": "real", "messages": [USER], "top_k": 5}
    assert adapt_pinned({"model": "m", **more}, deployment_model="real") == {"model": "real", "top_k": 5}
