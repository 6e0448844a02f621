"""A pool's half decided live: fitted by the command, served by a gateway in front of a replay process, read back."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from running import RunningGateway

from policies.pools import load_pool_definition
from policies.prices import NANO
from policies.tables import OutcomeTable
from training.replay_report import Choice

BIN = Path(sys.executable).parent
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Where a pool's recorded outcomes lie."""

    data: Path
    name: str

    @property
    def options(self) -> list[str]:
        return ["--data", str(self.data), "--pools", str(self.data / "pools.json"), "--pool", self.name]


@dataclass(slots=True)
class Live:
    """One gateway's replay.

    Attributes:
        asked: The virtual model asked for -> what `gearshift replay` wrote, one entry per prompt.
        log: What `gearshift log export` gave afterwards.
    """

    asked: dict[str, Rows] = field(default_factory=dict)
    log: Rows = field(default_factory=list)


def run_gearshift(*arguments: str, within_s: float) -> None:
    done = subprocess.run([str(BIN / "gearshift"), *arguments], capture_output=True, check=False, timeout=within_s)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def fit(recorded: Recorded, *, half: int, out: Path) -> Path:
    """`gearshift train linear` on one half; the artifact's folder."""
    run_gearshift("train", "linear", *recorded.options, "--half", str(half), "--out", str(out), within_s=400)
    return out


@contextmanager
def replay_upstream(recorded: Recorded) -> Iterator[str]:
    """The recorded table behind HTTP in a process of its own; its base URL."""
    command = [sys.executable, "-m", "router.upstreams.replay", *recorded.options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def config(recorded: Recorded, *, base_url: str, artifact: Path, trade_offs: Mapping[str, float]) -> dict[str, Any]:
    """The pool's models at its nominal prices, the trained policy, and no exploration."""
    arms = load_pool_definition(recorded.data / "pools.json", recorded.name).arms
    models = {
        arm.arm.model: {
            "deployments": [{"base_url": base_url}],
            "modes": [arm.arm.mode],
            "price": {"input": arm.price.input / NANO, "output": arm.price.output / NANO},
        }
        for arm in arms
        if arm.price is not None
    }
    return {
        "encoder": {"name": "minilm", "cache_entries": 8192},
        "policy": {"name": "linear", "artifact": str(artifact)},
        "models": models,
        "trade_offs": {name: {"usd_per_correct_answer": usd} for name, usd in trade_offs.items()},
        "tenants": {"default": {"explore": 0.0}},
    }


def replay_half(
    folder: Path,
    recorded: Recorded,
    *,
    half: int,
    artifact: Path,
    trade_offs: Mapping[str, float],
    concurrency: int,
    limit: int | None = None,
) -> Live:
    """Every prompt of a half through a fresh gateway at each trade-off, with feedback; and the log of it."""
    live = Live()
    bound = [] if limit is None else ["--limit", str(limit)]
    with replay_upstream(recorded) as base_url:
        settings = config(recorded, base_url=base_url, artifact=artifact, trade_offs=trade_offs)
        with RunningGateway(folder, settings) as gateway:
            for name in trade_offs:
                output = folder / f"{name}.jsonl"
                where = ["--base-url", gateway.url, "--model", f"auto:{name}", "--output", str(output)]
                how = ["--half", str(half), "--concurrency", str(concurrency), *bound]
                run_gearshift("replay", *recorded.options, *where, *how, within_s=400)
                live.asked[f"auto:{name}"] = [json.loads(line) for line in output.read_text().splitlines()]
            live.log = gateway.export()
    return live


def wrongs(table: OutcomeTable, live: Live) -> list[str]:
    """Everything in which the table, the clients and the log contradict each other."""
    logged = {row["request_id"]: row for row in live.log}
    served = [(model, each) for model, rows in live.asked.items() for each in rows]
    found = [f"{model} {each['query_id']}: {each['error']}" for model, each in served if each["error"]]
    if not len(logged) == len(live.log) == len(served):
        found.append(f"{len(served)} prompts asked, {len(live.log)} rows of {len(logged)} requests logged")
    at = {query_id: row for row, query_id in enumerate(table.query_ids)}
    for model, each in served:
        row, action = at[each["query_id"]], table.arm_names.index(each["arm"]) if each["arm"] else -1
        wanted = {
            "client_request_id": each["query_id"],
            "requested_model": model,
            "status": "ok",
            "arm": each["arm"],
            "served_arm": each["arm"],
            "propensity": each["propensity"],
            "input_tokens": table.input_tokens[row, action],
            "output_tokens": table.completion_tokens[row, action],
            "usage_source": "upstream",
            "nano_usd": table.nano_usd[row, action],
            "feedback": {"score": table.scores[row, action]},
        }
        line = logged.get(each["request_id"], {})
        found += [f"{model} {each['query_id']}: {name} is {line.get(name)}, not {value}"
                  for name, value in wanted.items() if line.get(name) != value]  # fmt: skip
    return found


def choices(table: OutcomeTable, live: Live, model: str) -> list[Choice]:
    """What was chosen, as it was logged: the served arm, the logged cost and the feedback."""
    return [
        Choice(row["client_request_id"], row["served_arm"], row["feedback"]["score"], row["nano_usd"] / NANO)
        for row in live.log
        if row["requested_model"] == model
    ]


def late_share(logs: Sequence[Rows]) -> float:
    rows = [row for log in logs for row in log]
    return sum(row["late"] for row in rows) / len(rows)
