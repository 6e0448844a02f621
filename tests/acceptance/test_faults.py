"""However an upstream breaks: the right error or a whole answer, never a made-up end, and one outcome row.

Every fault of the scripted upstream goes through a real gateway: always broken, and broken on the first attempt only.
All are sent in one go, each to a model of its own, so that no circuit breaker carries one case into another.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from asking import Got, asked, chat, until
from running import RunningGateway, fake_config

from router.bill import GENERATED
from router.upstreams.fake import FAULTS, FakeServer, Seen
from router.upstreams.fake_script import tokens_of

MARKER = "fake-upstream-secret"
TIMEOUTS = {"connect_s": 1.0, "first_byte_s": 1.0, "between_chunks_s": 1.0, "total_s": 3.0}
TOGETHER = 12
SOUND_PER_RETRY = 6  # each request earns a fifth of a retry
RETRIES_SAVED = 3  # as many as the retry budget keeps

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True, slots=True)
class Case:
    """One fault, for one kind of request."""

    fault: str
    stream: bool
    once: bool

    @property
    def name(self) -> str:
        return f"{self.fault}-{'stream' if self.stream else 'plain'}-{'once' if self.once else 'always'}"

    def body(self) -> dict[str, Any]:
        fault = [self.fault, None] if self.once else self.fault
        usage = {"stream_options": {"include_usage": True}} if self.stream else {}
        return asked(self.name, stream=self.stream, fake={"fault": fault}, **usage)


@dataclass(frozen=True, slots=True)
class Course:
    """What a case came to: at the client, at the upstream, in the log."""

    got: Got
    attempts: list[Seen]
    rows: list[dict[str, Any]]

    @property
    def outcome(self) -> str:
        """In the words of `Fault.expect`; fails for an answer that is neither whole nor honest about it."""
        got = self.got
        assert got.whole, "the connection broke: the client must be told"
        if got.status != 200:
            assert got.error["message"]
            return f"error {got.status}"
        if got.is_complete:
            assert set(self.finish_reasons) == {"stop"}
            return "ok"
        last = got.events[-1]
        assert last["error"].keys() == {"message", "type", "param", "code"}
        assert not got.finish_reasons, "a broken stream must not look finished"
        assert b"[DONE]" not in got.body
        return "stream error event"

    @property
    def finish_reasons(self) -> list[str]:
        if self.got.headers["content-type"].startswith("text/event-stream"):
            return self.got.finish_reasons
        return [choice["finish_reason"] for choice in self.got.json["choices"]]


def cases(*, once: bool) -> list[Case]:
    """Every fault for every kind of request it can befall; with ``once``, those that a retry can heal."""
    return [
        Case(name, stream, once)
        for name, fault in FAULTS.items()
        for stream in (False, True)
        if fault.fits(stream=stream) and (fault.retry or not once)
    ]


ALWAYS, ONCE = cases(once=False), cases(once=True)
ROW_STATUS = {"ok": "ok", "stream error event": "upstream_cut"}  # an error before the first byte: "error"


@dataclass(slots=True)
class Run:
    """All cases, sent; the log read twice: while the gateway runs and after it ended."""

    courses: dict[str, Course]
    log_text: str
    rows: list[dict[str, Any]]
    rows_after: list[dict[str, Any]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    names = [case.name for case in (*ALWAYS, *ONCE)]
    async with FakeServer() as upstream:
        config = fake_config(upstream.base_url, models=("sound", *names), encoder={"name": "static"})
        for place, entry in enumerate(config["models"].values()):
            entry |= {"timeouts": TIMEOUTS, "price": {"input": 0.1 + place / 1000, "output": 0.4}}
        gateway = RunningGateway(tmp_path_factory.mktemp("faults"), config)
        await asyncio.to_thread(gateway.start)
        try:
            got = await send_all(gateway.url)
            rows = await asyncio.to_thread(gateway.export, "--open")
        finally:
            assert await asyncio.to_thread(gateway.stop) == 0
        rows_after = await asyncio.to_thread(gateway.export, "--open")
    courses = {
        name: Course(
            got[name],
            [seen for seen in upstream.requests if seen.model == name],
            [row for row in rows if row["client_request_id"] == name],
        )
        for name in names
    }
    return Run(courses, gateway.log_file.read_text(), rows, rows_after)


async def send_all(url: str) -> dict[str, Got]:
    """The always broken ones side by side; those that a retry heals few by few, each with its retry earned before."""
    room = asyncio.Semaphore(TOGETHER)
    got: dict[str, Got] = {}
    async with aiohttp.ClientSession() as session:

        async def send(case: Case) -> None:
            async with room:
                got[case.name] = await chat(session, url, case.body(), client_id=case.name)

        await asyncio.gather(*map(send, ALWAYS))
        for at in range(0, len(ONCE), RETRIES_SAVED):
            few = ONCE[at : at + RETRIES_SAVED]
            for _ in range(SOUND_PER_RETRY * len(few)):
                assert (await chat(session, url, asked("sound"))).status == 200
            await asyncio.gather(*map(send, few))
    return got


def scripted_text(model: str) -> str:
    return f"This is scripted answer 1 of {model} to a message of 5 words."


async def test_there_are_enough_faults() -> None:
    assert len(FAULTS) >= 40
    assert len(ALWAYS) >= 80
    assert len(ONCE) >= 30


@pytest.mark.parametrize("case", [*ALWAYS, *ONCE], ids=lambda case: case.name)
async def test_the_client_sees_the_right_error_or_a_whole_answer(run: Run, case: Case) -> None:
    course, whole = run.courses[case.name], scripted_text(case.name)
    expected = ["ok"] if case.once else FAULTS[case.fault].expect.split("|")
    assert course.outcome in expected, course.got.body[-300:]
    assert course.got.seconds < 3 * TIMEOUTS["total_s"]
    if course.got.status == 200:
        text = course.got.text.replace("x" * 1_000_000, "")  # of the huge events
        assert text == whole if course.outcome == "ok" else whole.startswith(text)


@pytest.mark.parametrize("case", [*ALWAYS, *ONCE], ids=lambda case: case.name)
async def test_the_log_has_one_row_that_says_so(run: Run, case: Case) -> None:
    course = run.courses[case.name]
    (row,) = course.rows
    assert row["status"] == ROW_STATUS.get(course.outcome, "error")
    assert row["http_status"] == course.got.status
    assert len(row["attempts"]) == len(course.attempts) <= 3
    assert len(row["attempts"]) == 2 if case.once else row["attempts"]
    assert row["served_arm"] == f"{case.name}/instant"
    check_tokens(case, course, row)


def check_tokens(case: Case, course: Course, row: dict[str, Any]) -> None:
    """They are the upstream's own, or counted by the gateway; attempts without an answer cost what they may have."""
    if course.outcome == "ok":
        trusted = row["usage_source"] == "upstream" and not case.fault.startswith("usage_")
        served = len(tokens_of(scripted_text(case.name)))
        if case.fault == "huge_event":  # its usage knows nothing of it, and far more was seen than that tells
            assert (row["usage_flags"], row["output_tokens"] > 16 * served) == (["low_completion_tokens"], True)
        else:
            assert row["output_tokens"] == served if trusted else 0 < row["output_tokens"] < 500
        # The fault is told in a field of the body that might bring in more, so the context alone bounds the prompt.
        most = 32_768 if case.fault == "usage_prompt_far_over" else 99
        assert 0 < row["input_tokens"] <= most
        assert row["usd"] > 0
    elif course.outcome == "stream error event":
        assert row["usage_source"] == "counted"
        assert row["input_tokens"] > 0
    else:
        assert (row["usage_source"], row["output_tokens"]) == ("none", 0)
        lost = [each for each in row["attempts"] if each["kind"] in GENERATED and each["status"] < 400]
        assert (row["usd"] > 0) == bool(lost)


async def test_no_word_of_a_broken_upstream_gets_out(run: Run) -> None:
    for name, course in run.courses.items():
        shown = course.got.body + repr(dict(course.got.headers)).encode()
        assert MARKER.encode() not in shown, name
        if course.got.status >= 500:
            assert b"scripted" not in course.got.body, name
        elif course.outcome == "stream error event":
            assert "scripted" not in course.got.events[-1]["error"]["message"], name
    assert MARKER not in run.log_text + repr(run.rows)
    assert "Traceback" not in run.log_text
    assert "escaped" not in run.log_text


async def test_the_log_is_the_same_with_the_gateway_down(run: Run) -> None:
    assert len(run.rows) == len(run.courses) + SOUND_PER_RETRY * len(ONCE)
    assert {row["request_id"]: row for row in run.rows} == {row["request_id"]: row for row in run.rows_after}


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("kind", ["plain", "stream"])
async def test_a_long_retry_after_is_handed_on_at_once(run: Run, status: int, kind: str) -> None:
    course = run.courses[f"retry_after_long_{status}-{kind}-always"]
    assert course.got.headers["retry-after"] == "30"
    assert len(course.attempts) == 1
    assert course.got.seconds < 1.0


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("kind", ["plain", "stream"])
async def test_a_short_retry_after_is_waited_for(run: Run, status: int, kind: str) -> None:
    assert run.courses[f"retry_after_short_{status}-{kind}-once"].got.seconds >= 0.2


@pytest_asyncio.fixture(loop_scope="module")
async def upstream() -> AsyncIterator[FakeServer]:
    async with FakeServer() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(upstream: FakeServer, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    running = RunningGateway(tmp_path, fake_config(upstream.base_url, encoder={"name": "static"}))
    try:
        yield await asyncio.to_thread(running.start)
    finally:
        assert await asyncio.to_thread(running.stop) == 0


async def log_row(gateway: RunningGateway, client_id: str) -> dict[str, Any]:
    (row,) = [row for row in await asyncio.to_thread(gateway.export) if row["client_request_id"] == client_id]
    return row


@pytest.mark.parametrize("body", [{"first_s": 30.0}, {"fault": "hang_in_body"}], ids=["no_answer", "half_a_body"])
async def test_a_client_that_leaves_ends_the_upstreams_work(
    gateway: RunningGateway, upstream: FakeServer, body: dict[str, Any]
) -> None:
    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(chat(session, gateway.url, asked("small", fake=body), client_id="left"))
        await until(lambda: bool(upstream.requests), within_s=5, what="the request reaches the upstream")
        asking.cancel()
        await until(lambda: upstream.requests[0].closed_early, within_s=1, what="the upstream is cancelled")
    row = await log_row(gateway, "left")
    assert (row["status"], row["http_status"], row["usage_source"]) == ("cancelled", 499, "counted")
    assert row["input_tokens"] > 0
    assert row["usd"] > 0
    assert len(upstream.requests) == 1


async def test_a_client_that_leaves_a_stream_pays_for_what_was_generated(
    gateway: RunningGateway, upstream: FakeServer
) -> None:
    body = asked("small", stream=True, fake={"text": "word " * 1000, "chunks": 1000, "pace_s": 0.02})
    async with aiohttp.ClientSession() as session:
        got = await chat(session, gateway.url, body, client_id="left", leave_after=2000)
        await until(lambda: upstream.requests[0].closed_early, within_s=1, what="the upstream is cancelled")
    row, served = await log_row(gateway, "left"), upstream.requests[0].tokens_served
    assert (row["status"], row["usage_source"]) == ("cancelled", "counted")
    assert got.text.count("word") <= row["output_tokens"] <= 2 * served
    assert served < 500


async def test_a_client_that_leaves_before_a_retry_is_not_retried_for(
    gateway: RunningGateway, upstream: FakeServer
) -> None:
    body = asked("small", fake={"fault": "retry_after_short_503"})
    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(chat(session, gateway.url, body, client_id="left"))
        await until(lambda: bool(upstream.requests), within_s=5, what="the request reaches the upstream")
        asking.cancel()
        await until(lambda: b'status="cancelled"' in gateway.get("/metrics"), within_s=1, what="it is cancelled")
    assert (await log_row(gateway, "left"))["status"] == "cancelled"
    assert len(upstream.requests) == 1


async def test_a_redirect_is_never_followed(tmp_path: Path) -> None:
    async with FakeServer() as trap:

        async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            target = f"{trap.base_url}/chat/completions".encode()
            writer.write(b"HTTP/1.1 307 Away\r\nlocation: " + target + b"\r\ncontent-length: 0\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(redirect, "127.0.0.1", 0)
        base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        running = RunningGateway(tmp_path, fake_config(base_url, encoder={"name": "static"}))
        await asyncio.to_thread(running.start)
        try:
            async with aiohttp.ClientSession() as session:
                got = [await chat(session, running.url, asked("small", stream=stream)) for stream in (False, True)]
        finally:
            await asyncio.to_thread(running.stop)
            server.close()
        assert [each.status for each in got] == [502, 502]
        assert trap.requests == []
        assert all(trap.base_url.encode() not in each.body for each in got)
