import json
import urllib.request
from typing import Any

import numpy as np
import pytest

from bench.fake import FakeUpstream
from bench.load import Load, Target, require_clean, run_load
from bench.prompts import Workload

STREAM = {"stream": True, "messages": []}


def ask(upstream: FakeUpstream, body: dict[str, Any]) -> str:
    url = f"http://127.0.0.1:{upstream.port}/v1/chat/completions"
    with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def events(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.split("\n") if line]


def test_plain_answer_has_content_and_usage(upstream: FakeUpstream) -> None:
    answer = json.loads(ask(upstream, {"model": "bench-plain", "messages": []}))
    assert "canned" in answer["choices"][0]["message"]["content"]
    usage = answer["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]


@pytest.mark.parametrize("kind", ["burst-3", "paced-3"])
def test_stream_has_role_content_finish_and_done(upstream: FakeUpstream, kind: str) -> None:
    got = events(ask(upstream, {"model": f"bench-{kind}", **STREAM}))
    deltas = [json.loads(event)["choices"][0] for event in got[:-1]]
    assert [d["delta"].get("content") for d in deltas] == ["", " canned", " canned", " canned", None]
    assert [d["finish_reason"] for d in deltas] == [None] * 4 + ["stop"]
    assert got[-1] == "[DONE]"


def test_usage_chunk_comes_only_when_asked_for(upstream: FakeUpstream) -> None:
    body = {"model": "bench-burst-1", **STREAM}
    asked = events(ask(upstream, body | {"stream_options": {"include_usage": True}}))
    assert json.loads(asked[-2])["usage"]["completion_tokens"] == 100
    assert not any('"usage"' in event for event in events(ask(upstream, body)))


def test_user_field_outranks_the_model_and_the_role_of_a_message(upstream: FakeUpstream) -> None:
    messages = [{"role": "user", "content": "hello"}]
    body = {"messages": messages, "model": "bench-burst-9", "user": "bench-burst-2", "stream": True}
    assert len(events(ask(upstream, body))) == 2 + 3


def test_paced_events_come_one_by_one_and_on_time(upstream: FakeUpstream) -> None:
    work = Workload((("model", "bench-paced-5"),), words=5, unique=False, stream=True)
    run = require_clean(run_load(Target(upstream.port), work, Load(4, connections=4)), what="paced")
    assert run.events == 4 * (1 + 5 + 3)
    assert run.event_reads >= 4 * (1 + 5)
    assert (run.first_event_s >= 0.0195).all()
    assert (run.latency_s >= 0.0795).all()


def test_what_was_served_is_counted(upstream: FakeUpstream) -> None:
    before = upstream.served()
    ask(upstream, {"model": "any", "messages": []})
    ask(upstream, {"model": "bench-burst-1", **STREAM})
    after = upstream.served()
    assert {kind: after[kind] - before[kind] for kind in after} == {"plain": 1, "burst": 1, "paced": 0, "cut": 0}


def test_large_prompts_arrive_whole(upstream: FakeUpstream) -> None:
    work = Workload((("model", "bench-plain"),), words=100_000, unique=True)
    run = require_clean(run_load(Target(upstream.port), work, Load(20, connections=4)), what="large")
    assert np.isfinite(run.latency_s).all()
