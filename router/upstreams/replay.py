"""A recorded outcome table served over the OpenAI wire: `python -m router.upstreams.replay`.

What each arm of a pool really answered (or as many words as it answered, where the set kept no text), with the
recorded tokens and time: a stand-in for models that would cost money, in a process of its own.
"""

import argparse
import asyncio
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from policies.arms import Arm
from policies.pools import Pool, load_pool_definition
from policies.tables import OutcomeTable, load_pool
from router.upstreams.fake_plan import DONE, EVENTS, Part, Plan, error_plan, json_plan, sse
from router.upstreams.fake_script import Answer, completion_of, events_of, text_of
from router.upstreams.fake_server import FakeServer, Seen

Replies = Mapping[tuple[str, int], str]  # (query id, arm) -> recorded reply
CHUNKS = 16


class UnknownQuestion(LookupError):
    """A request that the table cannot answer: its prompt or its model is not in it."""


class Recording:
    """A pool's table, looked up by prompt text and arm.

    A prompt may stand in several rows with other tokens and scores: the `user` field tells which, by its query id.

    Args:
        replies: Recorded texts; where there is none a filler of as many words as the recorded tokens stands in.
    """

    def __init__(self, table: OutcomeTable, replies: Replies) -> None:
        self.table, self._replies = table, replies
        self._rows = {_digest(text): row for row, text in reversed(list(enumerate(table.prompts)))}
        self._named = {query_id: row for row, query_id in enumerate(table.query_ids)}
        self._arms = {arm.name: column for column, arm in enumerate(table.arms)}

    def find(self, body: Mapping[str, Any]) -> tuple[int, int]:
        """Row and arm of a chat request: its last user message, and its model.

        Of rows with the same prompt it is the one whose query id `user` holds, else the first.
        The model is an arm's name, or a model's, whose arm is then told by ``reasoning_effort`` or ``enable_thinking``.

        Raises:
            UnknownQuestion: No such prompt or arm; the message names the arms, never the prompt.
        """
        asked = [message for message in body.get("messages") or [] if message.get("role") == "user"]
        row = self._rows.get(_digest(text_of(asked[-1].get("content")))) if asked else None
        if row is None:
            raise UnknownQuestion(f"the last user message is no prompt of pool {self.table.name!r}")
        named = self._named.get(str(body.get("user")))
        return (named if named is not None and self._same_prompt(named, row) else row), self._column(body)

    def _same_prompt(self, row: int, other: int) -> bool:
        return self.table.prompts[row] == self.table.prompts[other]

    def answer(self, row: int, column: int) -> tuple[str, dict[str, Any]]:
        """Text and usage of a cell."""
        prompt, completion = int(self.table.input_tokens[row, column]), int(self.table.completion_tokens[row, column])
        text = self._replies.get((self.table.query_ids[row], column)) or filler(completion)
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        return text, usage

    def seconds(self, row: int, column: int) -> float:
        """Recorded time of a cell, 0 where the set has none."""
        seconds = float(self.table.seconds[row, column])
        return seconds if seconds == seconds else 0.0

    def _column(self, body: Mapping[str, Any]) -> int:
        name = str(body.get("model"))
        if name in self._arms:
            return self._arms[name]
        fitting = [column for column, arm in enumerate(self.table.arms) if arm.model == name and _is_asked(arm, body)]
        if len(fitting) != 1:
            which = "no arm" if not fitting else "several arms"
            raise UnknownQuestion(f"model {name!r} fits {which} of the pool; it holds {', '.join(self._arms)}")
        return fitting[0]


class ReplayServer(FakeServer):
    """Serve a recording. `scale` multiplies the recorded times; 0 answers at once."""

    def __init__(self, recording: Recording, *, scale: float = 1.0, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(host=host, port=port)
        self._recording, self._scale = recording, scale

    def plan(self, method: str, path: str, headers: Mapping[str, str], raw: bytes) -> tuple[Plan, Seen | None]:
        """The recorded answer to a chat request; nothing is kept of it."""
        if method == "GET" and path.endswith("/models"):
            names = self._recording.table.arm_names
            return json_plan({"object": "list", "data": [{"id": name, "object": "model"} for name in names]}), None
        try:
            body = orjson.loads(raw)
            row, column = self._recording.find(body)
        except UnknownQuestion as unknown:
            return error_plan(404, str(unknown)), None
        except (orjson.JSONDecodeError, AttributeError, TypeError, KeyError):
            return error_plan(400, "the body is not a chat request"), None
        wait_s = self._recording.seconds(row, column) * self._scale
        return recorded_plan(body, *self._recording.answer(row, column), wait_s=wait_s), None


def recorded_plan(body: Mapping[str, Any], text: str, usage: Mapping[str, Any], *, wait_s: float) -> Plan:
    """A recorded text as a plain or streamed answer; half of its time passes before the first byte of a stream."""
    # Only what shapes the answer: a bound or tools in the request must not change what was recorded.
    shape = {key: body[key] for key in ("model", "stream_options") if key in body}
    answer = Answer(text=text, chunks=CHUNKS)
    if not body.get("stream"):
        return json_plan({**completion_of(shape, answer, "replay"), "usage": usage}, first_s=wait_s)
    events = events_of(shape, answer, "replay")
    pace_s = wait_s / 2 / len(events)
    data = [{**event.data, "usage": usage} if event.data.get("usage") else event.data for event in events]
    parts = tuple(Part(sse(event), wait_s=pace_s) for event in data)
    return Plan((*parts, Part(DONE)), headers=EVENTS, first_s=wait_s / 2)


def filler(tokens: int) -> str:
    """As many words as the recorded answer had tokens, saying what they are."""
    words = f"[replay: the set keeps no reply text; this stands for {tokens} recorded tokens]".split()
    return " ".join((words + ["filler"] * max(tokens - len(words), 0))[: max(tokens, 1)])


def read_replies(data_dir: Path, pool: Pool, table: OutcomeTable) -> dict[tuple[str, int], str]:
    """Recorded reply texts of a pool's arms, from the set's ``responses_sample.parquet``; empty when it has none."""
    import pyarrow.parquet as pq  # only this process reads Parquet

    file = data_dir / pool.set_name / "responses_sample.parquet"
    if not file.is_file():
        return {}
    columns: dict[tuple[str, str], list[int]] = {}
    for column, arm in enumerate(pool.arms):
        columns.setdefault((arm.arm.model, arm.arm.mode), []).append(column)
    known = set(table.query_ids)
    found: dict[tuple[str, int], str] = {}
    for row in pq.read_table(file).to_pylist():
        for column in columns.get((row["model"], row["mode"]), ()):
            fits = pool.arms[column].variant in (None, row["variant"])
            if fits and row["query_id"] in known and row["response"]:
                found[row["query_id"], column] = row["response"]
    return found


def load_recording(data_dir: Path, pools_file: Path, pool_name: str) -> Recording:
    """Read a pool and what replies its set keeps. Raises PoolError."""
    table = load_pool(data_dir, pools_file, pool_name)
    return Recording(table, read_replies(data_dir, load_pool_definition(pools_file, pool_name), table))


def _is_asked(arm: Arm, body: Mapping[str, Any]) -> bool:
    effort = body.get("reasoning_effort")
    if effort is not None:
        return arm.effort == str(effort)
    thinking = (body.get("chat_template_kwargs") or {}).get("enable_thinking")
    return thinking is None or bool(thinking) == (arm.mode != "instant")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


async def serve(recording: Recording, *, port: int, scale: float) -> None:
    """Serve until cancelled; prints the base URL once it listens."""
    async with ReplayServer(recording, port=port, scale=scale) as server:
        sys.stdout.write(server.base_url + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main(arguments: list[str] | None = None) -> None:
    """Command line of the replay upstream."""
    parser = argparse.ArgumentParser(prog="python -m router.upstreams.replay", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory with one folder per outcome set")
    parser.add_argument("--pools", type=Path, required=True, help="pools.json")
    parser.add_argument("--pool", required=True, help="pool in it")
    parser.add_argument("--port", type=int, default=0, help="0: any free port; the URL is printed")
    parser.add_argument("--latency", choices=("recorded", "scaled", "none"), default="recorded")
    parser.add_argument("--scale", type=float, default=0.01, help="factor of --latency scaled")
    options = parser.parse_args(arguments)
    scale = {"recorded": 1.0, "scaled": options.scale, "none": 0.0}[options.latency]
    recording = load_recording(options.data, options.pools, options.pool)
    try:
        asyncio.run(serve(recording, port=options.port, scale=scale))
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")


if __name__ == "__main__":
    main()
