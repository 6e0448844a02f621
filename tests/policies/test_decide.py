from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.arms import Arm
from policies.context import Context
from policies.decide import decide, explored, explored_many
from policies.policy import ArmFacts, Scores
from policies.tradeoff import TradeOff
from policies.zoo.known import unlearned

ARMS = tuple(ArmFacts(Arm(f"m{i}", "instant")) for i in range(3))
CONTEXT = Context(embedding=np.zeros(0, np.float32), features=np.zeros(0, np.float32), prompt_tokens=10)
TRADE_OFF = TradeOff(quality_per_usd=1.0)


class Wants:
    """A policy with a given distribution."""

    name, version, encoder_id = "wants", "1", ""

    def __init__(self, *dist: float) -> None:
        self._dist = np.array(dist)

    def score(self, context: Context, arms: Sequence[ArmFacts], trade_off: TradeOff) -> Scores:
        return Scores(self._dist, unlearned(context, arms))


def test_a_propensity_is_the_frequency_of_its_draw() -> None:
    rng, wants, n_draws = np.random.default_rng(0), Wants(0.7, 0.3, 0.0), 20_000
    drawn = [decide(wants, CONTEXT, ARMS, trade_off=TRADE_OFF, rng=rng, explore=0.1) for _ in range(n_draws)]
    frequency = np.bincount([decision.action for decision in drawn], minlength=3) / n_draws
    # Standard error at most 0.0035; four of them.
    assert frequency == pytest.approx(drawn[0].propensities, abs=0.014)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=9).filter(lambda d: sum(d) > 1e-9), st.floats(0, 1))
def test_every_arm_keeps_the_exploration_floor(dist: list[float], explore: float) -> None:
    mixed = explored(np.array(dist), explore)
    assert mixed.sum() == pytest.approx(1.0)
    assert (mixed >= explore / len(dist) - 1e-12).all()


def test_an_arm_of_probability_zero_is_never_drawn() -> None:
    rng, wants = np.random.default_rng(1), Wants(0.0, 1e-12, 0.0)
    actions = {decide(wants, CONTEXT, ARMS, trade_off=TRADE_OFF, rng=rng).action for _ in range(2_000)}
    assert actions == {1}


@pytest.mark.parametrize("dist", [(0.0, 0.0, 0.0), (-0.1, 0.6, 0.5), (np.nan, 0.5, 0.5), (np.inf, 0.0, 0.0)])
def test_what_is_no_distribution_is_refused(dist: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="probability"):
        decide(Wants(*dist), CONTEXT, ARMS, trade_off=TRADE_OFF, rng=np.random.default_rng(0))


def test_a_distribution_over_other_arms_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        decide(Wants(0.5, 0.5), CONTEXT, ARMS, trade_off=TRADE_OFF, rng=np.random.default_rng(0))


def test_nothing_can_be_drawn_from_no_arms() -> None:
    with pytest.raises(ValueError, match="at least one"):
        decide(Wants(), CONTEXT, (), trade_off=TRADE_OFF, rng=np.random.default_rng(0))


@pytest.mark.parametrize("explore", [-0.01, 1.01, float("nan")])
def test_an_exploration_share_outside_zero_to_one_is_refused(explore: float) -> None:
    with pytest.raises(ValueError, match="explore"):
        explored(np.array([1.0]), explore)


@pytest.mark.parametrize("explore", [0.0, 0.1, 1.0])
def test_many_distributions_are_explored_as_one_by_one(explore: float) -> None:
    dists = np.random.default_rng(0).random((20, 3)) * (1.0, 0.0, 2.0)
    assert np.array_equal(explored_many(dists, explore), [explored(each, explore) for each in dists])


def test_one_row_that_is_no_distribution_is_refused_among_many() -> None:
    with pytest.raises(ValueError, match="a policy must return"):
        explored_many(np.array([[0.5, 0.5], [0.0, 0.0]]), 0.1)
