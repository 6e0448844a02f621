"""litellm behind our interface: really called, through its `openai/` provider, where it is installed."""

import importlib
import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from policies.prices import Usage
from router.config.schema import Deployment, Timeouts
from router.http.usage import read_usage
from router.upstreams.base import Call, UpstreamError
from router.upstreams.fake import FakeServer
from router.upstreams.fake_script import Answer, Script
from router.upstreams.litellm import LiteLLMMissing, LiteLLMUpstream, load_litellm

HERE = importlib.util.find_spec("litellm") is not None
# litellm 1.106 imports `mcp` as soon as a request has tools, and does not declare it.
MCP = importlib.util.find_spec("mcp") is not None
needs_litellm = pytest.mark.skipif(not HERE, reason="litellm is not installed: pip install 'gearshift[litellm]'")
# The SDK and its own dependencies warn about themselves.
quiet = pytest.mark.filterwarnings("ignore")
pytestmark = [needs_litellm, quiet, pytest.mark.slow]
PATIENT = Timeouts()
USAGES = Path(__file__).parents[1] / "fixtures" / "usage"


@pytest_asyncio.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with FakeServer() as server:
        yield server


@pytest_asyncio.fixture
async def upstream(server: FakeServer) -> AsyncIterator[LiteLLMUpstream]:
    upstream = LiteLLMUpstream("m#0", Deployment(upstream="litellm", base_url=server.base_url, api_key="k"))
    yield upstream
    await upstream.aclose()


def call(*, stream: bool = False, **more: Any) -> Call:
    body = {"model": "openai/m", "messages": [{"role": "user", "content": "hi"}], "stream": stream, **more}
    if stream:
        body["stream_options"] = {"include_usage": True}
    return Call(body=body, raw=b"", stream=stream, request_id="req-1")


@pytest.mark.asyncio
async def test_a_plain_answer_is_openai_json(server: FakeServer, upstream: LiteLLMUpstream) -> None:
    answer = orjson.loads(await (await upstream.send(call(), PATIENT)).read())
    assert answer["choices"][0]["message"]["content"].startswith("This is scripted answer")
    assert answer["usage"]["completion_tokens"] > 0
    assert server.requests[0].request_id == "req-1"


@pytest.mark.asyncio
async def test_a_request_says_nothing_of_where_it_goes_and_what_it_costs(
    server: FakeServer, upstream: LiteLLMUpstream
) -> None:
    theirs = {
        "api_base": "http://127.0.0.1:9/v1", "base_url": "http://127.0.0.1:9/v1", "api_key": "theirs",
        "mock_response": "made up", "fallbacks": [{"model": "openai/dear"}], "custom_llm_provider": "anthropic",
        "extra_headers": {"authorization": "Bearer theirs"}, "extra_body": {"model": "dear"}, "input_cost_per_token": 0,
        "temperature": 0.5, "chat_template_kwargs": {"enable_thinking": True},
    }  # fmt: skip
    answer = orjson.loads(await (await upstream.send(call(**theirs), PATIENT)).read())
    (seen,) = server.requests
    assert answer["choices"][0]["message"]["content"].startswith("This is scripted answer")
    assert seen.headers["authorization"] == "Bearer k"
    assert {name: seen.body[name] for name in ("model", "temperature")} == {"model": "m", "temperature": 0.5}
    assert seen.body["chat_template_kwargs"] == {"enable_thinking": True}  # the gateway's own way to tell a mode
    assert not {"mock_response", "fallbacks", "api_base", "input_cost_per_token"} & seen.body.keys()


@pytest.mark.asyncio
async def test_a_stream_is_openai_events_with_usage(upstream: LiteLLMUpstream) -> None:
    reply = await upstream.send(call(stream=True), PATIENT)
    events = [chunk async for chunk in reply.chunks()]
    assert events[-1] == b"data: [DONE]\n\n"
    parsed = [orjson.loads(event[6:]) for event in events[:-1]]
    text = "".join(c["delta"].get("content") or "" for e in parsed for c in e["choices"])
    assert text.startswith("This is scripted answer")
    assert [event["usage"]["completion_tokens"] > 0 for event in parsed if event.get("usage")] == [True]


@pytest.mark.asyncio
@pytest.mark.skipif(not MCP, reason="mcp is not installed; litellm asks for it when a request has tools")
async def test_a_tool_call_survives(upstream: LiteLLMUpstream) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    answer = orjson.loads(await (await upstream.send(call(tools=[tool]), PATIENT)).read())
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "f"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "status", "retryable", "handed_on"),
    [
        *(("status_400", 400, False, True), ("status_401", 401, False, False), ("status_404", 404, False, True)),
        *(("status_429", 429, True, True), ("status_500", 500, True, False), ("status_503", 503, True, False)),
    ],
)
async def test_a_providers_error_keeps_its_status_and_is_tried_once(
    server: FakeServer, upstream: LiteLLMUpstream, fault: str, status: int, retryable: bool, handed_on: bool
) -> None:
    server.script = Script({"m": Answer(fault=fault)})
    with pytest.raises(UpstreamError) as caught:
        await upstream.send(call(), PATIENT)
    error = caught.value
    assert (error.status, error.retryable, error.client_error is not None) == (status, retryable, handed_on)
    assert len(server.requests) == 1


@pytest.mark.asyncio
async def test_a_hanging_provider_is_a_timeout(server: FakeServer, upstream: LiteLLMUpstream) -> None:
    await upstream.probe()
    server.script = Script({"m": Answer(fault="hang_before_status")})
    with pytest.raises(UpstreamError) as caught:
        await upstream.send(call(), Timeouts(first_byte_s=0.2))
    assert caught.value.kind == "timeout"


@pytest.mark.asyncio
async def test_a_cut_stream_never_ends_in_done(server: FakeServer, upstream: LiteLLMUpstream) -> None:
    server.script = Script({"m": Answer(fault="cut_after_3_events")})
    reply = await upstream.send(call(stream=True), PATIENT)
    seen: list[bytes] = []

    async def drain() -> None:
        async for chunk in reply.chunks():
            seen.append(chunk)

    with pytest.raises(UpstreamError) as caught:
        await drain()
    assert caught.value.kind == "cut"
    assert b'"finish_reason":"stop"' not in b"".join(seen)


@pytest.mark.asyncio
@pytest.mark.skipif(MCP, reason="mcp is installed")
async def test_a_missing_helper_of_the_sdk_is_named(upstream: LiteLLMUpstream) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    with pytest.raises(LiteLLMMissing, match="pip install mcp"):
        await upstream.send(call(tools=[tool]), PATIENT)


@pytest.mark.asyncio
async def test_nobody_listening_is_connect(upstream: LiteLLMUpstream) -> None:
    upstream = LiteLLMUpstream("m#0", Deployment(upstream="litellm", base_url="http://127.0.0.1:9/v1", api_key="k"))
    with pytest.raises(UpstreamError) as caught:
        await upstream.send(call(), PATIENT)
    assert caught.value.kind in ("connect", "status")
    assert caught.value.retryable


def native_usages() -> list[Any]:
    """Usage in a provider's own format, for which litellm stands between it and us."""
    found = []
    for provider, marked_by in (("anthropic", "input_tokens"), ("gemini", "promptTokenCount")):
        told = orjson.loads((USAGES / f"{provider}.json").read_bytes())
        native = [case for case in told["cases"] if marked_by in case["usage"]]
        # litellm takes a sum that is null for zero, and loses the parts that stand beside it.
        kept = [case for case in native if None not in case["usage"].values()]
        found += [pytest.param(provider, case, id=f"{provider}: {case['name']}") for case in kept]
    return found


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("provider", "case"), native_usages())
def test_a_providers_own_usage_is_the_same_through_the_sdk(provider: str, case: Any, stream: bool) -> None:
    sdk = load_litellm()
    if provider == "anthropic":
        module = importlib.import_module("litellm.llms.anthropic.chat.transformation")
        usage = module.AnthropicConfig().calculate_usage(case["usage"], None)
    else:
        module = importlib.import_module("litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini")
        usage = module.VertexGeminiConfig.calculate_usage({"usageMetadata": case["usage"]})
    answer = sdk.ModelResponseStream(choices=[]) if stream else sdk.ModelResponse()
    answer.usage = usage
    # As `LiteLLMReply` writes them.
    shown = orjson.loads(orjson.dumps(answer.model_dump(mode="json", exclude_unset=stream)))
    told = read_usage(shown["usage"], prompt_estimate=8, generated_estimate=1, max_tokens=None)
    assert told == (Usage(**case["tokens"]), "upstream", ())
