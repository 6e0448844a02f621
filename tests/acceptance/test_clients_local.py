"""The official client on a gateway without configuration: its answers come from the built-in tiny model."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from official import AsyncSdk, Sdk, SyncSdk, finish_of, text_of
from running import RunningGateway

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
SHORT = {"model": "auto", "messages": QUESTION, "max_tokens": 12, "temperature": 0}
DECISION = ("decision-id", "arm", "mode", "policy", "propensity", "cost-usd", "overhead-ms", "attempts")
TOOL = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with RunningGateway(tmp_path_factory.mktemp("local"), None) as running:
        with openai.OpenAI(base_url=running.url + "/v1", api_key="none", max_retries=20) as client:
            client.chat.completions.create(**SHORT)  # the SDK waits and retries while the model loads
        yield running


@pytest.fixture(scope="module", params=[SyncSdk, AsyncSdk], ids=["sync", "async"])
def sdk(request: pytest.FixtureRequest, gateway: RunningGateway) -> Iterator[Sdk]:
    with request.param(gateway.url + "/v1", "none") as opened:
        yield opened


def test_a_plain_answer_is_real_and_complete(sdk: Sdk) -> None:
    answer = sdk.call(lambda client: client.chat.completions.create(**SHORT))
    assert "Paris" in answer.choices[0].message.content
    assert answer.id.startswith("chatcmpl-")
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.cost == 0


def test_a_stream_says_what_the_plain_answer_says(sdk: Sdk) -> None:
    plain = sdk.call(lambda client: client.chat.completions.create(**SHORT))
    chunks = sdk.chunks(**SHORT)
    assert text_of(chunks) == plain.choices[0].message.content
    assert finish_of(chunks) == [plain.choices[0].finish_reason]
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_comes_in_a_last_chunk_of_its_own_when_asked_for(sdk: Sdk) -> None:
    *before, last = sdk.chunks(**SHORT, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage.completion_tokens > 0
    assert last.usage.cost == 0
    assert all(chunk.usage is None for chunk in before)


def test_the_headers_tell_the_decision(sdk: Sdk) -> None:
    raw = sdk.call(lambda client: client.chat.completions.with_raw_response.create(**SHORT))
    assert [name for name in DECISION if f"x-gearshift-{name}" not in raw.headers] == []
    assert raw.headers["x-gearshift-arm"] in ("local/instant", "local/reasoning")
    assert raw.headers["x-request-id"] == raw.parse().id


def test_embeddings_are_the_same_as_numbers_and_as_the_base64_the_client_asks_for(sdk: Sdk) -> None:
    texts = ["a river bank", "a savings bank"]
    numbers = sdk.call(lambda client: client.embeddings.create(model="auto", input=texts, encoding_format="float"))
    # A copy of the client does not validate: strictly, the SDK would refuse the base64 that it asks for itself.
    packed = sdk.call(lambda client: client.with_options(max_retries=0).embeddings.create(model="auto", input=texts))
    assert [item.embedding for item in packed.data] == [pytest.approx(item.embedding) for item in numbers.data]
    assert len(numbers.data[0].embedding) == 384
    assert packed.usage.prompt_tokens > 0


def test_models_lists_virtual_models_models_and_arms(sdk: Sdk) -> None:
    names = {model.id for model in sdk.call(lambda client: client.models.list()).data}
    assert {"auto", "auto:cheap", "auto:reasoning", "local", "local/instant"} <= names
    assert sdk.call(lambda client: client.models.retrieve("local/instant")).id == "local/instant"


def test_hints_narrow_the_choice_and_the_answer_tells_the_decision(sdk: Sdk) -> None:
    hints = {"modes": ["reasoning"], "tags": {"team": "search"}, "include_gearshift": True}
    answer = sdk.call(lambda client: client.chat.completions.create(**SHORT, extra_body={"gearshift": hints}))
    assert answer.gearshift["arm"] == "local/reasoning"
    assert answer.gearshift["decision_id"].startswith("dec-")


@pytest.mark.parametrize(
    ("kind", "code", "param", "body"),
    [
        (openai.NotFoundError, "model_not_found", "model", {"model": "gpt-nonexistent"}),
        (openai.BadRequestError, "invalid_request", "n", {"n": 0}),
        (openai.BadRequestError, "invalid_hint", "gearshift.mode", {"extra_body": {"gearshift": {"mode": "fast"}}}),
        (openai.BadRequestError, "no_eligible_model", None, {"tools": [TOOL]}),
    ],
    ids=["unknown model", "bad n", "unknown hint", "tools on a model without"],
)
def test_a_mistake_is_the_clients_own_typed_error(
    sdk: Sdk, kind: type[openai.APIStatusError], code: str, param: str | None, body: dict[str, Any]
) -> None:
    with pytest.raises(kind) as caught:
        sdk.call(lambda client: client.chat.completions.create(**(SHORT | body)))
    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.body.keys() == {"message", "type", "param", "code"}


def test_curl_shows_answer_and_headers(gateway: RunningGateway) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl here")
    url, body = gateway.url + "/v1/chat/completions", json.dumps(SHORT)
    command = [curl, "-s", "-i", url, "-H", "content-type: application/json", "-d", body]
    head, _, answer = subprocess.run(command, capture_output=True, check=True, timeout=20).stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"x-gearshift-arm: local/" in head
    assert json.loads(answer)["choices"][0]["message"]["content"]
