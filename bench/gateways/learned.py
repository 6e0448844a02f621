"""A truly fitted policy for the benchmark's eight arms: made-up outcomes, the project's own training command.

What the policy learned does not matter here; that the gateway embeds, projects and scores like in earnest does.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.native import MissingTool
from bench.prompts import prompt

POOL = "bench"


@dataclass(frozen=True)
class ArmSpec:
    """An arm of the benchmark: its model's price per million tokens, and how often it is right on made-up outcomes."""

    model: str
    mode: str
    usd_per_mtok: float
    quality: float

    @property
    def variant(self) -> str | None:
        """How outcome sets spell the effort."""
        return "effort=low" if self.mode == "reasoning" else None


ARMS = tuple(
    ArmSpec(f"bench-{letter}", mode, usd_per_mtok=0.1 * (i + 1), quality=0.4 + 0.1 * i + bonus)
    for i, letter in enumerate("abcd")
    for mode, bonus in (("instant", 0.0), ("reasoning", 0.15))
)
MODELS = tuple(dict.fromkeys(arm.model for arm in ARMS))


def _queries(*, seed: int, number: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    lengths = [rng.choice((10, 30, 80, 400)) for _ in range(number)]
    prompts = [prompt(words, rng=rng, unique=False) for words in lengths]
    return [{"query_id": f"q{i}", "prompt": text, "topic": "any"} for i, text in enumerate(prompts)]


def _outcomes(queries: list[dict[str, Any]], *, seed: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(seed)
    for query in queries:
        words = len(query["prompt"].split())
        for arm in ARMS:
            right = rng.random() < arm.quality - 0.1 * (words > 50)
            yield {
                "query_id": query["query_id"],
                "model": arm.model,
                "mode": arm.mode,
                "variant": arm.variant or "",
                "score": float(right),
                "prompt_tokens": words,
                "completion_tokens": 400 if arm.mode == "reasoning" else 100,
                "token_source": "api",
                "cost_usd": None,
                "latency_s": 2.0 if arm.mode == "reasoning" else 0.5,
            }


def write_outcomes(folder: Path, *, seed: int = 0, number: int = 600) -> Path:
    """An outcome set named `bench` below the folder, and the pools file beside it, whose path is returned."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    home = folder / POOL
    home.mkdir(parents=True, exist_ok=True)
    queries = _queries(seed=seed, number=number)
    schema = pa.schema([(name, pa.string()) for name in ("query_id", "model", "mode", "variant", "token_source")])
    schema = schema.append(pa.field("score", pa.float64())).append(pa.field("prompt_tokens", pa.int64()))
    schema = schema.append(pa.field("completion_tokens", pa.int64())).append(pa.field("cost_usd", pa.float64()))
    schema = schema.append(pa.field("latency_s", pa.float64()))
    pq.write_table(pa.Table.from_pylist(queries), home / "queries.parquet")
    pq.write_table(pa.Table.from_pylist(list(_outcomes(queries, seed=seed)), schema=schema), home / "outcomes.parquet")
    pools = folder / "pools.json"
    arms = [
        {"model": a.model, "mode": a.mode, "usd_per_mtok": {"input": a.usd_per_mtok, "output": 4 * a.usd_per_mtok}}
        | ({"variant": a.variant} if a.variant else {})
        for a in ARMS
    ]
    pools.write_text(json.dumps({POOL: {"set": POOL, "domain": "topic", "arms": arms}}))
    return pools


def artifact_of(encoder: str, *, build: Path) -> Path:
    """Where the policy fitted with this encoder is kept."""
    return build / f"policy-{encoder}"


def fit(encoder: str, *, command: Path, build: Path) -> None:
    """Fits a linear policy with this encoder, anew in every run: an older one might not suit the present encoder.

    Raises:
        MissingTool: The training command failed; its last words are in the message.
    """
    artifact, data = artifact_of(encoder, build=build), build / "outcomes"
    shutil.rmtree(artifact, ignore_errors=True)
    pools = write_outcomes(data)
    argv = [str(command), "train", "linear", "--data", str(data), "--pools", str(pools), "--pool", POOL]
    argv += ["--encoder", encoder, "--out", str(artifact)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingTool(f"no policy could be fitted for {encoder}: {done.stderr.strip()[-300:]}")
