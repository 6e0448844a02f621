"""The official client, sync and async, on everything a capable model does: scripted answers behind a real gateway.

Every answer and every chunk is validated strictly against the SDK's own models on the way.
"""

from collections.abc import Iterator
from typing import Any, Literal

import openai
import orjson
import pytest
from official import AsyncSdk, Sdk, SyncSdk, finish_of, text_of
from pydantic import BaseModel
from running import RunningGateway, fake_config
from scripted import ScriptedUpstream

KEY = "sk-acme-acceptance"
USER = [{"role": "user", "content": "What is the weather in Oslo and in Rome?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


ROUTED = ("small", "medium", "large")
FACES = {"sync": SyncSdk, "async": AsyncSdk}
FAILURES = [
    ("retry_after_long_429", openai.RateLimitError, 429),
    ("status_500", openai.InternalServerError, 502),
    ("status_400", openai.BadRequestError, 400),
    ("html_200", openai.InternalServerError, 502),
]


class City(BaseModel):
    name: str
    kind: Literal["capital", "other"]
    inhabitants: int


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    config = fake_config(
        upstream.base_url,
        models=(*ROUTED, "flaky"),
        tenants={"acme": {"keys": ["${ACME}"]}},
        policy={"name": "uniform"},
        encoder={"name": "static"},
    )
    # A model of its own for each way to fail and each client: what one breaks shall not keep another from being asked.
    config["models"] |= {f"{fault}-{face}": config["models"]["small"] for fault, _, _ in FAILURES for face in FACES}
    with RunningGateway(tmp_path_factory.mktemp("clients"), config, env={"ACME": KEY}) as running:
        yield running


@pytest.fixture(scope="module", params=FACES)
def sdk(request: pytest.FixtureRequest, gateway: RunningGateway) -> Iterator[Sdk]:
    with FACES[request.param](gateway.url + "/v1", KEY) as opened:
        yield opened


def chat(fake: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A chat request; ``fake`` says how the scripted upstream behaves, forwarded as any unknown field is."""
    extra = {**more.pop("extra_body", {}), **({"fake": fake} if fake else {})}
    return {"model": "small", "messages": USER, "extra_body": extra, **more}


def ask(sdk: Sdk, body: dict[str, Any]) -> Any:
    return sdk.call(lambda client: client.chat.completions.create(**body))


def assembled(chunks: list[Any]) -> list[dict[str, str]]:
    """Tool calls put together from a stream's deltas."""
    calls: dict[int, dict[str, str]] = {}
    for delta in (choice.delta for chunk in chunks for choice in chunk.choices):
        for part in delta.tool_calls or []:
            call = calls.setdefault(part.index, {"id": "", "name": "", "arguments": ""})
            call["id"] += part.id or ""
            call["name"] += part.function.name or ""
            call["arguments"] += part.function.arguments or ""
    return [calls[index] for index in sorted(calls)]


def test_a_tool_that_is_demanded_is_called(sdk: Sdk, upstream: ScriptedUpstream) -> None:
    choice = {"type": "function", "function": {"name": "clock"}}
    answer = ask(sdk, chat(tools=[WEATHER, CLOCK], tool_choice=choice))
    assert [call.function.name for call in answer.choices[0].message.tool_calls] == ["clock"]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content is None
    assert upstream.last.body["tool_choice"] == choice


def test_parallel_tool_calls_arrive_whole_and_streamed(sdk: Sdk) -> None:
    body = chat({"tool_calls": 3}, tools=[WEATHER, CLOCK], parallel_tool_calls=True)
    plain = ask(sdk, body).choices[0].message.tool_calls
    chunks = sdk.chunks(**body)
    whole = [{"id": c.id, "name": c.function.name, "arguments": c.function.arguments} for c in plain]
    assert [call["name"] for call in whole] == ["weather", "clock", "weather"]
    assert assembled(chunks) == whole
    assert finish_of(chunks) == ["tool_calls"]


def test_parse_gives_a_typed_object(sdk: Sdk) -> None:
    body = chat(response_format=City)
    answer = sdk.call(lambda client: client.chat.completions.parse(**body))
    assert isinstance(answer.choices[0].message.parsed, City)


def test_a_json_schema_reaches_the_model_as_it_is(sdk: Sdk, upstream: ScriptedUpstream) -> None:
    schema = {"name": "city", "strict": True, "schema": City.model_json_schema()}
    answer = ask(sdk, chat(response_format={"type": "json_schema", "json_schema": schema}))
    assert City.model_validate_json(answer.choices[0].message.content)
    assert upstream.last.body["response_format"]["json_schema"] == schema


def test_logprobs_cover_the_answer(sdk: Sdk) -> None:
    body = chat(logprobs=True, top_logprobs=1)
    choice = ask(sdk, body).choices[0]
    assert "".join(entry.token for entry in choice.logprobs.content) == choice.message.content
    streamed = [choice for chunk in sdk.chunks(**body) for choice in chunk.choices]
    tokens = [entry.token for choice in streamed if choice.logprobs for entry in choice.logprobs.content]
    assert "".join(tokens) == choice.message.content


def test_n_choices_arrive_whole_and_streamed(sdk: Sdk) -> None:
    plain = ask(sdk, chat(n=2))
    assert [choice.index for choice in plain.choices] == [0, 1]
    assert plain.choices[0].message.content != plain.choices[1].message.content
    chunks = sdk.chunks(**chat(n=2))
    assert text_of(chunks) == plain.choices[0].message.content
    assert finish_of(chunks) == ["stop", "stop"]


def test_a_refusal_is_kept(sdk: Sdk) -> None:
    message = ask(sdk, chat({"refusal": "I will not."})).choices[0].message
    assert (message.refusal, message.content) == ("I will not.", None)
    chunks = sdk.chunks(**chat({"refusal": "I will not."}))
    assert "".join(c.choices[0].delta.refusal or "" for c in chunks if c.choices) == "I will not."


def test_reasoning_is_kept_and_counted(sdk: Sdk) -> None:
    answer = ask(sdk, chat({"reasoning": "Think of it.", "text": "Done."}))
    assert answer.choices[0].message.reasoning_content == "Think of it."
    assert answer.usage.completion_tokens_details.reasoning_tokens == 3
    deltas = [c.choices[0].delta for c in sdk.chunks(**chat({"reasoning": "Think of it."})) if c.choices]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "Think of it."


def test_members_that_may_be_null_are_there(sdk: Sdk) -> None:
    raw = sdk.call(lambda client: client.chat.completions.with_raw_response.create(**chat()))
    choice = orjson.loads(raw.http_response.content)["choices"][0]
    assert choice["logprobs"] is None
    assert choice["message"]["refusal"] is None
    for chunk in sdk.chunks(**chat(stream_options={"include_usage": True}))[:-1]:
        assert "usage" in chunk.model_fields_set
        assert "finish_reason" in chunk.choices[0].model_fields_set


def test_the_stream_helper_follows_a_stream_to_its_end(sdk: Sdk) -> None:
    events, final = sdk.helped(**chat({"text": "one two three"}))
    assert "".join(event.delta for event in events if event.type == "content.delta") == "one two three"
    assert final.choices[0].message.content == "one two three"
    assert final.choices[0].finish_reason == "stop"


def test_the_stream_helper_parses_tool_calls(sdk: Sdk) -> None:
    tool = openai.pydantic_function_tool(City, name="city")
    _, final = sdk.helped(**chat(tools=[tool]))
    assert isinstance(final.choices[0].message.tool_calls[0].function.parsed_arguments, City)


def test_images_reach_the_model(sdk: Sdk, upstream: ScriptedUpstream) -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    assert ask(sdk, chat(messages=[{"role": "user", "content": parts}])).choices[0].message.content
    assert upstream.last.body["messages"][0]["content"] == parts


def test_what_the_gateway_does_not_know_is_forwarded(sdk: Sdk, upstream: ScriptedUpstream) -> None:
    ask(sdk, chat(seed=7, stop=["END"], top_p=0.5, extra_body={"min_p": 0.1, "gearshift": {"tags": {"a": "b"}}}))
    seen = upstream.last.body
    assert (seen["seed"], seen["stop"], seen["top_p"], seen["min_p"]) == (7, ["END"], 0.5, 0.1)
    assert "gearshift" not in seen
    assert KEY not in str(upstream.last.headers)


def test_embeddings_of_a_configured_model_are_its_own(sdk: Sdk, upstream: ScriptedUpstream) -> None:
    answer = sdk.call(lambda client: client.embeddings.create(model="small", input="text", encoding_format="float"))
    assert len(answer.data[0].embedding) == 8
    assert upstream.last.path == "/v1/embeddings"


def test_closing_a_stream_early_stops_the_model(sdk: Sdk, upstream: ScriptedUpstream) -> None:
    words = "word " * 400
    chunks = sdk.first_chunks(3, **chat({"text": words, "chunks": 400, "pace_s": 0.02}))
    seen = upstream.last
    upstream.until(lambda: seen.closed_early, within_s=1.0)
    assert text_of(chunks)
    assert not seen.finished


def test_a_tool_loop_stays_on_its_arm_and_in_its_decision(sdk: Sdk) -> None:
    for city in ("Oslo", "Rome", "Lima", "Cairo", "Quito", "Dakar"):  # chance alone passes once in 729 runs
        messages: list[Any] = [{"role": "user", "content": f"How warm is it in {city}?"}]
        hints = {"models": list(ROUTED)}
        body = chat(model="auto", messages=messages, tools=[WEATHER], extra_body={"gearshift": hints})
        first = sdk.call(lambda client, body=body: client.chat.completions.with_raw_response.create(**body))
        message = first.parse().choices[0].message
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "21 degrees"}
        body["messages"] = [*messages, message.model_dump(exclude_none=True), result]
        second = sdk.call(lambda client, body=body: client.chat.completions.with_raw_response.create(**body))
        for name in ("x-gearshift-arm", "x-gearshift-decision-id"):
            assert second.headers[name] == first.headers[name]
        assert second.headers["x-request-id"] != first.headers["x-request-id"]
        assert second.parse().choices[0].finish_reason == "stop"


def test_feedback_goes_through_the_stock_client(sdk: Sdk) -> None:
    raw = sdk.call(lambda client: client.chat.completions.with_raw_response.create(**chat()))
    body = {"response_id": raw.parse().id, "metric": "thumbs", "value": True}
    taken = sdk.call(lambda client: client.post("/feedback", cast_to=object, body=body))
    assert taken["decision_id"] == raw.headers["x-gearshift-decision-id"]
    body["response_id"] = "chatcmpl-of-another"
    with pytest.raises(openai.NotFoundError):
        sdk.call(lambda client: client.post("/feedback", cast_to=object, body=body))


@pytest.mark.parametrize(("fault", "kind", "status"), FAILURES)
def test_a_failing_model_is_a_typed_error(
    sdk: Sdk, fault: str, kind: type[openai.APIStatusError], status: int, request: pytest.FixtureRequest
) -> None:
    model = f"{fault}-{request.node.callspec.params['sdk']}"
    for stream in (False, True):
        ask(sdk, chat(model=model))  # an answer in between, so that the circuit stays closed
        with pytest.raises(kind) as caught:
            ask(sdk, chat({"fault": fault}, model=model, stream=stream))
        assert caught.value.status_code == status
        assert caught.value.response.headers["x-gearshift-arm"] == f"{model}/instant"
        assert caught.value.body.keys() == {"message", "type", "param", "code"}
        assert caught.value.request_id.startswith("chatcmpl-")


def test_how_long_to_wait_is_handed_on(sdk: Sdk) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        ask(sdk, chat({"fault": "retry_after_long_429"}, model="flaky"))
    assert float(caught.value.response.headers["retry-after"]) == pytest.approx(30, abs=1)


def test_a_client_that_waits_no_longer_stops_the_model(sdk: Sdk, upstream: ScriptedUpstream) -> None:
    with pytest.raises(openai.APITimeoutError):
        ask(sdk, chat({"first_s": 20.0}, timeout=0.2))
    seen = upstream.last
    upstream.until(lambda: seen.closed_early, within_s=1.0)


def test_a_broken_stream_never_looks_finished(sdk: Sdk) -> None:
    got: list[Any] = []
    with pytest.raises(openai.APIError):
        got = sdk.chunks(**chat({"fault": "error_event"}, model="flaky"))
    assert finish_of(got) == []


def test_a_wrong_key_is_an_authentication_error(gateway: RunningGateway) -> None:
    for face in (SyncSdk, AsyncSdk):
        with face(gateway.url + "/v1", "sk-wrong") as stranger, pytest.raises(openai.AuthenticationError) as caught:
            ask(stranger, chat())
        assert caught.value.code == "invalid_api_key"
        assert "sk-wrong" not in caught.value.message
