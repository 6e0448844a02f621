"""Reading request bodies: what routing learns from a good one, and that every bad one is refused by name."""

import base64
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.config.schema import Limits
from router.errors import BadRequest
from router.http.embeddings import embeddings_body, encode_vector, parse_embeddings
from router.http.feedback import parse_feedback
from router.http.parse import ChatRequest, parse_chat

LIMITS = Limits()
METRICS = {"score": (0.0, 1.0), "stars": (1.0, 5.0)}
CORPUS = runpy.run_path(str(Path(__file__).parents[1] / "malformed.py"))
good = CORPUS["good"]


def chat(**changes: Any) -> ChatRequest:
    return parse_chat(good(**changes), LIMITS)


def talk(*messages: tuple[str, Any]) -> ChatRequest:
    return chat(messages=[{"role": role, "content": content} for role, content in messages])


def refusal(raw: bytes, limits: Limits = LIMITS) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse_chat(raw, limits)
    error = orjson.loads(caught.value.body())["error"]
    assert error["param"]
    assert error["type"] == "invalid_request_error"
    return caught.value


def outcome(parse: Any, raw: bytes) -> str | None:
    """`read`, or the param of the refusal; anything else that is raised is a fault."""
    try:
        parse(raw, LIMITS)
    except BadRequest as error:
        return error.param
    return "read"


@pytest.mark.parametrize("case", CORPUS["CASES"], ids=lambda case: case.name)
def test_every_named_body_is_read_or_refused_with_its_param(case: Any) -> None:
    if 200 in case.allowed:
        assert parse_chat(case.body, LIMITS).model == "auto"
    else:
        assert refusal(case.body).status in case.allowed


@pytest.mark.parametrize("seed", range(20))
def test_every_mutated_body_is_read_or_refused(seed: int) -> None:
    for case in CORPUS["mutations"](seed=seed):
        assert outcome(parse_chat, case.body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.sampled_from(
    ["model", "messages", "n", "tools", "stop", "gearshift", "stream", "stream_options", "input", "value"]
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(MEMBERS, JSON, max_size=5))
def test_no_value_of_any_member_does_more_than_be_refused(members: dict[str, Any]) -> None:
    raw = orjson.dumps({**CORPUS["GOOD"], **_in_64_bits(members)})
    for parse in (parse_chat, parse_embeddings, lambda raw, limits: parse_feedback(raw, limits, metrics=METRICS)):
        assert outcome(parse, raw)


def _in_64_bits(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_64_bits(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_64_bits(item) for item in value]
    return float(value) if type(value) is int and not -(2**63) <= value < 2**64 else value


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_noise_is_refused(noise: bytes) -> None:
    assert refusal(noise).status == 400


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"n": 0}, "n"),
        ({"max_completion_tokens": "5"}, "max_completion_tokens"),
        ({"max_completion_tokens": 16, "max_tokens": 2**63}, "max_tokens"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"gearshift": {"max_used": 1}}, "gearshift.max_used"),
        ({"gearshift": {"modes": ["instant", "fast"]}}, "gearshift.modes[1]"),
        ({"tools": [1]}, "tools[0]"),
    ],
)
def test_the_param_is_the_member_to_change(change: dict[str, Any], param: str) -> None:
    error = refusal(good(**change))
    assert (error.param, error.message.startswith(f"{param}: ")) == (param, True)


def test_a_refusal_never_quotes_the_text() -> None:
    for body in (good(messages=[{"role": "user", "content": {"secret": "canary"}}]), b'{"model": "canary" "x"}'):
        assert "canary" not in refusal(body).message


@pytest.mark.parametrize("extra", [0, 1])
def test_depth_is_counted_outside_of_strings_only(extra: int) -> None:
    deep = orjson.Fragment(b"[" * (63 + extra) + b'"[[[\\"[[["' + b"]" * (63 + extra))
    body = good(x=deep, y="[" * 500)
    if extra:
        assert refusal(body).code == "too_deep"
    else:
        assert parse_chat(body, LIMITS).model == "auto"


def test_ten_megabytes_of_brackets_are_refused_without_being_parsed() -> None:
    assert refusal(b'{"x":[' + b"[]," * 3_300_000 + b"[]]}").code == "too_complex"


def test_what_a_request_asks_for_is_read() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x"}}
    tools = [{"type": "function", "function": {"name": "f"}}]
    parsed = chat(
        tools=tools, response_format=schema, logprobs=True, n=3, stream=True, stream_options={"include_usage": True}
    )
    assert (parsed.needs_tools, parsed.needs_schema, parsed.wants_logprobs, parsed.n) == (True, True, True, 3)
    assert (parsed.stream, parsed.include_usage, parsed.max_tokens) == (True, True, 16)
    assert '"name":"f"' in parsed.all_text


def test_a_plain_request_asks_for_nothing_special() -> None:
    parsed = chat(max_tokens=..., response_format={"type": "text"}, tools=[], stream_options={"include_usage": True})
    needs = (parsed.needs_tools, parsed.needs_schema, parsed.needs_images, parsed.wants_logprobs, parsed.include_usage)
    assert (needs, parsed.n, parsed.max_tokens, parsed.prompt_cache_key) == ((False,) * 5, 1, None, "")


def test_unknown_members_stay_and_the_hints_leave_the_body() -> None:
    parsed = chat(x_unknown=[1], gearshift={"max_usd": 0.01, "modes": ["instant"], "tags": {"team": "a"}})
    assert parsed.body["x_unknown"] == [1]
    assert "gearshift" not in parsed.body
    hints = parsed.hints
    assert (hints.max_usd, hints.modes, hints.tags, hints.session) == (0.01, ("instant",), (("team", "a"),), "")


def test_the_newer_token_bound_wins() -> None:
    assert chat(max_tokens=5, max_completion_tokens=7).max_tokens == 7


def test_texts_are_found_in_strings_and_parts() -> None:
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    parsed = talk(("system", "rules"), ("developer", "more"), ("user", "first"), ("assistant", "ok"), ("user", parts))
    assert (parsed.system_text, parsed.first_user_text, parsed.route_text) == ("rules\nmore", "first", "look")
    assert (parsed.turn, parsed.n_images, parsed.needs_images) == (2, 1, True)
    assert parsed.all_text == "rules\nmore\nfirst\nok\nlook"


def test_routing_looks_back_for_text_when_the_last_message_has_none() -> None:
    assert talk(("user", "question"), ("assistant", "x"), ("user", "")).route_text == "question"
    assert talk(("system", "rules")).route_text == "rules"


def test_a_later_system_message_does_not_change_the_session() -> None:
    assert talk(("system", "a"), ("user", "b"), ("system", "c"), ("user", "d")).system_text == "a"


def test_tool_results_at_the_end_name_their_calls() -> None:
    call = {"role": "assistant", "tool_calls": [{"id": "c2", "function": {"name": "f", "arguments": "{}"}}]}
    results = [{"role": "tool", "tool_call_id": name, "content": "4"} for name in ("c2", "c3")]
    old = {"role": "tool", "tool_call_id": "c1", "content": "1"}
    parsed = chat(messages=[{"role": "user", "content": "hi"}, old, call, *results])
    assert (parsed.is_tool_result, parsed.tool_call_ids, parsed.turn) == (True, ("c2", "c3"), 1)
    after = chat(messages=[*results, {"role": "user", "content": "thanks"}])
    assert (after.is_tool_result, after.tool_call_ids) == (False, ())


def embeddings(given: Any, **more: Any) -> Any:
    return parse_embeddings(orjson.dumps({"model": "m", "input": given, **more}), LIMITS)


def test_embeddings_inputs_are_texts_or_tokens() -> None:
    assert embeddings("a").texts == ("a",)
    assert embeddings(["a", "b"], encoding_format="base64").encoding_format == "base64"
    assert (embeddings([1, 2]).tokens, embeddings([[1], [2, 3]]).tokens) == (((1, 2),), ((1,), (2, 3)))
    assert embeddings("a", dimensions=8).dimensions == 8


@pytest.mark.parametrize(
    ("given", "more"),
    [
        (given, {})
        for given in (None, 5, "", [], [""], ["a", 1], [1, "a"], [[]], [[1], "a"], [-1], [True], {}, ["a"] * 2049)
    ]
    + [
        ("a", {"encoding_format": "hex"}),
        ("a", {"encoding_format": []}),
        ("a", {"dimensions": 0}),
        ("a", {"model": 1}),
    ],
)
def test_other_embeddings_inputs_are_refused(given: Any, more: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        embeddings(given, **more)
    assert caught.value.param


def test_base64_vectors_are_little_endian_floats() -> None:
    vector = np.array([0.5, -2.0], dtype=np.float16)
    text = encode_vector(vector, "base64")
    assert isinstance(text, str)
    assert np.frombuffer(base64.b64decode(text), "<f4").tolist() == encode_vector(vector, "float") == [0.5, -2.0]
    body = embeddings_body([vector, vector], model="m", form="float", prompt_tokens=3)
    assert [item["index"] for item in body["data"]] == [0, 1]


def feedback(**members: Any) -> Any:
    return parse_feedback(orjson.dumps(members), LIMITS, metrics=METRICS)


def test_feedback_is_read_in_its_spellings() -> None:
    read = feedback(response_id="chatcmpl-1", metric="score", value=True, tags={"a": "b"}, comment="x")
    assert (read.request_id, read.value, read.tags, read.comment) == ("chatcmpl-1", 1.0, {"a": "b"}, "x")
    assert feedback(inference_id="chatcmpl-1", metric_name="stars", value=5).metric == "stars"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"metric": "unknown"}, "metric"),
        ({"metric": None}, "metric_name"),
        ({"value": 2}, "value"),
        ({"value": "good"}, "value"),
        ({"value": None}, "value"),
        ({"response_id": None}, "response_id"),
        ({"response_id": 5}, "response_id"),
        ({"tags": {"a": 1}}, "tags"),
        ({"comment": 5}, "comment"),
    ],
)
def test_other_feedback_is_refused(change: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        feedback(**{"response_id": "chatcmpl-1", "metric": "score", "value": 0.5, **change})
    assert caught.value.param == param
