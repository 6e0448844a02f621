"""What an arm on trial costs is counted once, whatever crashes; it is barred from exploring when its money is spent."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from lessons import ARMS, Lessons, embedding_of, example_policy

from policies.context import Context
from policies.features import FEATURE_NAMES
from policies.floors import Floors
from policies.online.trials import Trials
from policies.prices import Price
from policies.tradeoff import TradeOff
from policies.zoo.thompson import Exploring
from router.online.expenses import Expenses, may_have_explored
from router.online.record import START, Record
from router.online.snapshot import StateUnreadable
from router.online.tutor import Tutor
from router.store.archive import archive_once
from router.store.keys import online_keys

pytestmark = pytest.mark.asyncio
NAMES = ["a/instant", "b/instant", "c/instant"]
NEW, CENT = "b/instant", 10_000_000
EXPLORING = Exploring(share=0.5)


def drawn(**more: Any) -> dict[str, Any]:
    """A draw of the new arm although the first has the highest utility."""
    return {
        "kind": "drawn", "policy": "default@v1+1", "arm": NEW, "arms": NAMES, "quality": [0.8, 0.6, 0.5],
        "usd": [0.002, 0.001, 0.001], "seconds": [1.0, 1.0, 1.0], "trade_off": [0.0, 0.0, 0.0, None],
    } | more  # fmt: skip


def tutor_of(log: Lessons, usd: float = 0.10, **more: Any) -> Tutor:
    trials: dict[str, float] = {NEW: usd} if usd else {}
    return log.tutor(**{"exploring": EXPLORING, "trials_usd": trials} | more)


async def explored(log: Lessons, *numbers: int, nano_usd: Any = CENT, **more: Any) -> None:
    decision, outcome = drawn(**more.pop("decision", {})), {"nano_usd": nano_usd} | more.pop("outcome", {})
    await log.answered(*numbers, arm=NEW, decision=decision, outcome=outcome, **more)


def spent(log: Lessons) -> int:
    found = log.state().get(b"trials")
    return 0 if found is None else int(orjson.loads(found)["spent_nano_usd"].get(NEW, 0))


async def append(log: Lessons, kind: str, row: dict[str, Any]) -> None:
    """A row behind all others."""
    (stream,) = log.client.scan_iter("gs:*:log")
    log.client.xadd(stream, {"t": kind, "at": "9e9", "j": orjson.dumps(row)})


async def test_a_trial_ends_when_its_money_is_spent(
    valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(tutor_of(log))
        await explored(log, *range(9))
        log.caught_up(tutor)
        assert (spent(log), log.served().sequence, log.served().exploring) == (9 * CENT, 1, EXPLORING)
        await explored(log, 9)
        log.caught_up(tutor)
        assert (spent(log), log.served().sequence) == (10 * CENT, 2)
        assert log.served().exploring.barred == {NEW}
        log.killed(tutor)
        log.caught_up(tutor_of(log))
        assert log.served().sequence == 2
        assert caplog.text.count(f"trial_ended arm={NEW} usd=0.100000000") == 1
        assert log.metrics.trials_ended.labels(NEW)._value.get() == 1


async def test_the_best_arms_answers_are_not_its_trials(valkey_url: str, tmp_path: Path) -> None:
    """By quality, by what quality is worth at the trade-off, by a cap on the price, and where two are alike."""
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(tutor_of(log))
        await explored(log, 1, decision={"quality": [0.5, 0.6, 0.5]})
        await explored(log, 2, decision={"trade_off": [300.0, 0.0, 0.0, None]})
        await explored(log, 3, decision={"trade_off": [0.0, 0.0, 0.0, 0.0015]})
        await explored(log, 4, decision={"quality": [0.6, 0.6, 0.5]})
        await explored(log, 5, decision={"seconds": [9.0, 1.0, 1.0], "trade_off": [0.0, 0.1, 0.0, None]})
        log.caught_up(tutor)
        assert spent(log) == 0


@pytest.mark.parametrize(
    "strange",
    [
        {"decision": {"kind": "forced"}},
        {"decision": {"kind": "late"}},
        {"decision": {"kind": "single", "arms": [NEW]}},
        {"decision": {"policy": "default@v10"}},
        {"decision": {"policy": "rules@"}},
        {"decision": {"arm": "c/instant"}},
        {"outcome": {"served_arm": "a/instant"}},
        {"outcome": {"decision_id": "d9"}},
        {"nano_usd": None, "status": "unknown_after_crash"},
        {"nano_usd": "much"},
        {"nano_usd": -5},
        {"decision": {"arm": [NEW]}, "outcome": {"decision_id": []}},
    ],
    ids=str,
)
async def test_what_no_draw_of_this_policy_brought_is_not_charged(
    valkey_url: str, tmp_path: Path, strange: dict[str, Any]
) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(tutor_of(log))
        await explored(log, 1, **strange)
        await explored(log, 2)
        log.caught_up(tutor)
        assert spent(log) == CENT


@pytest.mark.parametrize(
    "untold",
    [
        {"quality": [None, 0.9, 0.5]},
        {"quality": [0.5, None, 0.5]},
        {"quality": None},
        {"usd": [0.1, 0.1]},
        {"arms": None},
        {"arms": ["a/instant"]},
        {"trade_off": []},
        {"trade_off": ["much", 0.0, 0.0, None]},
    ],
    ids=str,
)
async def test_where_a_row_does_not_tell_its_answers_are_charged(untold: dict[str, Any]) -> None:
    assert may_have_explored(drawn(quality=[0.5, 0.9, 0.5]) | untold, promises_floors=False)
    assert may_have_explored({"arm": NEW}, promises_floors=False)


async def test_under_a_promised_floor_every_draw_is_charged() -> None:
    """It may be the arm that the floor asks for, or one that the tenant's floor of exploration drew."""
    best, floor = drawn(quality=[0.5, 0.9, 0.5]), {"trade_off": [0.0, 0.0, 0.9, None]}
    assert not may_have_explored(best, promises_floors=True)
    assert not may_have_explored(best | floor, promises_floors=False)
    assert may_have_explored(best | floor, promises_floors=True)
    policy = example_policy()
    policy.promise(Floors("a/instant", (("a/instant", None),), (1.0,), (), 10))
    charged = Expenses(policy, Trials({NEW: 1.0}))
    charged.take([Record(START, 0.0, "decisions", best | floor | {"decision_id": "d1"})])
    assert charged.open == {"d1": NEW}


async def test_every_answer_of_a_turn_that_explored_is_charged(valkey_url: str, tmp_path: Path) -> None:
    """Tool results stay on its arm; those of a turn that did not explore are free."""
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(tutor_of(log))
        await explored(log, 1)
        await explored(log, 2, decision={"quality": [0.5, 0.6, 0.5]})
        for n in (1, 2):
            row = {"decision_id": f"d{n}", "request_id": f"r{n}b", "served_arm": NEW, "nano_usd": 3}
            await append(log, "d", {**drawn(kind="sticky", quality=[None] * 3), **row})
            await append(log, "o", row | {"status": "ok"})
            await append(log, "o", row | {"status": "cancelled", "nano_usd": 2})
        log.caught_up(tutor)
        assert spent(log) == CENT + 5


async def test_tenants_that_are_never_learned_from_pay_too(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(tutor_of(log))
        await explored(log, 1, training=False, status="cancelled")
        log.caught_up(tutor)
        assert (spent(log), int(log.state()[b"waiting"])) == (CENT, 0)


class Killed(Exception):
    """Stands for kill -9."""


def dies_at(wanted: int, name: str) -> Callable[[str], None]:
    seen: list[str] = []

    def step(reached: str) -> None:
        seen.append(reached)
        if reached == name and seen.count(name) == wanted:
            raise Killed

    return step


@pytest.mark.parametrize("step", ["taught", "published", "told"])
@pytest.mark.parametrize("wanted", [1, 2, 3])
async def test_a_crash_anywhere_charges_no_answer_twice_and_forgets_none(
    valkey_url: str, tmp_path: Path, step: str, wanted: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        log.killed(tutor_of(log))
        await explored(log, *range(12))
        with pytest.raises(Killed):
            log.caught_up(tutor_of(log, batch_rows=7, step=dies_at(wanted, step)))
        log.client.delete(online_keys("v1").lease)
        log.caught_up(tutor_of(log, batch_rows=7))
        assert spent(log) == 12 * CENT
        assert log.served().exploring.barred == {NEW}
        assert caplog.text.count("trial_ended") in (1, 2)


async def test_an_answer_that_comes_after_a_restart_finds_its_decision(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        log.killed(tutor_of(log))
        await explored(log, 1, outcome={"served_arm": ""})
        log.killed(tutor_of(log))
        await append(log, "o", {"decision_id": "d1", "served_arm": NEW, "nano_usd": CENT, "status": "ok"})
        log.killed(tutor_of(log))
        log.caught_up(tutor_of(log))
        assert spent(log) == CENT


async def test_answers_that_were_archived_meanwhile_are_charged(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(tutor_of(log))
        whole = {"features": [], "propensities": [0.8, 0.1, 0.1]}
        await explored(log, 1, 2, decision=whole)
        await explored(log, 3, decision=whole | {"quality": [0.5, 0.6, 0.5]})
        archive_once(valkey_url, tmp_path)
        log.caught_up(tutor)
        assert spent(log) == 2 * CENT


async def test_more_money_lets_it_go_on_and_what_was_spent_stays_spent(
    valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(tutor_of(log))
        await explored(log, *range(10))
        log.killed(tutor)
        for usd, barred in ((0.11, set()), (0.0, set()), (0.05, {NEW}), (0.0, set())):
            before = log.served()
            log.killed(tutor_of(log, usd))
            assert log.served().exploring.barred == barred
            assert log.served().sequence == before.sequence + (barred != before.exploring.barred)
        await explored(log, 10)
        log.caught_up(tutor_of(log, 0.0))  # on no trial: nothing is charged
        assert spent(log) == 10 * CENT
        assert caplog.text.count("trial_ended") == 2


async def test_a_state_from_before_there_were_trials_has_nothing_spent(valkey_url: str, tmp_path: Path) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        log.killed(tutor_of(log, 0.0))
        log.client.hdel(online_keys("v1").state, "trials", "barred", "extra_usd", "untold")
        tutor = log.caught_up(tutor_of(log))
        assert (log.served().sequence, log.served().exploring) == (1, EXPLORING)
        await explored(log, 1)
        log.caught_up(tutor)
        assert spent(log) == CENT


@pytest.mark.parametrize(
    "harm",
    [
        {"trials": "["},
        {"trials": "[]"},
        {"trials": '{"open": {}}'},
        {"trials": '{"open": {}, "spent_nano_usd": {"b": "much"}}'},
        {"barred": "1"},
        {"extra_usd": "-1"},
    ],
    ids=str,
)
async def test_spending_that_cannot_be_read_is_not_taken_for_none(
    valkey_url: str, tmp_path: Path, harm: dict[str, str]
) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        log.killed(tutor_of(log))
        log.client.hset(online_keys("v1").state, mapping=harm)  # type: ignore[arg-type]
        before = log.state()
        with pytest.raises(StateUnreadable):
            tutor_of(log).round()
        assert log.state() == before


async def test_the_decisions_it_remembers_are_bounded() -> None:
    charged = Expenses(example_policy(), Trials({NEW: 1.0}), most_open=3)
    charged.take(Record(START, 0.0, "decisions", drawn(decision_id=f"d{n}")) for n in range(5))
    assert list(charged.open) == ["d2", "d3", "d4"]


@pytest.mark.parametrize("usd", [0.01, 1.0], ids=["spent", "left"])
async def test_a_barred_arm_serves_where_it_is_best_and_nowhere_else(
    valkey_url: str, tmp_path: Path, usd: float
) -> None:
    async with Lessons(valkey_url, tmp_path) as log:
        tutor = log.caught_up(tutor_of(log, usd, exploring=Exploring(share=1.0)))
        await explored(log, 1)
        log.caught_up(tutor)
        served = log.served().dressed(example_policy())
    dear = [replace(arm, price=Price(10**12, 10**12)) for arm in ARMS]
    behind, ahead = [], []
    for n in range(12):
        context = Context(embedding_of(n).astype(np.float32), np.zeros(len(FEATURE_NAMES), np.float32), 100)
        behind.append(served.score(context, ARMS[:3], TradeOff(1.0)).dist[1])
        ahead.append(served.score(context, [dear[0], ARMS[1], dear[2]], TradeOff(1.0)).dist[1])
    assert (max(behind) == 0.0) == (usd == 0.01)
    assert min(ahead) > 0.9
