"""Statements from tables of the log: sums against the rows themselves, divisions, costs that are unknown."""

from collections import Counter
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from policies.archive_schema import Entry, read_log, to_table
from policies.records import STATUSES, DecisionRow, OutcomeRow
from router.statement.columns import COLUMNS, is_division
from router.statement.sums import Statement, Sums, sum_up

DECISION = DecisionRow(
    request_id="", decision_id="d", client_request_id=None, organisation="acme", tenant="t", key_id="k", session="s",
    turn=1, kind="drawn", requested_model="auto", arm="m/instant", arms=["m/instant"], propensities=[1.0],
    quality=[None], quality_sd=[None], usd=[None], seconds=[None], revisions=[""], removed={},
    trade_off=[1.0, 0.0, 0.0, None], explore=0.0, policy="p@1", config="h", encoder_id="", far=False, state="live",
    stream=False, prompt_tokens=3, features=[], embedding_dim=0,
)  # fmt: skip
OUTCOME = OutcomeRow(
    request_id="", decision_id="d", client_request_id=None, organisation="acme", tenant="t", status="ok",
    http_status=200, served_arm="m/instant", upstream_model="m", input_tokens=30, output_tokens=5,
    cached_input_tokens=2, cache_write_tokens=1, reasoning_tokens=3, usage_source="upstream", usage_flags=[],
    nano_usd=10, seconds=1.0, ttft_s=None, overhead_s=0.0, finish_reasons=["stop"], tool_calls=0, attempts=[],
)  # fmt: skip
Row = tuple[dict[str, Any], dict[str, Any] | None]  # what differs in decision and outcome; None: it is open


def log(tmp_path: Any, *rows: Row, at: float = 0.0) -> list[pa.Table]:
    """The joined log of these requests, a second apart."""
    decisions, outcomes = [], []
    for place, (decided, ended) in enumerate(rows):
        ids = {"request_id": f"r{place}"}
        when = decided.pop("at", at + place)
        row = replace(DECISION, **ids, **decided)
        decisions.append(Entry(f"{place + 1}-0", when, orjson.dumps(asdict(row))))
        if ended is not None:
            shared = {"tenant": row.tenant, "organisation": row.organisation}
            outcomes.append(
                Entry(f"{place + 1}-1", when, orjson.dumps(asdict(replace(OUTCOME, **ids, **shared, **ended))))
            )
    live = {3: {"decisions": [to_table("decisions", decisions)], "outcomes": [to_table("outcomes", outcomes)]}}
    return list(read_log(tmp_path, live=live, columns=COLUMNS))


def stated(tables: list[pa.Table], *by: str, tenants: list[str] | None = None) -> Statement:
    found = Statement(by)
    sum_up(tables, (found, tenants))
    return found


@pytest.mark.parametrize("by", [("tenant",), ("key", "model"), ("arm", "day", "hour"), ("tag:team", "end_user")])
def test_the_total_is_the_sum_of_the_rows_however_they_are_divided(tmp_path: Any, by: tuple[str, ...]) -> None:
    rng, rows, wanted = np.random.default_rng(0), list[Row](), Sums()
    for _ in range(300):
        status = str(rng.choice(STATUSES))
        cost = None if rng.random() < 0.2 else int(rng.integers(0, 2**62))  # three of these pass 64 bits
        decided = {
            "tenant": str(rng.choice(["t", "u"])), "key_id": str(rng.choice(["k", "l"])),
            "tags": {"team": str(rng.choice(["x", "y"]))} if rng.random() < 0.5 else {},
            "end_user": str(rng.choice(["a", "b"])) if rng.random() < 0.5 else None,
            "at": float(rng.integers(0, 10**6)),
        }  # fmt: skip
        tokens = int(rng.integers(0, 100))
        ended = {
            "status": status,
            "nano_usd": cost,
            "input_tokens": tokens,
            "served_arm": str(rng.choice(["m/instant", "m/reasoning:low"])),
        }
        rows.append((decided, ended))
        failed, left = status in ("error", "upstream_cut", "unknown_after_crash"), status == "cancelled"
        wanted.add(
            Sums(1, tokens, 2, 1, 5, 3, cost or 0, cost is None, failed, failed * (cost or 0), left, left * (cost or 0))
        )
    found = stated(log(tmp_path, *rows), *by)
    assert found.total() == wanted
    assert len(found.groups) > 1
    added = Counter[str]()
    for sums in found.groups.values():
        added.update(asdict(sums))
    assert dict(added) == asdict(wanted)


def test_an_unknown_cost_is_counted_and_is_no_zero(tmp_path: Any) -> None:
    found = stated(log(tmp_path, ({}, {"nano_usd": None}), ({}, {"nano_usd": 0}), ({}, {"nano_usd": 7})), "tenant")
    sums = found.groups["t",]
    assert (sums.requests, sums.unknown, sums.nano_usd) == (3, 1, 7)


def test_what_has_not_ended_is_no_entry(tmp_path: Any) -> None:
    found = stated(log(tmp_path, ({}, None), ({}, {})), "tenant")
    assert (found.open, found.total().requests) == (1, 1)


def test_only_the_tenants_asked_for_are_summed(tmp_path: Any) -> None:
    tables = log(tmp_path, ({"tenant": "t"}, {}), ({"tenant": "u"}, {"nano_usd": 5}), ({"tenant": "v"}, None))
    found = stated(tables, "tenant", tenants=["u"])
    assert found.ordered() == [(("u",), found.total())]
    assert (found.total().nano_usd, found.open) == (5, 0)


def test_groups_come_by_name_and_what_is_not_named_first(tmp_path: Any) -> None:
    rows: list[Row] = [({"tags": {"team": name}} if name else {}, {}) for name in ("b", "", "a", "b")]
    found = stated(log(tmp_path, *rows), "tag:team")
    assert [(key, sums.requests) for key, sums in found.ordered()] == [((None,), 1), (("a",), 1), (("b",), 2)]


@pytest.mark.parametrize(
    ("arm", "model", "mode"),
    [
        ("gpt/instant", "gpt", "instant"),
        ("org/name:8b/reasoning:low", "org/name:8b", "reasoning"),
        ("m/instant+vote=5+of=a/b", "m", "instant"),
        ("x/instant/reasoning:2048", "x/instant", "reasoning"),
        ("nothing", "nothing", "nothing"),
    ],
)
def test_a_model_is_read_from_the_right_of_its_arm(tmp_path: Any, arm: str, model: str, mode: str) -> None:
    found = stated(log(tmp_path, ({}, {"served_arm": arm})), "model", "mode", "arm")
    assert list(found.groups) == [(model, mode, arm)]


def test_days_and_hours_are_utc_and_begin_with_their_first_second(tmp_path: Any) -> None:
    day = 1_764_460_800.0  # 2025-11-30
    rows: list[Row] = [({"at": day + since}, {}) for since in (-0.000001, 0.0, 3599.999999, 3600.0)]
    found = stated(log(tmp_path, *rows), "day", "hour")
    assert [key for key, _ in found.ordered()] == [
        ("2025-11-29", "2025-11-29T23"), ("2025-11-30", "2025-11-30T00"), ("2025-11-30", "2025-11-30T01"),
    ]  # fmt: skip


def test_an_outcome_whose_decision_is_lost_is_an_entry_all_the_same(tmp_path: Any) -> None:
    row = replace(OUTCOME, request_id="lost", nano_usd=4)
    live = {3: {"outcomes": [to_table("outcomes", [Entry("1-0", 1.0, orjson.dumps(asdict(row)))])]}}
    found = stated(list(read_log(tmp_path, live=live, columns=COLUMNS)), "tenant", "key")
    assert found.ordered() == [(("t", None), found.total())]
    assert found.total().nano_usd == 4


def test_an_empty_log_is_an_empty_statement(tmp_path: Any) -> None:
    assert stated(log(tmp_path), "tenant").total() == Sums()


@pytest.mark.parametrize(
    ("name", "known"), [("tenant", True), ("tag:x", True), ("tag:", False), ("tag", False), ("week", False)]
)
def test_divisions_have_names(name: str, known: bool) -> None:
    assert is_division(name) is known
