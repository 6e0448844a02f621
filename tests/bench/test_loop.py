"""The loop's own arithmetic: parts that share no text, configurations that load, verdicts where the truth is known."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import yaml

from bench.loop.config import logging_config, prices_of
from bench.loop.judge import foretold, judge
from bench.loop.plan import LoopFailed, Settings, parts_of, rows_of
from policies.arms import Arm
from policies.tables import OutcomeTable
from router.config.load import load_config

USD = np.array([0.001, 0.002])
POOL = {
    "pair": {
        "set": "s",
        "domain": "subject",
        "arms": [
            {"model": "dear", "mode": "instant", "usd_per_mtok": {"input": 2.0, "output": 8.0}},
            {"model": "cheap", "mode": "instant", "usd_per_mtok": {"input": 0.1, "output": 0.4}},
            {"model": "cheap", "mode": "reasoning", "usd_per_mtok": {"input": 0.1, "output": 0.4}},
        ],
    }
}


@pytest.fixture
def table() -> OutcomeTable:
    """Two hundred queries, each text twice; `a` is right on even rows, `b` on all."""
    n = 200
    return OutcomeTable(
        name="pair",
        query_ids=tuple(f"q{row}" for row in range(n)),
        prompts=tuple(f"text {row // 2}" for row in range(n)),
        domains=("",) * n,
        arms=(Arm("a", "instant"), Arm("b", "instant")),
        scores=np.stack([np.arange(n) % 2 == 0, np.ones(n)], axis=1).astype(np.float64),
        usd=np.tile(USD, (n, 1)),
        nano_usd=np.tile((USD * 1e9).astype(np.int64), (n, 1)),
        prompt_tokens=np.full(n, 10),
        input_tokens=np.full((n, 2), 10),
        completion_tokens=np.full((n, 2), 10),
        seconds=np.full((n, 2), 1.0),
        prices=(None, None),
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "pools.json").write_bytes(orjson.dumps(POOL))
    return Settings(tmp_path, tmp_path / "run", pool="pair", prompts=60, fresh=41)


def served(table: OutcomeTable, column: int) -> list[dict[str, Any]]:
    """As `gearshift replay` writes it, one arm having answered everything."""
    return [
        {"query_id": query_id, "arm": table.arm_names[column], "score": float(table.scores[row, column]),
         "usd": float(USD[column])}
        for row, query_id in enumerate(table.query_ids)
    ]  # fmt: skip


def test_the_parts_hold_every_prompt_once_and_share_no_text(table: OutcomeTable, settings: Settings) -> None:
    parts = parts_of(table, settings)
    assert [len(parts.prompts), len(parts.fresh), len(parts.live)] == [60, 42, 98]
    assert sorted((*parts.prompts, *parts.fresh, *parts.live)) == sorted(table.query_ids)
    texts = [set(rows_of(table, ids).prompts) for ids in (parts.prompts, parts.fresh, parts.live)]
    assert sum(map(len, texts)) == len(set(table.prompts))
    assert parts_of(table, settings) == parts


def test_a_pool_with_nothing_left_to_serve_is_refused(table: OutcomeTable, tmp_path: Path) -> None:
    with pytest.raises(LoopFailed, match="lower --prompts or --fresh"):
        parts_of(table, Settings(tmp_path, tmp_path, prompts=150, fresh=50))


def test_the_rules_know_prices_alone_and_load(settings: Settings, tmp_path: Path) -> None:
    tree = logging_config(settings, base_url="http://127.0.0.1:1/v1", store=tmp_path / "store", explore=0.5)
    assert [rule["prefer"] for rule in tree["policy"]["rules"]] == [["dear/instant"]] * 2 + [["cheap/reasoning"]]
    (tmp_path / "gearshift.yaml").write_text(yaml.safe_dump(tree))
    config = load_config(tmp_path / "gearshift.yaml")
    assert config.models["cheap"].modes == ["instant", "reasoning"]
    assert config.trade_offs["loop"].usd_per_correct_answer == 0.0099
    assert prices_of(settings)["dear/instant"] == {"input": 2.0, "output": 8.0}


def test_gains_are_paired_and_the_best_arm_is_that_of_the_trade_off(table: OutcomeTable) -> None:
    found = judge(
        table, learned=served(table, 1), logging=served(table, 0), rules=served(table, 1), usd_per_correct_answer=0.01
    )
    assert found.gains["quality"].value == pytest.approx(0.5)
    assert found.gains["usd"].value == pytest.approx(0.001)
    assert found.gains["utility"].low == pytest.approx(0.4)  # of every text one row gains 0.9 and one loses 0.1
    assert found.over_rules["utility"].value == 0.0
    assert found.best_arm == "b/instant"
    assert found.over_best_arm.value == 0.0
    assert found.oracle == pytest.approx(0.85)


def test_replays_of_other_prompts_are_not_compared(table: OutcomeTable) -> None:
    rows = served(table, 0)
    with pytest.raises(LoopFailed, match="not asked the same prompts"):
        judge(table, learned=rows[1:], logging=rows, rules=rows, usd_per_correct_answer=0.01)


@pytest.mark.parametrize(("low", "held"), [(0.9, True), (1.01, False)])
def test_an_interval_holds_the_live_value_or_does_not(table: OutcomeTable, low: float, held: bool) -> None:
    rows = {"learned": served(table, 1), "logging": served(table, 0), "rules": served(table, 0)}
    verdict = judge(table, **rows, usd_per_correct_answer=0.01)
    told = {"value": 1.05, "low": low, "high": 1.1}
    found = {
        "support": {"n_rounds": 9, "effective": 7.0},
        "refused": None,
        "estimates": {name: {"dr": told} for name in ("quality", "usd", "utility")},
        "differences": dict.fromkeys(("quality", "usd", "utility"), told),
    }
    off = foretold({"log": {"sample_ratio": {"p_value": 0.5}}, "policies": {"policy": found}}, verdict)
    assert (off.values["quality"].live, off.values["quality"].held) == (1.0, held)
