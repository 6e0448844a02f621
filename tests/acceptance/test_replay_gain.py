"""Whether routing pays, live: a pool's halves, each replayed through a gateway that serves what the other taught."""

import json
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from replaying import Live, Recorded, choices, fit, late_share, replay_half, wrongs

from policies.artifact import load_artifact, save_artifact
from policies.encoders.base import Encoder
from policies.encoders.load import load_encoder, prepare_encoder
from policies.tables import OutcomeTable, load_pool, split_halves
from policies.tradeoff import TradeOff
from policies.zoo.linear import LinearPolicy
from training.embeddings import embed_prompts
from training.fold_report import domain_choices
from training.inputs import make_inputs
from training.linear import LinearSettings, fit_linear, make_artifact
from training.offline import contexts_of, play
from training.replay_report import (
    BAR_USD_PER_CORRECT_ANSWER,
    Choice,
    ReplayReport,
    print_report,
    replay_report,
    report_markdown,
)

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"
TRADE_OFFS = dict(zip(("thrifty", "generous"), BAR_USD_PER_CORRECT_ANSWER, strict=True))
CONCURRENCY = 1  # two cold prompts would queue for the encoder's thread; where cores are shared, some past 50 ms


@pytest.fixture
def recorded(shared_data: Path) -> Recorded:
    return Recorded(shared_data, "mmlu_pro_7")


@pytest.fixture
def table(recorded: Recorded) -> OutcomeTable:
    return load_pool(recorded.data, recorded.data / "pools.json", recorded.name)


@pytest.fixture
def encoder() -> Encoder:
    prepare_encoder("minilm")
    return load_encoder("minilm")


def half_of(table: OutcomeTable, half: int) -> OutcomeTable:
    return table.rows(split_halves(table.prompts) == bool(half))


def first(table: OutcomeTable, n: int) -> OutcomeTable:
    return table.rows(np.arange(len(table)) < n)


def offline(table: OutcomeTable, artifact: Path, encoder: Encoder, *, usd: float) -> dict[str, str]:
    """Query id -> arm that the same artifact chooses without a gateway."""
    policy = LinearPolicy.from_artifact(load_artifact(artifact, encoder=encoder))
    contexts = contexts_of(table, embed_prompts(encoder, table.prompts))
    played = play(policy, contexts, table, trade_off=TradeOff(quality_per_usd=1.0 / usd))
    return {choice.query_id: choice.arm for choice in played}


def unlike(live: Live, model: str, expected: dict[str, str]) -> tuple[int, int]:
    """How many live choices differ from the offline ones, and how many of those were not late."""
    rows = [row for row in live.log if row["requested_model"] == model]
    differing = [row for row in rows if row["arm"] != expected[row["client_request_id"]]]
    return len(differing), sum(not row["late"] for row in differing)


def fit_quickly(table: OutcomeTable, encoder: Encoder, out: Path) -> Path:
    """A policy from a handful of prompts: good for its bookkeeping alone."""
    settings = LinearSettings(
        n_landmarks=16, sharpness=(2.0,), shared_penalties=(5.0,), contrast_penalties=(15.0,), token_penalties=(1.5,)
    )
    embeddings = embed_prompts(encoder, table.prompts, cache_dir=out.parent)
    fitted = fit_linear(make_inputs(table, embeddings), settings)
    artifact = make_artifact(table, fitted, encoder_id=encoder.encoder_id, settings=settings, data={}, evaluation={})
    return save_artifact(artifact, out, encoder=encoder)


@pytest.mark.accept
def test_a_replay_is_answered_logged_priced_and_judged_as_recorded(
    tmp_path: Path, recorded: Recorded, table: OutcomeTable, encoder: Encoder
) -> None:
    taught, asked = first(half_of(table, 1), 100), first(half_of(table, 0), 150)
    artifact = fit_quickly(taught, encoder, tmp_path / "artifact")
    live = replay_half(
        tmp_path, recorded, half=0, artifact=artifact, trade_offs=TRADE_OFFS, concurrency=CONCURRENCY, limit=150
    )
    assert wrongs(table, live) == []
    assert len(live.log) == 300
    for name, usd in TRADE_OFFS.items():
        assert unlike(live, f"auto:{name}", offline(asked, artifact, encoder, usd=usd))[1] == 0


def test_the_comparison_sees_what_is_missing_doubled_or_wrong(table: OutcomeTable) -> None:
    served = {
        "query_id": table.query_ids[0],
        "request_id": "chatcmpl-1",
        "arm": table.arm_names[0],
        "propensity": 1.0,
        "error": "",
    }
    logged = {
        "request_id": "chatcmpl-1",
        "client_request_id": table.query_ids[0],
        "requested_model": "auto:thrifty",
        "status": "ok",
        "arm": table.arm_names[0],
        "served_arm": table.arm_names[0],
        "propensity": 1.0,
        "input_tokens": table.input_tokens[0, 0],
        "output_tokens": table.completion_tokens[0, 0],
        "usage_source": "upstream",
        "nano_usd": table.nano_usd[0, 0],
        "feedback": {"score": table.scores[0, 0]},
    }
    asked = {"auto:thrifty": [served]}
    assert wrongs(table, Live(asked, [logged])) == []
    assert any("logged" in wrong for wrong in wrongs(table, Live(asked, [])))
    assert any("2 rows of 1 requests" in wrong for wrong in wrongs(table, Live(asked, [logged, logged])))
    for name, other in {"nano_usd": 1, "feedback": {}, "status": "error", "propensity": None}.items():
        assert any(name in wrong for wrong in wrongs(table, Live(asked, [{**logged, name: other}])))
    assert any(
        "502" in wrong for wrong in wrongs(table, Live({"auto:thrifty": [{**served, "error": "502"}]}, [logged]))
    )


@pytest.mark.accept
@pytest.mark.timeout(900)
def test_each_half_gains_over_every_mix_of_single_arms_by_what_the_other_taught(
    tmp_path: Path, recorded: Recorded, table: OutcomeTable, encoder: Encoder, capsys: pytest.CaptureFixture[str]
) -> None:
    began, lives, artifacts = time.monotonic(), [], []
    for half in (0, 1):
        folder = tmp_path / str(half)
        folder.mkdir()
        artifacts.append(fit(recorded, half=1 - half, out=folder / "artifact"))
        live = replay_half(
            folder, recorded, half=half, artifact=artifacts[half], trade_offs=TRADE_OFFS, concurrency=CONCURRENCY
        )
        assert wrongs(table, live) == []
        lives.append(live)
    report = judged(table, lives)
    differing = {
        name: [unlike(lives[half], f"auto:{name}", offline(half_of(table, half), artifacts[half], encoder, usd=usd))
               for half in (0, 1)]
        for name, usd in TRADE_OFFS.items()
    }  # fmt: skip
    late = {name: sum(row["late"] for live in lives for row in live.log if row["requested_model"] == f"auto:{name}")
            for name in TRADE_OFFS}  # fmt: skip
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "encoder_id": encoder.encoder_id,
        "policies": [sorted({row["policy"] for row in live.log}) for live in lives],
        "concurrency": CONCURRENCY,
        "seconds": round(time.monotonic() - began),
        "requests": sum(len(live.log) for live in lives),
        "late": late,
        "unlike_offline": differing,
        "gain_of_each_half": [gains_of(half_of(table, half), live) for half, live in enumerate(lives)],
    }
    with capsys.disabled():
        print_report(report)
        print(json.dumps(facts, indent=1))  # noqa: T201
    write(report, facts)
    for counts in differing.values():
        assert sum(all_of for all_of, _ in counts) <= 0.01 * len(table)
        assert sum(timely for _, timely in counts) <= 0.001 * len(table)
    gains = [row.gain.gain for row in report.routers if row.name.startswith("linear")]
    assert len(gains) == len(TRADE_OFFS)
    assert all(gain.low > 0 for gain in gains)
    assert late_share([live.log for live in lives]) <= 0.001, f"late: {late}; is this machine busy with other work?"


def judged(table: OutcomeTable, lives: list[Live]) -> ReplayReport:
    """The live choices of both halves beside single arms, chance, the oracle, and a router that is told the domain."""
    routers: dict[str, list[Choice]] = {}
    for name, usd in TRADE_OFFS.items():
        routers[f"linear, live, at {usd:g} USD/correct"] = [
            choice for live in lives for choice in choices(table, live, f"auto:{name}")
        ]
        routers[f"told domain, at {usd:g} USD/correct"] = [
            choice
            for half in (0, 1)
            for choice in domain_choices(half_of(table, 1 - half), half_of(table, half), usd=usd)
        ]
    return replay_report(table, routers)


def gains_of(half: OutcomeTable, live: Live) -> dict[str, list[float]]:
    """Gain over the hull of this half alone, in points, with its interval, by trade-off."""
    report = replay_report(half, {name: choices(half, live, f"auto:{name}") for name in TRADE_OFFS})
    gains = {row.name: row.gain.gain for row in report.routers}
    return {name: [round(100 * each, 2) for each in (gain.value, gain.low, gain.high)] for name, gain in gains.items()}


def write(report: ReplayReport, facts: dict[str, object]) -> None:
    """The result as JSON, Markdown and a picture, below `bench/results`."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    result = RESULTS / "routing-quality.json"
    result.write_text(json.dumps({**facts, "report": asdict(report)}, indent=1) + "\n")
    result.with_suffix(".md").write_text(report_markdown(report))
    draw = [sys.executable, str(ROOT / "scripts" / "draw_gain.py"), str(result), str(result.with_suffix(".svg"))]
    subprocess.run(draw, check=True, timeout=60)
