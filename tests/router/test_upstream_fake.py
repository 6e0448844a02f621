"""The scripted upstream as users meet it: the official client, its record, its script file and its program."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import orjson
import pytest
import pytest_asyncio
from pydantic import BaseModel

from router.upstreams.fake import FAULTS, Answer, FakeServer, Script, load_script
from router.upstreams.fake_values import instance_of

HI = [{"role": "user", "content": "hi"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    for name in ("weather", "time")
]
SCRIPT = Script({"shy": Answer(refusal="No."), "deep": Answer(text="42", reasoning="Let me think."), "m": Answer()})


@pytest_asyncio.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with FakeServer(SCRIPT) as server:
        yield server


@pytest_asyncio.fixture
async def client(server: FakeServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client:
        yield client


@pytest.mark.asyncio
async def test_plain_n_and_logprobs(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="m", messages=HI, n=2, logprobs=True)  # type: ignore[arg-type]
    assert [choice.index for choice in answer.choices] == [0, 1]
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    assert "".join(entry.token for entry in logprobs.content) == answer.choices[0].message.content


@pytest.mark.asyncio
async def test_a_token_bound_cuts_and_says_so(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="m", messages=HI, max_tokens=3)  # type: ignore[arg-type]
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


@pytest.mark.asyncio
async def test_tools_are_called_by_choice_and_in_parallel(client: openai.AsyncOpenAI) -> None:
    create = client.chat.completions.create
    one = await create(model="m", messages=HI, tools=TOOLS)  # type: ignore[call-overload]
    none = await create(model="m", messages=HI, tools=TOOLS, tool_choice="none")  # type: ignore[call-overload]
    both = await create(model="m", messages=HI, tools=TOOLS, extra_body={"fake": {"tool_calls": 2}})  # type: ignore[call-overload]
    assert [call.function.name for call in one.choices[0].message.tool_calls] == ["weather"]
    assert none.choices[0].message.tool_calls is None
    assert [call.function.name for call in both.choices[0].message.tool_calls] == ["weather", "time"]
    assert orjson.loads(both.choices[0].message.tool_calls[1].function.arguments) == {"city": "fake"}


@pytest.mark.asyncio
async def test_refusal_and_reasoning_are_kept_apart(client: openai.AsyncOpenAI) -> None:
    shy = await client.chat.completions.create(model="shy", messages=HI)  # type: ignore[arg-type]
    deep = await client.chat.completions.create(model="deep", messages=HI)  # type: ignore[arg-type]
    assert (shy.choices[0].message.refusal, shy.choices[0].message.content) == ("No.", None)
    assert deep.choices[0].message.model_extra == {"reasoning_content": "Let me think."}


class Step(BaseModel):
    """A nested type, as structured outputs use them."""

    text: str
    numbers: list[int]


class Plan(BaseModel):
    """Two levels, a union and an enum-like flag."""

    steps: list[Step]
    note: str | None
    done: bool


@pytest.mark.asyncio
async def test_typed_answers_parse(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.parse(model="m", messages=HI, response_format=Plan)  # type: ignore[arg-type]
    parsed = answer.choices[0].message.parsed
    assert parsed == Plan(steps=[Step(text="fake", numbers=[1])], note="fake", done=True)


@pytest.mark.asyncio
async def test_a_streamed_answer_is_the_plain_one(client: openai.AsyncOpenAI) -> None:
    plain = await client.chat.completions.create(model="m", messages=HI)  # type: ignore[arg-type]
    async with client.chat.completions.stream(model="m", messages=HI) as stream:  # type: ignore[arg-type]
        streamed = await stream.get_final_completion()
    assert streamed.choices[0].message.content == plain.choices[0].message.content


@pytest.mark.asyncio
async def test_embeddings_as_floats_and_as_base64_agree(client: openai.AsyncOpenAI) -> None:
    floats = await client.embeddings.create(model="m", input="text", encoding_format="float", dimensions=4)
    packed = await client.embeddings.create(model="m", input="text", dimensions=4)  # the client asks for base64
    assert packed.data[0].embedding == pytest.approx(floats.data[0].embedding, abs=1e-6)


@pytest.mark.asyncio
async def test_the_record_joins_by_request_id(server: FakeServer, client: openai.AsyncOpenAI) -> None:
    headers = {"x-request-id": "r-7"}
    body = {"fake": {"fault": ["status_500", None]}}
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(model="m", messages=HI, extra_headers=headers, extra_body=body)  # type: ignore[call-overload]
    answer = await client.chat.completions.create(model="m", messages=HI, extra_headers=headers, extra_body=body)  # type: ignore[call-overload]
    first, second = server.requests
    assert [(seen.request_id, seen.attempt, seen.status) for seen in (first, second)] == [
        ("r-7", 0, 500),
        ("r-7", 1, 200),
    ]
    assert (second.tokens_served, second.finished) == (answer.usage.completion_tokens, True)


@pytest.mark.asyncio
async def test_a_body_that_is_no_request_is_a_400(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="understands"):
        await client.chat.completions.create(model="m", messages=HI, extra_body={"fake": {"typo": 1}})  # type: ignore[call-overload]


def test_there_are_faults_of_every_sort() -> None:
    assert len(FAULTS) >= 40
    known = {
        "ok",
        "stream error event",
        *(f"error {status}" for status in (400, 404, 409, 413, 422, 429, 502, 503, 504)),
    }
    for name, fault in FAULTS.items():
        assert set(fault.expect.split("|")) <= known, name


def test_a_script_file_inherits_its_default() -> None:
    script = load_script(b'{"default": {"chunks": 9}, "models": {"a": {"text": "x"}}}')
    assert script.answer({"model": "a"}) == Answer(text="x", chunks=9)
    assert script.answer({"model": "b", "fake": {"fault": [None, "html_200"]}}).fault_of(5) == "html_200"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer", "minimum": 3}, 3),
        ({"enum": ["b", "a"]}, "b"),
        ({"type": ["string", "null"]}, "fake"),
        ({"$defs": {"t": {"const": 5}}, "type": "array", "items": {"$ref": "#/$defs/t"}, "minItems": 2}, [5, 5]),
    ],
)
def test_instances_fit_their_schema(schema: dict[str, object], value: object) -> None:
    assert instance_of(schema) == value


def test_a_recursive_schema_ends() -> None:
    node = {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["next"],
    }
    assert "null" in orjson.dumps(instance_of(node)).decode()


def test_the_program_prints_its_address_and_serves(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_bytes(b'{"models": {"a": {"text": "from the file"}}}')
    command = [sys.executable, "-m", "router.upstreams.fake", "--script", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."}) as process:
        assert process.stdout is not None
        with openai.OpenAI(base_url=process.stdout.readline().strip(), api_key="k") as client:
            answer = client.chat.completions.create(model="a", messages=HI)  # type: ignore[arg-type]
        process.terminate()
    assert answer.choices[0].message.content == "from the file"
