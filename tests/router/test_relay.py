"""The stream relay: what the client sees, when, and that no upstream can make a broken stream look finished."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.prices import Usage
from router.errors import UpstreamFailed
from router.http.relay import StreamRelay, error_event
from router.http.sse import MAX_EVENT_BYTES
from router.upstreams.base import UpstreamError

OURS = "chatcmpl-ours"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def chunk(
    delta: dict[str, Any] | None = None, *, finish: str | None = None, index: int = 0, **more: Any
) -> dict[str, Any]:
    choice = {"index": index, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-theirs", "object": "chat.completion.chunk", "created": 7, "model": "m"}
    return {**head, "choices": [choice], **more}


def text(content: str, index: int = 0) -> dict[str, Any]:
    return chunk({"content": content}, index=index)


def sse(*events: Any, done: bool = True) -> bytes:
    wire = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)
    return wire + (b"data: [DONE]\n\n" if done else b"")


def events(wire: bytes) -> list[Any]:
    """Decode what a client gets; every event must be one `data: ` line."""
    blocks = wire.split(b"\n\n")
    assert blocks.pop() == b""
    assert all(block.startswith(b"data: ") and b"\n" not in block and b"\r" not in block for block in blocks)
    return ["[DONE]" if block == b"data: [DONE]" else orjson.loads(block[6:]) for block in blocks]


def relayed(wire: bytes, *, include_usage: bool = False) -> tuple[list[Any], StreamRelay]:
    relay = StreamRelay(OURS, include_usage=include_usage)
    out = relay.feed(wire)
    relay.end()
    return events(out + relay.tail()), relay


def said(seen: list[Any]) -> str:
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in seen if event != "[DONE]")


def failure(wire: bytes) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        read_whole(StreamRelay(OURS, include_usage=False), [wire])
    return caught.value


def read_whole(relay: StreamRelay, pieces: list[bytes]) -> None:
    for piece in pieces:
        relay.feed(piece)
    relay.end()


def test_every_chunk_carries_our_id_and_keeps_the_rest() -> None:
    first = chunk({"role": "assistant", "content": ""}, service_tier="flex", x_unknown={"id": "inner"})
    seen, _ = relayed(sse(first, text("hi"), chunk(finish="stop")))
    assert seen == [{**first, "id": OURS}, {**text("hi"), "id": OURS}, {**chunk(finish="stop"), "id": OURS}, "[DONE]"]


@pytest.mark.parametrize("theirs", ["", None, 5, 'quo"te\\', "ünï", "x" * 300])
def test_any_kind_of_id_is_replaced(theirs: Any) -> None:
    seen, _ = relayed(sse({**text("a"), "id": theirs}, {**chunk(finish="stop"), "id": theirs}))
    assert [event["id"] for event in seen[:-1]] == [OURS, OURS]


def test_an_id_that_is_last_missing_spaced_or_changing_is_replaced() -> None:
    last = {**{name: value for name, value in text("a").items() if name != "id"}, "id": "z"}
    without = {name: value for name, value in text("b").items() if name != "id"}
    spaced = b'data: {"id": "q", "choices": [{"index": 0, "delta": {"content": "c"}}]}\n\n'
    seen, _ = relayed(sse(last, without, done=False) + spaced + sse({**text("d"), "id": "r"}, chunk(finish="stop")))
    assert [event["id"] for event in seen[:-1]] == [OURS] * 5
    assert said(seen) == "abcd"


def test_finish_usage_and_done_wait_for_the_tail() -> None:
    relay = StreamRelay(OURS, include_usage=True)
    out = relay.feed(sse(text("a"), chunk(finish="length"), chunk(usage=USAGE) | {"choices": []}))
    assert said(events(out)) == "a"
    assert b"length" not in out
    assert relay.done
    relay.end()
    finish, usage, done = events(
        relay.tail(usage=Usage(input=3, output=2), cost_usd=0.25, gearshift={"arm": "m/instant"})
    )
    assert finish["choices"][0]["finish_reason"] == "length"
    assert (usage["id"], usage["choices"], usage["model"], done) == (OURS, [], "m", "[DONE]")
    assert usage["usage"]["cost"] == 0.25
    assert usage["usage"]["total_tokens"] == 5
    assert usage["gearshift"] == {"arm": "m/instant"}


@pytest.mark.parametrize("more", [{}, {"usage": None}, {"usage": None, "obfuscation": "x"}, {"usage": USAGE}])
@pytest.mark.parametrize("asked", [True, False])
def test_usage_of_a_chunk_is_null_if_asked_for_and_absent_else(more: dict[str, Any], asked: bool) -> None:
    content = chunk({"content": 'an ,"usage":null} in text'}, **more)
    seen, _ = relayed(sse(content, chunk(finish="stop", **more)), include_usage=asked)
    wanted = [{"usage": None}] * 2 if asked else [{}] * 2
    with_choices = [event for event in seen if event != "[DONE]" and event["choices"]]
    assert [{name: event[name] for name in ("usage",) if name in event} for event in with_choices] == wanted


def test_usage_is_taken_from_wherever_it_stands_last() -> None:
    _, relay = relayed(sse(chunk({"content": "a"}, usage={"prompt_tokens": 1}), chunk(finish="stop", usage=USAGE)))
    assert relay.usage == USAGE


def test_without_being_asked_no_usage_chunk_comes() -> None:
    seen, _ = relayed(sse(text("a"), chunk(finish="stop"), chunk(usage=USAGE) | {"choices": []}))
    assert all("usage" not in event for event in seen if event != "[DONE]")
    assert len(seen) == 3


def test_other_choices_flow_on_after_one_has_finished() -> None:
    relay = StreamRelay(OURS, include_usage=False)
    out = relay.feed(sse(text("a"), chunk(finish="stop"), text("b", index=1), done=False))
    assert said(events(out)) == "ab"
    out = relay.feed(sse(chunk(finish="tool_calls", index=1)))
    relay.end()
    assert out == b""
    assert relay.finish_reasons == {0: "stop", 1: "tool_calls"}
    assert [event["choices"][0]["index"] for event in events(relay.tail())[:-1]] == [0, 1]


def test_text_after_a_finish_of_its_choice_keeps_its_place() -> None:
    seen, _ = relayed(sse(text("a"), chunk({"content": "b"}, finish="stop"), text("c")))
    assert said(seen) == "abc"


@pytest.mark.parametrize(
    "content", ['"finish_reason":"stop"', "data: [DONE]\n\n", '{"error":{}}', "\r\n\r\n: x", ',"id":"y"']
)
def test_text_that_looks_like_protocol_is_text(content: str) -> None:
    relay = StreamRelay(OURS, include_usage=False)
    assert said(events(relay.feed(sse(text(content), done=False)))) == content
    assert not relay.done
    with pytest.raises(UpstreamError, match="cut"):
        relay.end()


@pytest.mark.parametrize("done", [True, False])
def test_a_stream_without_a_finish_is_cut_even_with_done(done: bool) -> None:
    error = failure(sse(text("a"), done=done))
    assert (error.kind, error.retryable) == ("cut", False)


def test_an_empty_stream_is_cut_and_may_be_tried_again() -> None:
    assert (failure(b"").kind, failure(b"").retryable) == ("cut", True)


@pytest.mark.parametrize("opening", [{"role": "assistant", "content": "", "refusal": None}, {"content": ""}, {}])
def test_a_stream_that_breaks_before_a_word_may_be_tried_again(opening: dict[str, Any]) -> None:
    assert failure(sse(chunk(opening), done=False)).retryable is True
    assert failure(sse(chunk(opening), {"error": {"message": "boom"}}, done=False)).retryable is True
    assert failure(sse(chunk(opening), text("a"), done=False)).retryable is False


def test_a_choice_that_never_finished_makes_the_stream_cut() -> None:
    assert failure(sse(text("a"), text("b", index=1), chunk(finish="stop"))).kind == "cut"


def test_a_missing_done_after_a_finish_is_forgiven() -> None:
    seen, _ = relayed(sse(text("a"), chunk(finish="stop"), done=False))
    assert seen[-1] == "[DONE]"


@pytest.mark.parametrize("cut", [1, 2, 3, 30])
def test_a_finish_event_counts_without_its_blank_line_but_not_without_its_end(cut: int) -> None:
    wire = sse(text("a"), chunk(finish="stop"), done=False)[:-cut]
    if cut <= 2:
        assert relayed(wire)[0][-1] == "[DONE]"
    else:
        assert failure(wire).kind == "cut"


@pytest.mark.parametrize(
    "event",
    [
        b"data: <html>\n\n",
        b"data: [1]\n\n",
        b"data: null\n\n",
        b"data: {\n\n",
        b'data: {"choices":{}}\n\n',
        b"data: {}\n\n",
        b'data: {"choices":[7]}\n\n',
        b'data: {"choices":[{"delta":"x"}]}\n\n',
        b'data: {"choices":[{"index":"0"}]}\n\n',
        b'data: {"choices":[{"finish_reason":1}]}\n\n',
        b"data: NaN\n\n",
        b"data: \xff\n\n",
    ],
)
def test_events_that_are_no_chunks_are_garbage(event: bytes) -> None:
    assert (failure(event).kind, failure(event).retryable) == ("garbage", True)
    assert failure(sse(text("a"), done=False) + event).retryable is False


def test_an_event_without_end_is_garbage_and_not_memory() -> None:
    relay = StreamRelay(OURS, include_usage=False)
    piece = b"data: " + b"x" * 1_000_000
    with pytest.raises(UpstreamError, match="garbage"):
        read_whole(relay, [piece] * (2 + MAX_EVENT_BYTES // len(piece)))


@pytest.mark.parametrize(
    ("code", "status"), [(429, 429), ("503", 503), ("context_length_exceeded", 500), (None, 500), (200, 500)]
)
def test_an_error_event_is_the_error_it_names(code: Any, status: int) -> None:
    error = failure(sse({"error": {"message": "m", "type": "t", "code": code}}))
    assert (error.kind, error.status, error.retryable) == ("status", status, True)


def test_what_came_before_a_failure_is_handed_on_first() -> None:
    relay = StreamRelay(OURS, include_usage=False)
    assert said(events(relay.feed(sse(text("a"), {"error": {"message": "boom"}})))) == "a"
    assert relay.done
    with pytest.raises(UpstreamError) as caught:
        relay.end()
    assert caught.value.retryable is False


def test_sse_in_every_spelling_is_read() -> None:
    a, b = orjson.dumps(text("a")), orjson.dumps(chunk(finish="stop"))
    two_lines = b"data:" + b.replace(b",", b",\ndata:", 1)
    wire = (
        b"\xef\xbb\xbf: hello\r\n\r\nevent: message\r\nid: 5\r\ndata:" + a + b"\r\n\r\n\n\nretry: 10\n\r\r" + two_lines
    )
    seen, relay = relayed(wire + b"\r\n\r\ndata:[DONE]\r\n\r\n")
    assert (said(seen), relay.finish_reasons) == ("a", {0: "stop"})


def test_tool_calls_reasoning_and_refusals_are_counted_and_kept() -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": '{"x":1}'}}
    deltas = [{"reasoning_content": "hm"}, {"refusal": "no"}, {"tool_calls": [call]}, {"tool_calls": [more]}]
    seen, relay = relayed(sse(*[chunk(delta) for delta in deltas], chunk(finish="tool_calls")))
    assert [event["choices"][0]["delta"] for event in seen[:4]] == deltas
    assert (relay.tool_call_ids, relay.generated.n_pieces, relay.said) == (("call_1",), 4, True)
    assert relay.generated.token_estimate == 4


def test_an_error_event_for_the_client_is_an_error_object_without_an_end() -> None:
    (event,) = events(error_event(UpstreamFailed("the upstream broke off")))
    assert event["error"]["type"] == "upstream_error"


TEXTS = st.text(max_size=12) | st.sampled_from(['"id":"x"', "data: [DONE]\n\n", "\r", "\n\n", "\u2028", '\\"', "é😀"])
DELTAS = st.dictionaries(st.sampled_from(["content", "role", "refusal", "reasoning_content", "odd"]), TEXTS, max_size=3)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Whole streams in every spelling: comments, line ends, spaced JSON, usage anywhere, several choices."""
    made = [chunk(draw(DELTAS), index=draw(st.integers(0, 1))) for _ in range(draw(st.integers(0, 5)))]
    made += [chunk(finish="stop"), chunk(finish="length", index=1)]
    for event in made:
        event |= draw(st.sampled_from([{}, {"usage": None}, {"usage": USAGE}, {"x": {"usage": None, "id": 1}}]))
    wire = b": comment\n\n"
    for event in draw(st.permutations(made[:-2])) + made[-2:]:
        data = draw(st.sampled_from([orjson.dumps(event), orjson.dumps(event, option=orjson.OPT_INDENT_2)]))
        lines = b"\n".join(draw(st.sampled_from([b"data: ", b"data:"])) + line for line in data.split(b"\n"))
        wire += draw(st.sampled_from([b"", b"event: x\n"])) + lines + b"\n\n"
    end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    return (wire + draw(st.sampled_from([b"data: [DONE]\n\n", b""]))).replace(b"\n", end)


@settings(max_examples=100, deadline=None)
@given(wire=streams(), asked=st.booleans(), data=st.data())
def test_the_output_is_the_same_for_every_split(wire: bytes, asked: bool, data: st.DataObject) -> None:
    whole = StreamRelay(OURS, include_usage=asked)
    expected = whole.feed(wire)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=20)))
    split = StreamRelay(OURS, include_usage=asked)
    out = b"".join(split.feed(wire[a:b]) for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True))
    whole.end()
    split.end()
    assert (out, split.tail(), split.usage) == (expected, whole.tail(), whole.usage)
    assert {event["id"] for event in events(out) if event != "[DONE]"} <= {OURS}


@settings(max_examples=50, deadline=None)
@given(wire=streams())
def test_byte_by_byte_is_the_same_too(wire: bytes) -> None:
    whole, single = StreamRelay(OURS, include_usage=True), StreamRelay(OURS, include_usage=True)
    assert b"".join(single.feed(wire[i : i + 1]) for i in range(len(wire))) == whole.feed(wire)


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=80)
    | st.text(max_size=40).map(lambda value: b"data: " + value.encode("utf-8", "ignore") + b"\n\n")
)
def test_noise_is_cut_or_garbage_and_never_an_end(noise: bytes) -> None:
    assert failure(sse(text("a"), done=False) + noise).kind in ("cut", "garbage")
