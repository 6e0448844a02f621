"""A world whose values are known: two kinds of queries, three arms; logs drawn from it, in memory or as an archive."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
from numpy.typing import NDArray

from policies.archive_schema import Entry, to_table
from policies.arms import Arm
from policies.features import FEATURE_NAMES, lexical_features
from policies.prices import Price
from policies.records import DecisionRow, FeedbackRow, OutcomeRow
from policies.tables import OutcomeTable
from policies.tradeoff import TradeOff
from training.contender import Sample
from training.inputs import make_inputs
from training.ope.rounds import Rounds
from training.ope.simulated import SimulatedLog

ARMS = ("cheap/instant", "even/instant", "dear/reasoning")
CHANCES = np.array([[0.8, 0.6, 0.9], [0.2, 0.6, 0.7]])  # of a right answer, by kind of query and arm
USD = np.array([0.001, 0.002, 0.02])
DIM = 8


def make_world() -> Sample:
    """2,000 queries, the first half of one kind; scores are drawn once, so the table itself is the truth."""
    rng, n = np.random.default_rng(3), 2_000
    kind = np.arange(n) // (n // 2)
    scores = (rng.random((n, 3)) < CHANCES[kind]).astype(np.float64)
    tokens = np.tile(np.array([100, 200, 400]), (n, 1))
    prompts = tuple(f"{'sum' if kind[i] else 'name'} number {i}" for i in range(n))
    table = OutcomeTable(
        name="world",
        query_ids=tuple(f"q{i}" for i in range(n)),
        prompts=prompts,
        domains=("",) * n,
        arms=tuple(Arm(*name.split("/")) for name in ARMS),  # type: ignore[arg-type]
        scores=scores,
        usd=np.tile(USD, (n, 1)),
        nano_usd=np.tile((USD * 1e9).astype(np.int64), (n, 1)),
        prompt_tokens=np.full(n, 10),
        input_tokens=np.full((n, 3), 10),
        completion_tokens=tokens,
        seconds=np.full((n, 3), 1.0),
        prices=(Price(0, 10_000_000_000), Price(0, 10_000_000_000), Price(0, 50_000_000_000)),
    )
    return Sample(table, make_inputs(table, embeddings_of(kind, rng)))


def embeddings_of(kind: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Unit vectors; float16 and back, as a log keeps them."""
    vectors = 0.2 * rng.normal(size=(len(kind), DIM))
    vectors[np.arange(len(kind)), kind] += 1.0
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32)


@dataclass(frozen=True, slots=True)
class ByQuery:
    """A target that looks its distribution up by the query's embedding."""

    name: str
    chances: dict[bytes, NDArray[np.float64]]

    def distribution(self, rounds: Rounds) -> NDArray[np.float64]:
        return np.stack([self.chances[vector.tobytes()] for vector in rounds.embeddings])


def by_query(name: str, world: Sample, chances: NDArray[np.float64]) -> ByQuery:
    """A target of ``chances``, shape (n_queries, m)."""
    keys = (vector.tobytes() for vector in world.inputs.embeddings)
    return ByQuery(name, dict(zip(keys, chances, strict=True)))


def always(n: int, column: int, m: int = 3) -> NDArray[np.float64]:
    """One arm for every query."""
    chances = np.zeros((n, m))
    chances[:, column] = 1.0
    return chances


def simulated(world: Sample, logging: NDArray[np.float64], *, n: int | None = None, seed: int = 0) -> SimulatedLog:
    rng = np.random.default_rng(seed)
    return SimulatedLog.draw(world, logging, trade_off=TradeOff(10.0), rng=rng, n_rounds=n)


DECISION = DecisionRow(
    request_id="", decision_id="", client_request_id=None, organisation="o", tenant="t", key_id="k", session="s",
    turn=1, kind="drawn", requested_model="auto", arm="", arms=list(ARMS), propensities=[], quality=[None] * 3,
    quality_sd=[None] * 3, usd=[None] * 3, seconds=[None] * 3, revisions=[""] * 3, removed={},
    trade_off=[10.0, 0.0, 0.0, None], explore=0.5, policy="p@1", config="h", encoder_id="e", far=False, state="live",
    stream=False, prompt_tokens=10, features=[0.0] * len(FEATURE_NAMES), embedding_dim=DIM,
)  # fmt: skip
OUTCOME = OutcomeRow(
    request_id="", decision_id="", client_request_id=None, organisation="o", tenant="t", status="ok", http_status=200,
    served_arm="", upstream_model="m", input_tokens=10, output_tokens=5, cached_input_tokens=0, cache_write_tokens=0,
    reasoning_tokens=0, usage_source="upstream", usage_flags=[], nano_usd=0, seconds=1.0, ttft_s=None, overhead_s=0.0,
    finish_reasons=["stop"], tool_calls=0, attempts=[],
)  # fmt: skip
Row = tuple[DecisionRow, NDArray[np.float16], OutcomeRow, FeedbackRow | None]


def rows_of(log: SimulatedLog) -> list[Row]:
    """The rows that a gateway would have written of a simulated log."""
    table, rows = log.sample.table, []
    for place, (query, action) in enumerate(zip(log.queries, log.action, strict=True)):
        ids = {"request_id": f"r{place}", "decision_id": f"d{place}"}
        decision = replace(
            DECISION, **ids, arm=ARMS[action], propensities=log.logging[query].tolist(),
            features=lexical_features(table.prompts[query]).tolist(), prompt=table.prompts[query],
        )  # fmt: skip
        outcome = replace(
            OUTCOME, **ids, served_arm=ARMS[action], nano_usd=int(table.nano_usd[query, action]),
            output_tokens=int(table.completion_tokens[query, action]),
        )  # fmt: skip
        score = float(table.scores[query, action])
        feedback = FeedbackRow(f"f{place}", ids["request_id"], ids["decision_id"], "o", "t", "score", score)
        rows.append((decision, log.sample.inputs.embeddings[query].astype(np.float16), outcome, feedback))
    return rows


def write_archive(
    folder: Path, rows: Sequence[Row], more: Sequence[FeedbackRow] = (), *, step_s: float = 0.001
) -> Path:
    """A data directory of these rows, ``step_s`` apart, and of ``more`` feedback on them."""
    decisions = [
        (asdict(decision), vector.tobytes() if decision.embedding_dim else b"") for decision, vector, _, _ in rows
    ]
    kinds: dict[str, list[tuple[Any, bytes]]] = {
        "decisions": decisions,
        "outcomes": [(asdict(outcome), b"") for _, _, outcome, _ in rows],
        "feedback": [(asdict(each), b"") for each in (*(row[3] for row in rows), *more) if each is not None],
    }
    for kind, entries in kinds.items():
        place = folder / "archive" / kind / "shard=03"
        place.mkdir(parents=True)
        times = [1.0 + i * step_s for i in range(len(entries))]
        table = to_table(
            kind,
            [
                Entry(f"{round(1000 * at)}-0", at, orjson.dumps(row), vector)
                for at, (row, vector) in zip(times, entries, strict=True)
            ],
        )
        pq.write_table(table, place / f"1000-0-{round(1000 * times[-1]) if times else 1000}-0.parquet")
    return folder
