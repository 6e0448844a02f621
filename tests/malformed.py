"""Odd and broken requests by name, and seeded mutations of good ones: what a gateway must answer with 200 or a 4xx.

Data and functions only. A case is sent as a POST to the chat route unless it is a raw head (`HEADS`), which goes to the
socket as it is. `allowed` holds the statuses that are right for it; any other status, a hang or a body that is no
OpenAI error object is a fault.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

REFUSED = frozenset({400})
EITHER = frozenset({200, 400})
GOOD: dict[str, Any] = {
    "model": "auto",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}],
    "temperature": 0.5,
    "max_tokens": 16,
}


@dataclass(frozen=True, slots=True)
class Case:
    """One body, and the statuses that answer it rightly."""

    name: str
    body: bytes
    allowed: frozenset[int] = REFUSED


def good(**changes: Any) -> bytes:
    """The good body with members changed; a member set to ... is left out."""
    members = {**GOOD, **changes}
    return orjson.dumps({name: value for name, value in members.items() if value is not ...})


def user(content: Any) -> bytes:
    return good(messages=[{"role": "user", "content": content}])


def message(**members: Any) -> bytes:
    return good(messages=[{"role": "user", "content": "hi"}, members])


NOT_JSON = {
    "empty": b"",
    "blank": b" \n\t ",
    "array": b"[]",
    "array_of_bodies": b"[" + good() + b"]",
    "string": b'"hello"',
    "number": b"42",
    "null": b"null",
    "true": b"true",
    "word": b"hello",
    "cut": good()[:-5],
    "cut_in_string": good()[:60],
    "two_objects": good() + good(),
    "trailing_comma": b'{"model":"auto",}',
    "single_quotes": b"{'model':'auto'}",
    "comment": b'{"model":"auto"} // x',
    "byte_order_mark": b"\xef\xbb\xbf" + good(),
    "utf16": good().decode().encode("utf-16"),
    "latin1": b'{"model":"auto","messages":[{"role":"user","content":"caf\xe9"}]}',
    "overlong_utf8": b'{"model":"\xc0\xaf"}',
    "nul_bytes": b"\x00" * 64,
    "nul_in_string": b'{"model":"a\x00b"}',
    "newline_in_string": b'{"model":"a\nb"}',
    "nan": b'{"model":"auto","temperature":NaN}',
    "infinity": b'{"model":"auto","temperature":Infinity}',
    "float_overflow": b'{"model":"auto","temperature":1e999}',
    "lone_surrogate": b'{"model":"auto","messages":[{"role":"user","content":"\\ud800"}]}',
    "bad_escape": b'{"model":"\\x41"}',
    "form": b"model=auto&messages=hi",
    "multipart": b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\nauto\r\n--x--\r\n',
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    "open_brackets": b"[" * 100_000,
    "open_objects": b'{"a":' * 100_000,
    "deep_balanced": b'{"model":"auto","x":' + b"[" * 500 + b"]" * 500 + b"}",
    "deep_beyond_the_decoder": b'{"model":"auto","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep_unknown_field": good(x=orjson.Fragment(b'{"a":' * 70 + b"1" + b"}" * 70)),
    "many_containers": b'{"x":[' + b"[]," * 300_000 + b"[]]}",
}
WRONG_MEMBERS = {
    "no_model": good(model=...),
    "null_model": good(model=None),
    "empty_model": good(model=""),
    "number_model": good(model=5),
    "list_model": good(model=["auto"]),
    "endless_model": good(model="m" * 10_000),
    "no_messages": good(messages=...),
    "null_messages": good(messages=None),
    "string_messages": good(messages="hi"),
    "object_messages": good(messages={"role": "user", "content": "hi"}),
    "no_message": good(messages=[]),
    "too_many_messages": good(messages=[{"role": "user", "content": "x"}] * 2001),
    "string_message": good(messages=["hi"]),
    "null_message": good(messages=[None]),
    "nested_messages": good(messages=[[{"role": "user", "content": "hi"}]]),
    "no_role": good(messages=[{"content": "hi"}]),
    "null_role": good(messages=[{"role": None, "content": "hi"}]),
    "number_role": good(messages=[{"role": 1, "content": "hi"}]),
    "empty_role": good(messages=[{"role": "", "content": "hi"}]),
    "number_content": user(5),
    "bool_content": user(True),
    "object_content": user({"type": "text", "text": "hi"}),
    "list_of_strings_content": user(["hi"]),
    "null_part": user([None]),
    "part_without_type": user([{"text": "hi"}]),
    "part_of_number_type": user([{"type": 1, "text": "hi"}]),
    "part_without_text": user([{"type": "text"}]),
    "part_of_number_text": user([{"type": "text", "text": 5}]),
    "tool_without_id": message(role="tool", content="4"),
    "tool_of_number_id": message(role="tool", content="4", tool_call_id=5),
    "tool_calls_object": message(role="assistant", tool_calls={"id": "a"}),
    "tool_calls_of_strings": message(role="assistant", tool_calls=["a"]),
    "tool_call_function_string": message(role="assistant", tool_calls=[{"id": "a", "function": "f"}]),
    "tool_call_arguments_object": message(role="assistant", tool_calls=[{"function": {"name": "f", "arguments": {}}}]),
    "string_stream": good(stream="true"),
    "number_stream": good(stream=1),
    "list_stream_options": good(stream=True, stream_options=[]),
    "string_include_usage": good(stream=True, stream_options={"include_usage": "yes"}),
    "zero_n": good(n=0),
    "negative_n": good(n=-1),
    "endless_n": good(n=1_000_000_000),
    "float_n": good(n=1.5),
    "bool_n": good(n=True),
    "string_n": good(n="2"),
    "huge_n": good(n=orjson.Fragment(b"9" * 60)),
    "zero_max_tokens": good(max_tokens=0),
    "negative_max_tokens": good(max_tokens=-5),
    "float_max_tokens": good(max_tokens=1.5),
    "string_max_tokens": good(max_tokens="10"),
    "bool_max_tokens": good(max_tokens=True),
    "endless_max_tokens": good(max_tokens=2**62),
    "huge_max_completion_tokens": good(max_completion_tokens=orjson.Fragment(b"9" * 60)),
    "string_temperature": good(temperature="hot"),
    "bool_temperature": good(temperature=True),
    "list_temperature": good(temperature=[1]),
    "string_top_p": good(top_p="1"),
    "object_penalty": good(presence_penalty={}),
    "string_seed": good(seed="1"),
    "number_logprobs": good(logprobs=1),
    "string_top_logprobs": good(top_logprobs="5"),
    "list_logit_bias": good(logit_bias=[1]),
    "number_stop": good(stop=5),
    "stop_of_numbers": good(stop=[1, 2]),
    "object_tools": good(tools={"type": "function"}),
    "tools_of_strings": good(tools=["f"]),
    "too_many_tools": good(tools=[{"type": "function", "function": {"name": "f"}}] * 257),
    "number_tool_choice": good(tool_choice=1),
    "string_parallel_tool_calls": good(parallel_tool_calls="yes"),
    "string_response_format": good(response_format="json"),
    "number_response_format_type": good(response_format={"type": 5}),
    "number_user": good(user=5),
    "list_metadata": good(metadata=[]),
    "number_prompt_cache_key": good(prompt_cache_key=5),
    "number_reasoning_effort": good(reasoning_effort=5),
    "string_hints": good(gearshift="cheap"),
    "unknown_hint": good(gearshift={"max_used": 1}),
    "negative_hint_usd": good(gearshift={"max_usd": -1}),
    "bool_hint_usd": good(gearshift={"max_usd": True}),
    "hint_floor_over_one": good(gearshift={"quality_floor": 1.5}),
    "unknown_hint_mode": good(gearshift={"modes": ["fast"]}),
    "string_hint_models": good(gearshift={"models": "m"}),
    "number_hint_tag": good(gearshift={"tags": {"a": 1}}),
    "endless_hint_session": good(gearshift={"session": "s" * 5000}),
}
ODD_BUT_LEGAL = {
    "duplicate_keys": b'{"model":"nobody",' + good()[1:],
    "unknown_members": good(x_unknown={"a": [1, {"b": None}]}, zz=1),
    "huge_integer_in_unknown": good(x=orjson.Fragment(b"9" * 200)),
    "tiny_float_in_unknown": good(x=orjson.Fragment(b"1e-400")),
    "negative_zero": good(x=orjson.Fragment(b"-0")),
    "spaces_everywhere": b" \r\n\t" + orjson.dumps(GOOD, option=orjson.OPT_INDENT_2) + b"\r\n ",
    "escaped_keys": good().replace(b'"model"', b'"\\u006dodel"'),
    "null_options": good(n=None, stop=None, stream=None, tools=None, temperature=None, user=None, gearshift=None),
    "brackets_in_text": user("[{" * 5000),
    "quotes_in_text": user('\\"' * 2000 + "[" * 200),
    "control_characters": user("\x00\x01\x1b[31m\x7f\u2028\ufeff"),
    "emoji_and_zero_width": user("👩‍👩‍👧 \u200b\u202e x"),
    "empty_text": user(""),
    "blank_text": user(" \n"),
    "long_word": user("a" * 100_000),
    "many_parts": user([{"type": "text", "text": "x"}] * 500),
    "unknown_part": user([{"type": "text", "text": "hi"}, {"type": "hologram", "hologram": {}}]),
    "no_user_message": good(messages=[{"role": "system", "content": "hi"}]),
    "assistant_last": message(role="assistant", content="4"),
    "unknown_role": message(role="narrator", content="meanwhile"),
    "tool_result_of_unknown_call": message(role="tool", tool_call_id="call_nobody_made", content="4"),
    "null_content": user(None),
    "prototype_keys": good(__proto__={"a": 1}, constructor={"b": 2}),
    "template": user("{{7*7}} ${jndi:ldap://x} <script>"),
    "destinations": good(
        api_base="http://127.0.0.1:1", base_url="http://127.0.0.1:1", extra_headers={"authorization": "x"}
    ),
    "temperature_far_out": good(temperature=1e308),
    "empty_stop": good(stop=[]),
    "stream_options_without_stream": good(stream_options={"include_usage": True}),
}
CASES = (
    *(Case(name, body) for name, body in {**NOT_JSON, **WRONG_MEMBERS}.items()),
    *(Case(name, body, EITHER) for name, body in ODD_BUT_LEGAL.items()),
)

_LINE, _HOST = b"POST /v1/chat/completions HTTP/1.1\r\n", b"host: x\r\n"
_CHUNKED = _LINE + _HOST + b"transfer-encoding: chunked\r\n\r\n"
HEADS: tuple[Case, ...] = (
    Case("no_http", b"hello\r\n\r\n"),
    Case("http2_preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Case("tls_hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    Case("header_without_colon", _LINE + b"host x\r\n\r\n"),
    Case("space_before_colon", _LINE + b"host : x\r\n\r\n"),
    Case("nul_in_header", _LINE + _HOST + b"x: a\x00b\r\n\r\n"),
    Case("negative_length", _LINE + _HOST + b"content-length: -1\r\n\r\n"),
    Case("word_length", _LINE + _HOST + b"content-length: ten\r\n\r\n"),
    Case("two_lengths", _LINE + _HOST + b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}"),
    Case("length_and_chunked", _LINE + _HOST + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    Case("endless_length", _LINE + _HOST + b"content-length: 99000000000\r\n\r\n", frozenset({413})),
    Case("length_beyond_64_bits", _LINE + _HOST + b"content-length: " + b"9" * 40 + b"\r\n\r\n", frozenset({400, 413})),
    Case("bad_chunk_size", _CHUNKED + b"zz\r\n", frozenset({400, 401})),
    Case("huge_chunk_size", _CHUNKED + b"f" * 40 + b"\r\n", frozenset({400, 401})),
    Case("long_header", _LINE + _HOST + b"x: " + b"a" * 40_000 + b"\r\n\r\n", frozenset({431})),
    Case("many_headers", _LINE + _HOST + b"x: y\r\n" * 5000 + b"\r\n", frozenset({431})),
    Case("long_path", b"POST /" + b"a" * 40_000 + b" HTTP/1.1\r\n" + _HOST + b"\r\n", frozenset({431})),
    Case("unknown_method", b"BREW /v1/chat/completions HTTP/1.1\r\n" + _HOST + b"\r\n"),
    Case("wrong_method", b"DELETE /v1/chat/completions HTTP/1.1\r\n" + _HOST + b"\r\n", frozenset({404, 405})),
    Case("no_such_route", b"GET /v1/nothing HTTP/1.1\r\n" + _HOST + b"\r\n", frozenset({404})),
)

_ODD_VALUES = (None, True, 0, -1, 1.5, 2**63, "", "x", [], [None], {}, {"a": 1}, [[]], "\u0000", 1e308)
_ODD_BYTES = b'{}[]",:\\\x00\xff\xed\xa0\x80 \n0-e.nftu'


def mutations(*, seed: int = 0, n: int = 120) -> Iterator[Case]:
    """``n`` bodies made from good ones by changed bytes and by changed members, the same for the same seed."""
    rng = random.Random(seed)  # not for secrets: a repeatable choice of faults
    for index in range(n):
        mutate = (_flip, _cut, _swap, _member, _message_member)[index % 5]
        yield Case(f"{mutate.__name__.strip('_')}_{index}", mutate(rng), EITHER)


def _flip(rng: random.Random) -> bytes:
    body = bytearray(good())
    for _ in range(rng.randint(1, 4)):
        body[rng.randrange(len(body))] = rng.choice(_ODD_BYTES)
    return bytes(body)


def _cut(rng: random.Random) -> bytes:
    body = good()
    start = rng.randrange(len(body))
    return body[:start] + body[start + rng.randint(1, 20) :]


def _swap(rng: random.Random) -> bytes:
    body = good()
    a, b = sorted(rng.sample(range(len(body)), 2))
    return body[:a] + body[b:] + body[a:b]


def _member(rng: random.Random) -> bytes:
    names = (
        *GOOD,
        "n",
        "stream",
        "stop",
        "tools",
        "tool_choice",
        "response_format",
        "stream_options",
        "logprobs",
        "gearshift",
    )
    return good(**{name: rng.choice(_ODD_VALUES) for name in rng.sample(names, rng.randint(1, 3))})


def _message_member(rng: random.Random) -> bytes:
    members = {"role": "user", "content": "hi", "name": "n", "tool_calls": None, "tool_call_id": "c"}
    members[rng.choice(tuple(members))] = rng.choice(_ODD_VALUES)
    members["role"] = rng.choice((members["role"], "assistant", "tool", "system"))
    return message(**members)
