"""The loop from end to end: every step goes through HTTP or a command, as a user's would."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from bench.loop.config import learned_config, logging_config, prices_of
from bench.loop.judge import OffPolicy, Verdict, foretold, judge
from bench.loop.plan import LoopFailed, Parts, Settings, parts_of, rows_of
from bench.loop.site import Gateway, Rows, gearshift, recorded_upstream, running_gateway
from policies.tables import load_pool

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Learned:
    """What `gearshift train log` printed: rounds of each arm, and its own held-out judgement."""

    version: str
    judged_rounds: dict[str, int]
    held_out: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LoopResult:
    """A whole run.

    Attributes:
        counts: Prompts of each part.
        logged: Rows of the gateway's log by policy, and how many of its decisions were late.
        seconds: Of each step.
    """

    counts: dict[str, int]
    learned: Learned
    off_policy: OffPolicy
    live: Verdict
    logged: dict[str, int]
    late: int
    seconds: dict[str, float] = field(default_factory=dict)


def run_loop(settings: Settings, *, tell: Tell) -> LoopResult:
    """Log, learn, evaluate, restart, serve, compare.

    Raises:
        LoopFailed: A step failed, or the log contradicts what the clients saw.
        PoolError: The recorded outcomes cannot be read.
    """
    table = load_pool(settings.data, settings.pools, settings.pool)
    parts, steps = parts_of(table, settings), _Steps(tell)
    store, artifact = settings.folder / "store", settings.folder / "policy"
    prices = settings.folder / "prices.json"
    prices.write_text(json.dumps(prices_of(settings)))
    with recorded_upstream(settings) as url:
        rules = logging_config(settings, base_url=url, store=store, explore=settings.explore)
        with running_gateway(rules, folder=settings.folder, name="logging") as gateway:
            with steps("log under rules"):
                logged = gateway.replay(parts.prompts, settings=settings, name="prompts")
                _archive(gateway)
            with steps("gearshift train log"):
                learned = _train(settings, gateway, artifact=artifact, prices=prices)
            began = time.time()
            with steps("log fresh prompts"):
                logged += gateway.replay(parts.fresh, settings=settings, name="fresh")
        # Stopped: all of its log is in the archive.
        with steps("gearshift evaluate"):
            evaluation = _evaluate(settings, store, artifact=artifact, prices=prices, since=began)
        trained = learned_config(settings, base_url=url, store=store, artifact=artifact)
        with running_gateway(trained, folder=settings.folder, name="learned") as gateway, steps("serve live, learned"):
            after = gateway.replay(parts.live, settings=settings, name="live-learned")
        before = []
        for name, explore in (("control", settings.explore), ("rules", 0.0)):
            config = logging_config(settings, base_url=url, store=settings.folder / name, explore=explore)
            with (
                running_gateway(config, folder=settings.folder, name=name) as gateway,
                steps(f"serve live, rules exploring {explore:g}"),
            ):
                before.append(gateway.replay(parts.live, settings=settings, name=f"live-{name}"))
    by_policy, late = _log_agrees(store, logged + after, learned=learned, parts=parts)
    verdict = judge(
        rows_of(table, parts.live),
        learned=after,
        logging=before[0],
        rules=before[1],
        usd_per_correct_answer=settings.usd_per_correct_answer,
    )
    counts = {"prompts": len(parts.prompts), "fresh": len(parts.fresh), "live": len(parts.live)}
    return LoopResult(counts, learned, foretold(evaluation, verdict), verdict, by_policy, late, steps.seconds)


class _Steps:
    """Tells each step as it begins, and keeps how long it took."""

    def __init__(self, tell: Tell) -> None:
        self.seconds: dict[str, float] = {}
        self._tell = tell

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self._tell(name)
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)


def _archive(gateway: Gateway) -> None:
    gearshift("log", "archive", "--store-dir", str(gateway.store))


def _train(settings: Settings, gateway: Gateway, *, artifact: Path, prices: Path) -> Learned:
    where = ["--log", str(gateway.store), "--out", str(artifact), "--prices", str(prices)]
    how = ["--encoder", settings.encoder, "--seed", str(settings.seed), "--json"]
    printed = orjson.loads(gearshift("train", "log", *where, *how))
    facts, evaluation = printed["facts"], printed["evaluation"].get("held_out_rounds", {})
    judged = int(sum(facts["judged_rounds"].values()))
    if judged < settings.prompts:  # equal texts are not parted, so a few more may have been logged
        raise LoopFailed(f"train log read {judged} judged rounds of {settings.prompts} logged prompts")
    return Learned(printed["version"], facts["judged_rounds"], evaluation)


def _evaluate(settings: Settings, store: Path, *, artifact: Path, prices: Path, since: float) -> dict[str, Any]:
    where = ["--log", str(store), "--policy", str(artifact), "--prices", str(prices), "--since", repr(since)]
    printed = gearshift("evaluate", *where, "--json", may_refuse=True)
    (settings.folder / "evaluation.json").write_text(printed)
    found: dict[str, Any] = orjson.loads(printed)
    return found


def _log_agrees(store: Path, served: Rows, *, learned: Learned, parts: Parts) -> tuple[dict[str, int], int]:
    """Rows by policy, and late ones, of a log that holds exactly what the clients saw.

    Raises:
        LoopFailed: It does not; the message has the first difference.
    """
    lines = [orjson.loads(line) for line in gearshift("log", "export", "--store-dir", str(store)).splitlines()]
    logged = {line["request_id"]: line for line in lines}
    if len(logged) != len(served) or len(lines) != len(served):
        raise LoopFailed(f"{len(served)} prompts were served, and the log holds {len(lines)} rows")
    by_policy: dict[str, int] = {}
    for row in served:
        line = logged.get(row["request_id"], {})
        seen = {"served_arm": row["arm"], "feedback": {"score": row["score"]}, "client_request_id": row["query_id"]}
        for name, wanted in seen.items():
            if line.get(name) != wanted:
                raise LoopFailed(f"{row['request_id']}: the log says {name} {line.get(name)}, the client {wanted}")
        by_policy[line["policy"]] = by_policy.get(line["policy"], 0) + 1
    if by_policy.get(f"default@{learned.version}") != len(parts.live):
        raise LoopFailed(f"not every live prompt was decided by default@{learned.version}: {by_policy}")
    return by_policy, sum(line["late"] for line in lines)
