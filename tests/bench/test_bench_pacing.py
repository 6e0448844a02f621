"""The streams and rules by which ways to spend a budget are compared, on a world of two arms."""

import numpy as np
import pytest

from bench.pacing.__main__ import markdown
from bench.pacing.play import HINDSIGHT, OURS, PLAYERS, STOP, budget_of, measured, play, spend_at, tenant_of
from bench.pacing.players import Unpaced
from bench.pacing.streams import KINDS, World


@pytest.fixture(scope="module")
def world() -> World:
    """A cheap arm that is right half the time and a dear one that is better by what is predicted."""
    rng, n = np.random.default_rng(0), 400
    gain = rng.random(n) / 2.0
    quality = np.column_stack([np.full(n, 0.5), 0.5 + gain])
    charged = np.column_stack([np.full(n, 0.001), np.full(n, 0.02)])
    domains = tuple("ab"[i % 2] for i in range(n))
    prices = np.array([[0.1, 1.0], [1.0, 20.0]])
    return World(quality, charged, quality, charged, domains, np.full(n, 100), prices, np.full(2, 1_024.0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_streams_requests_come_in_order_within_its_window(world: World, kind: str) -> None:
    stream = KINDS[kind](world, 1_000, np.random.default_rng(1))
    assert (np.diff(stream.at) >= 0.0).all()
    assert stream.at[0] >= 0.0
    assert stream.at[-1] < 1.0
    assert {len(part) for part in (stream.at, stream.quality, stream.usd, stream.scores, stream.charged)} == {1_000}
    assert (stream.bound > stream.charged * 0.9).all()


def test_only_the_price_cut_tells_of_other_costs(world: World) -> None:
    cut = KINDS["price cut"](world, 1_000, np.random.default_rng(1))
    assert cut.cut_at == 500
    assert cut.usd[500:, 1] == pytest.approx(0.002)
    assert cut.charged[500:, 1] == pytest.approx(0.002)
    drifting = KINDS["drift"](world, 1_000, np.random.default_rng(1))
    assert (drifting.usd[:, 1] == 0.02).all()
    assert drifting.charged[-1, 1] == pytest.approx(0.032)


def test_a_request_whose_bound_does_not_fit_is_answered_by_an_arm_whose_does(world: World) -> None:
    stream, trade_off = KINDS["steady"](world, 100, np.random.default_rng(1)), tenant_of(world)
    limit_usd = float(stream.bound[:, 0].max()) * 2.0  # never a dear arm
    player = Unpaced(stream, trade_off, refuses=False)
    played, path = play(stream, player, limit_usd=limit_usd)
    assert 0.0 < played.refused < 1.0
    assert played.redrawn > 0.0
    assert path.max() == played.spent <= 1.0
    stopped, _ = play(stream, Unpaced(stream, trade_off, refuses=True), limit_usd=limit_usd)
    assert stopped.refused >= played.refused


def test_budgets_lie_between_cheapest_and_unconstrained(world: World) -> None:
    stream, trade_off = KINDS["steady"](world, 1_000, np.random.default_rng(1)), tenant_of(world)
    assert budget_of(stream, trade_off, 0.0) == pytest.approx(1_000 * 0.001)
    assert budget_of(stream, trade_off, 1.0) == pytest.approx(spend_at(stream, trade_off, 1.0)[0])


def test_ours_is_compared_with_every_other_pairwise(world: World) -> None:
    pytest.importorskip("pareto_bandit")
    [entry] = measured(world, n=2_000, orders=2, kinds=["steady"], shares=[0.5])
    assert set(entry["players"]) == set(PLAYERS)
    assert set(entry["ours_less"]) == set(PLAYERS) - {OURS}
    ours, hindsight = entry["players"][OURS][0], entry["players"][HINDSIGHT][0]
    assert 0.98 <= ours["spent"] <= 1.0
    assert ours["refused"] == 0.0
    assert ours["quality"] == pytest.approx(hindsight["quality"], abs=0.01)
    mean, low, high = entry["ours_less"][STOP]
    assert low <= mean <= high
    assert mean > 0.0
    assert "| steady, 50% |" in markdown({"two arms": [entry]})
