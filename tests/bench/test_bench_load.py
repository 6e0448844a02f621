import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from bench.fake import FakeUpstream, free_port
from bench.load import Load, LoadFailed, Target, require_clean, run_load
from bench.prompts import NONCE, Workload, bodies, prompt

WORK = Workload((("model", "bench-plain"),), words=30, unique=True)
DONE = b"data: [DONE]\n\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ncanned"


def _one_request(connection: socket.socket) -> bytes:
    got = b""
    while b"\r\n\r\n" not in got:
        more = connection.recv(65536)
        if not more:
            return b""
        got += more
    head, body = got.split(b"\r\n\r\n", 1)
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return body


@contextmanager
def served(*, answers: list[bytes], stall_at: int = -1, stall_s: float = 0.0) -> Iterator[tuple[int, list[bytes]]]:
    """One connection after the other; answer i is answers[i % n]; request `stall_at` waits `stall_s`."""
    seen: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while body := _one_request(connection):
                    if len(seen) == stall_at:
                        time.sleep(stall_s)
                    answer = answers[len(seen) % len(answers)]
                    seen.append(body)
                    connection.sendall(answer)
                    if b"connection: close" in answer or b"canned" not in answer:
                        break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1], seen
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=5)


def test_open_loop_keeps_the_schedule(upstream: FakeUpstream) -> None:
    run = require_clean(run_load(Target(upstream.port), WORK, Load(400, connections=16, rate_per_s=1000)), what="open")
    assert run.scheduled_s == pytest.approx(np.arange(400) / 1000)
    assert (run.sent_s >= run.scheduled_s).all()
    assert float(np.median(run.sent_s - run.scheduled_s)) < 0.005
    assert run.elapsed_s == pytest.approx(0.4, abs=0.1)


def test_open_loop_charges_a_stall_to_everyone_who_had_to_wait(upstream: FakeUpstream) -> None:
    # 200 arrivals a second and a stall of 0.3 s: 60 arrivals wait 0.3, 0.295, … 0 s, so 40 of them wait over 0.1 s.
    with served(answers=[ANSWER], stall_at=20, stall_s=0.3) as (port, _):
        run = require_clean(run_load(Target(port), WORK, Load(120, connections=1, rate_per_s=200)), what="stall")
    waited_s = run.latency_s
    assert int((waited_s > 0.1).sum()) == pytest.approx(40, abs=8)
    assert waited_s.max() == pytest.approx(0.3, abs=0.1)
    assert waited_s[20:80].mean() == pytest.approx(0.15, abs=0.05)
    # Measured from the moment of sending, the same run would have shown one slow request.
    assert int((run.done_s - run.sent_s > 0.1).sum()) == 1


def test_closed_loop_charges_a_stall_once(upstream: FakeUpstream) -> None:
    with served(answers=[ANSWER], stall_at=20, stall_s=0.3) as (port, _):
        run = require_clean(run_load(Target(port), WORK, Load(120, connections=1)), what="stall")
    assert int((run.latency_s > 0.1).sum()) == 1


def test_requests_without_an_answer_are_unfinished_and_charged_until_the_end(upstream: FakeUpstream) -> None:
    with served(answers=[ANSWER], stall_at=0, stall_s=0.6) as (port, _):
        run = run_load(Target(port), WORK, Load(100, connections=1, rate_per_s=200, max_s=0.3))
    assert run.finished == 0
    assert run.scheduled_s.size == pytest.approx(60, abs=5)
    assert run.latency_s[0] == pytest.approx(0.3, abs=0.15)
    with pytest.raises(LoadFailed, match="had no answer in time"):
        require_clean(run, what="stalled")


def test_closed_loop_sends_exactly_the_number_asked_for(upstream: FakeUpstream) -> None:
    before = upstream.served()["plain"]
    run = require_clean(run_load(Target(upstream.port), WORK, Load(1234, connections=16)), what="closed")
    assert run.good == 1234
    assert upstream.served()["plain"] - before == 1234


@pytest.mark.parametrize(
    "bad",
    [
        b"HTTP/1.1 500 Oops\r\ncontent-length: 6\r\n\r\ncanned",
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nothers",
        b"HTTP/1.1 200 OK\r\ncontent-length: 60\r\nconnection: close\r\n\r\ncanned",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n6\r\ncanned\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: {canned}\n\n",
    ],
    ids=["status", "text", "short body", "missing last chunk", "stream without DONE"],
)
def test_a_bad_answer_counts_as_bad(upstream: FakeUpstream, bad: bytes) -> None:
    with served(answers=[ANSWER, bad]) as (port, _):
        run = run_load(Target(port), WORK, Load(10, connections=1))
    assert (run.finished, run.bad) == (10, 5)
    assert run.latency_s.size == 5


@pytest.mark.parametrize(
    "good",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\ncan\r\n3\r\nned\r\n0\r\nTrailer: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\ncanned",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n: x\n\ndata: canned\n\n"
        + DONE,
    ],
    ids=["chunked", "until closed", "stream"],
)
def test_every_framing_of_a_body_is_understood(upstream: FakeUpstream, good: bytes) -> None:
    with served(answers=[good]) as (port, _):
        run = require_clean(run_load(Target(port), WORK, Load(10, connections=1)), what="framing")
    assert run.good == 10


def test_cold_prompts_all_differ_and_warm_ones_repeat(upstream: FakeUpstream) -> None:
    for unique, different in ((True, 200), (False, 64)):
        with served(answers=[ANSWER]) as (port, seen):
            work = Workload(WORK.fields, words=30, unique=unique)
            require_clean(run_load(Target(port), work, Load(200, connections=1), nonce=5), what="prompts")
        texts = [json.loads(body)["messages"][0]["content"] for body in seen]
        assert len(set(texts)) == different
        assert {len(text.split()) for text in texts} == {30}
        assert not any(NONCE in text for text in texts)


def test_nobody_listening_is_an_error(upstream: FakeUpstream) -> None:
    with pytest.raises(LoadFailed, match="Connection refused"):
        run_load(Target(free_port()), WORK, Load(1, connections=1))


@pytest.mark.parametrize("words", [2, 30, 400])
def test_a_prompt_has_the_words_asked_for(words: int) -> None:
    assert len(prompt(words, rng=random.Random(0), unique=True).split()) == words


def test_the_same_seed_gives_the_same_bodies() -> None:
    assert bodies(WORK, seed=3) == bodies(WORK, seed=3) != bodies(WORK, seed=4)
