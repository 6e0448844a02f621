"""Estimates of savings against worlds whose savings are known."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from logged_world import ARMS, simulated
from numpy.typing import NDArray

from training.contender import Sample
from training.ope.log import Progress, RoundsSource, Tally
from training.ope.rounds import Rounds
from training.ope.simulated import SimulatedLog
from training.savings.baseline import read_baseline
from training.savings.estimate import Own, Saved, by_day, by_label, by_tenant, saved
from training.savings.rounds import SavedRounds, saved_rounds

CHEAP, EVEN, DEAR = ARMS
MIXED = np.array([0.5, 0.3, 0.2])


def logged(world: Sample, *, n: int = 1_500, seed: int = 0, chances: NDArray[np.float64] = MIXED) -> SimulatedLog:
    return simulated(world, np.tile(chances, (len(world), 1)), n=n, seed=seed)


def read(log: RoundsSource, name: str = DEAR) -> SavedRounds:
    return saved_rounds(log, read_baseline(name, ARMS), Tally())


def estimated(log: RoundsSource, name: str = DEAR, *, own_usd: float = 0.0) -> Saved:
    return saved(read(log, name), name, own_usd=own_usd, predicted=None)


@dataclass(frozen=True)
class Changed:
    """A log with its rounds changed."""

    log: RoundsSource
    change: object

    def chunks(self, tally: Tally | None = None, *, progress: Progress | None = None) -> Iterator[Rounds]:
        for rounds in self.log.chunks(tally, progress=progress):
            yield self.change(rounds)  # type: ignore[operator]


@pytest.mark.parametrize("name", [DEAR, f"0.5*{EVEN},0.5*{DEAR}"])
def test_intervals_hold_the_true_savings(world: Sample, name: str) -> None:
    n, shares = len(world), read_baseline(name, ARMS).shares
    baseline = np.tile([shares.get(arm, 0.0) for arm in ARMS], (n, 1))
    held = 0
    for seed in range(12):
        log = logged(world, seed=seed)
        would, was = log.truth(baseline)[1], log.truth(np.tile(MIXED, (n, 1)))[1]
        found = estimated(log, name)
        assert found.saved_usd is not None
        assert found.share is not None
        held += found.saved_usd.low <= 1_500 * (would - was) <= found.saved_usd.high
        held += found.share.low <= 1.0 - was / would <= found.share.high
    assert held >= 20  # of 24; at 95 % fewer have a chance of 0.004, were they apart


def test_paid_is_what_was_paid_and_the_parts_add_up(world: Sample) -> None:
    log = logged(world)
    (rounds,) = log.chunks()
    found = estimated(log)
    assert found.paid_usd == pytest.approx(float(rounds.usd.sum()))
    assert found.baseline_usd is not None
    assert found.saved_usd is not None
    assert found.saved_usd.value == pytest.approx(found.baseline_usd.value - found.paid_usd)


def test_against_the_arm_that_always_served_nothing_is_saved_and_that_is_certain(world: Sample) -> None:
    found = estimated(logged(world, chances=np.array([0.0, 0.0, 1.0])))
    assert found.saved_usd is not None
    assert (found.saved_usd.value, found.saved_usd.low, found.saved_usd.high) == pytest.approx(
        (0.0, 0.0, 0.0), abs=1e-9
    )


def test_where_the_baseline_could_not_answer_nothing_is_saved(world: Sample) -> None:
    def cheap_alone_in_the_first(rounds: Rounds) -> Rounds:
        eligible, propensities, action = rounds.eligible.copy(), rounds.propensities.copy(), rounds.action.copy()
        eligible[:300] = propensities[:300] = [1, 0, 0]
        action[:300] = 0
        return replace(rounds, eligible=eligible, propensities=propensities, action=action)

    rounds = read(Changed(logged(world), cheap_alone_in_the_first))
    assert rounds.reached.sum() == 1_200
    assert np.array_equal(rounds.baseline[:300], rounds.paid[:300])
    found = saved(rounds, DEAR, own_usd=0.0, predicted=None)
    assert found.support.n_rounds == 1_200  # what it could not answer says nothing of it


def test_rounds_that_nobody_judged_count_as_others_do(world: Sample) -> None:
    log = logged(world)
    unjudged = Changed(log, lambda rounds: replace(rounds, quality=np.full(len(rounds), np.nan)))
    assert estimated(unjudged) == estimated(log)


def test_the_routers_own_costs_are_taken_off(world: Sample) -> None:
    log = logged(world)
    gross, net = estimated(log), estimated(log, own_usd=2.5)
    assert gross.saved_usd is not None
    assert net.saved_usd is not None
    for part in ("value", "low", "high"):
        assert getattr(net.saved_usd, part) == pytest.approx(getattr(gross.saved_usd, part) - 2.5)
    assert net.baseline_usd == gross.baseline_usd


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rounds: replace(rounds, usd=np.where(rounds.action == 1, np.nan, rounds.usd)), "have no known cost"),
        (
            lambda rounds: replace(rounds, eligible=rounds.eligible & [True, True, False]),
            "dear/reasoning was eligible in no round",
        ),
    ],
)
def test_what_cannot_be_told_is_refused(world: Sample, change: object, told: str) -> None:
    found = estimated(Changed(logged(world), change))
    assert found.saved_usd is found.baseline_usd is found.share is None
    assert told in str(found.refused)


@pytest.mark.parametrize(
    ("chances", "n", "told"),
    [([0.6, 0.4, 0.0], 1_500, "could not have drawn"), ([0.5, 0.3, 0.2], 600, "effective sample size")],
)
def test_a_baseline_of_which_the_log_says_too_little_is_refused(
    world: Sample, chances: list[float], n: int, told: str
) -> None:
    assert told in str(estimated(logged(world, n=n, chances=np.array(chances))).refused)


def test_groups_add_up_to_the_whole_and_are_refused_by_themselves(world: Sample) -> None:
    def of_two(rounds: Rounds) -> Rounds:
        return replace(rounds, tenant=np.where(np.arange(len(rounds)) < 100, "few", "many"), at=rounds.at * 600.0)

    rounds = read(Changed(logged(world, n=3_000), of_two))
    own = Own([("few", 1.0, 10**9), ("many", 2.0, 2 * 10**9)], declared_usd=3.0)
    whole = saved(rounds, DEAR, own_usd=own.usd(), predicted=None)
    tenants = by_label(rounds, by_tenant, DEAR, own=own, predicted=None)
    assert list(tenants) == ["few", "many"]
    assert "dear/reasoning, few: effective sample size" in str(tenants["few"].refused)
    assert (tenants["few"].own_usd, tenants["many"].own_usd) == pytest.approx((1.1, 4.9))
    days = by_label(rounds, by_day, DEAR, own=own, predicted=None)
    assert list(days)[:2] == ["1970-01-01", "1970-01-02"]
    assert sum(each.rounds for each in days.values()) == 3_000
    assert sum(each.paid_usd + each.own_usd for each in days.values()) == pytest.approx(whole.paid_usd + whole.own_usd)
