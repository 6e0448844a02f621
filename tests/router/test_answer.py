"""Plain answers and usage: what a client may rely on, and what is believed of an upstream's numbers."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.prices import Price, Usage, cost_nano_usd
from router.http.answer import read_answer, render
from router.http.usage import MAX_PLAUSIBLE, client_usage, read_usage
from router.http.usage_fields import costs_differ, reported_usd
from router.upstreams.base import UpstreamError

USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


def completion(message: Any = None, **more: Any) -> bytes:
    choice = {"index": 0, "message": message or {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    return orjson.dumps(
        {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **more}
    )


def read(raw: bytes) -> Any:
    return read_answer(raw, request_id="ours")


def test_an_answer_gets_our_id_and_the_nulls_of_the_schema_and_keeps_the_rest() -> None:
    message = {"role": "assistant", "content": "hi", "reasoning_content": "hm"}
    shown = orjson.loads(render(read(completion(message, x_unknown=1, usage=USAGE)), cost_usd=0.5))
    assert (shown["id"], shown["x_unknown"], shown["usage"]) == ("ours", 1, {**USAGE, "cost": 0.5})
    assert shown["choices"][0]["message"] == {**message, "refusal": None}
    assert shown["choices"][0]["logprobs"] is None


def test_the_billed_usage_is_shown_where_the_upstream_sent_none() -> None:
    shown = orjson.loads(
        render(read(completion()), usage=Usage(input=3, output=2, reasoning=1), gearshift={"arm": "a"})
    )
    assert (shown["usage"]["total_tokens"], shown["usage"]["completion_tokens_details"]) == (5, {"reasoning_tokens": 1})
    assert shown["gearshift"] == {"arm": "a"}


def test_without_any_usage_none_is_made_up() -> None:
    assert "usage" not in orjson.loads(render(read(completion(usage="many"))))


def test_what_was_generated_is_counted() -> None:
    calls = [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    answer = read(completion({"role": "assistant", "content": None, "tool_calls": calls}))
    assert (answer.tool_call_ids, answer.finish_reasons, answer.generated.n_bytes) == (("call_1",), {0: "stop"}, 3)
    assert read(completion({"content": "é" * 8})).generated.token_estimate == 4


@pytest.mark.parametrize(
    "raw",
    [
        *(
            b"",
            b"<html>",
            b"[]",
            b"null",
            b"{}",
            b'{"choices":[]}',
            b'{"choices":{}}',
            b'{"choices":[1]}',
            b"NaN",
            b"\xff",
        ),
        b'{"choices":[{"message":{},"finish_reason":null}]}',
        b'{"choices":[{"message":"x","finish_reason":"stop"}]}',
        completion(object="list"),
        completion(choices=[{"index": "0", "message": {"a": 1}, "finish_reason": "stop"}]),
    ],
)
def test_anything_but_a_finished_completion_is_garbage(raw: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        read(raw)
    assert caught.value.kind == "garbage"


def test_an_error_object_in_place_of_an_answer_is_that_error() -> None:
    with pytest.raises(UpstreamError) as caught:
        read(orjson.dumps({"error": {"message": "too long", "type": "invalid_request_error", "code": 400}}))
    assert (caught.value.kind, caught.value.status) == ("status", 400)
    assert caught.value.client_error is not None


def billed(raw: Any, *, max_tokens: int | None = 100) -> tuple[Usage, str, tuple[str, ...]]:
    return read_usage(raw, prompt_estimate=8, generated_estimate=5, max_tokens=max_tokens)


def test_good_usage_is_believed() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 6}, "completion_tokens_details": {"reasoning_tokens": 3}}
    assert billed({**USAGE, **details}) == (Usage(input=10, output=4, cached_input=6, reasoning=3), "upstream", ())


@pytest.mark.parametrize("bad", [None, -1, 1.5, "12", True, [], {}, 10**12, 0])
@pytest.mark.parametrize(("name", "ours"), [("prompt_tokens", Usage(8, 4)), ("completion_tokens", Usage(10, 5))])
def test_a_total_that_makes_no_sense_is_replaced_by_our_count(name: str, ours: Usage, bad: Any) -> None:
    usage, source, flags = billed({**USAGE, name: bad})
    assert (usage, source) == (ours, "counted")
    assert any(name in flag for flag in flags)


@pytest.mark.parametrize("raw", [None, "many", 5, [], True])
def test_without_a_usage_object_we_count(raw: Any) -> None:
    usage, source, flags = billed(raw)
    assert (usage, source, len(flags)) == (Usage(input=8, output=5), "counted", 1)


@pytest.mark.parametrize(("tokens", "charged"), [(100, 100), (150, 150), (214, 214), (5000, 100)])
def test_a_completion_over_its_bound_is_charged_until_it_is_unbelievable(tokens: int, charged: int) -> None:
    usage, _, flags = billed({**USAGE, "completion_tokens": tokens, "total_tokens": 10 + tokens})
    assert (usage.output, bool(flags)) == (charged, tokens > 100)


def test_parts_larger_than_their_total_are_charged_in_full() -> None:
    usage, _, flags = billed({**USAGE, "prompt_tokens_details": {"cached_tokens": 11}})
    assert (usage.cached_input, flags) == (0, ("cache_over_prompt",))
    usage, _, flags = billed({**USAGE, "completion_tokens_details": {"reasoning_tokens": 5}})
    assert (usage.reasoning, flags) == (0, ("reasoning_over_total",))


def test_an_answer_beyond_a_bound_that_the_endpoint_ignored_is_charged_as_it_was_seen() -> None:
    raw = {"prompt_tokens": 10, "completion_tokens": 4000}
    usage, source, flags = read_usage(raw, prompt_estimate=8, generated_estimate=3900, max_tokens=1)
    assert (usage.output, source, flags[-1]) == (3900, "upstream", "implausible_completion_tokens")
    assert read_usage(raw, prompt_estimate=8, generated_estimate=1, max_tokens=1)[0].output == 1


@pytest.mark.parametrize(("told", "flags"), [(1, ["low_prompt_tokens", "low_completion_tokens"]), (300, [])])
def test_next_to_nothing_is_not_believed_where_much_was_seen(told: int, flags: list[str]) -> None:
    raw = {"prompt_tokens": told, "completion_tokens": told}
    usage, source, found = read_usage(raw, prompt_estimate=4000, generated_estimate=4000, max_tokens=None)
    assert list(found) == flags
    assert (usage, source) == ((Usage(4000, 4000), "counted") if flags else (Usage(told, told), "upstream"))


def test_reasoning_left_out_of_the_completion_is_added() -> None:
    raw = {**USAGE, "total_tokens": 44, "completion_tokens_details": {"reasoning_tokens": 30}}
    assert billed(raw)[0] == Usage(input=10, output=34, reasoning=30)


def test_other_spellings_of_the_cache_are_read() -> None:
    anthropic = {"input_tokens": 2, "output_tokens": 4, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 3}
    assert billed(anthropic)[0] == Usage(input=10, output=4, cached_input=5, cache_write=3)
    assert billed({**USAGE, "prompt_cache_hit_tokens": 7})[0].cached_input == 7


VALUES = (
    st.none() | st.booleans() | st.integers(-5, 300) | st.floats() | st.text(max_size=3) | st.just(MAX_PLAUSIBLE + 1)
)
NAMES = st.sampled_from(
    [
        *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens", "cached_tokens"),
        *("cache_read_input_tokens", "cache_creation_input_tokens", "cache_write_tokens", "prompt_cache_hit_tokens"),
        *("reasoning_tokens", "audio_tokens", "ephemeral_1h_input_tokens", "ephemeral_5m_input_tokens"),
        *("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount"),
        *("cachedContentTokenCount", "toolUsePromptTokenCount", "prompt_eval_count", "eval_count", "cost"),
    ]
)
FLAT = st.dictionaries(NAMES, VALUES)
MODALITIES = st.lists(
    st.fixed_dictionaries({"modality": st.sampled_from(["AUDIO", "TEXT"]), "tokenCount": VALUES}) | VALUES, max_size=3
)
HELD = FLAT | VALUES | MODALITIES
DETAILS = st.sampled_from(
    [
        *("prompt_tokens_details", "completion_tokens_details", "input_tokens_details", "output_tokens_details"),
        *("cache_creation", "promptTokensDetails", "cacheTokensDetails", "candidatesTokensDetails", "cost_details"),
    ]
)
PRICE = Price(3, 11, cached_input=1, cache_write=4, reasoning=13, cache_write_1h=6, audio_input=40, audio_output=80)


@settings(max_examples=600, deadline=None)
@given(
    flat=FLAT,
    details=st.dictionaries(DETAILS, HELD),
    bound=st.none() | st.integers(1, 50),
    prompt_bound=st.none() | st.integers(8, 50),
)
def test_usage_is_always_something_that_can_be_billed(
    flat: Any, details: Any, bound: int | None, prompt_bound: int | None
) -> None:
    raw = {**flat, **details}
    usage, source, flags = read_usage(
        raw, prompt_estimate=8, generated_estimate=5, max_tokens=bound, max_prompt=prompt_bound
    )
    parts = (
        usage.input - usage.cached_input - usage.cache_write - usage.audio_input,
        *(usage.cached_input, usage.cache_write - usage.cache_write_1h, usage.cache_write_1h, usage.audio_input),
        *(usage.output - usage.reasoning - usage.audio_output, usage.reasoning, usage.audio_output),
    )
    assert all(type(part) is int and part >= 0 for part in parts)
    assert usage.input > 0 < usage.output
    assert prompt_bound is None or usage.input <= prompt_bound * 1.5 + 64
    assert bound is None or usage.output <= max(bound * 1.5 + 64, 5)
    assert cost_nano_usd(usage, PRICE) > 0
    assert source == "upstream" or flags
    shown = client_usage(usage, raw, cost_usd=1.0)
    assert shown is not None
    assert shown["total_tokens"] == usage.input + usage.output
    assert orjson.dumps(shown)
    told = reported_usd(raw)
    assert told is None or costs_differ(told, 1) in (True, False)
