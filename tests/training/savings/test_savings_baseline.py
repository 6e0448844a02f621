"""Baselines as people write them, and as distributions over the arms of a round."""

from dataclasses import replace

import numpy as np
import pytest
from logged_world import ARMS, simulated

from training.contender import Sample
from training.ope.rounds import EvaluationError, Rounds
from training.savings.baseline import read_baseline

CHEAP, EVEN, DEAR = ARMS


def drawn(world: Sample) -> Rounds:
    """Four rounds, in which cheap; cheap and even; all; and even alone were eligible."""
    log = simulated(world, np.tile([0.5, 0.3, 0.2], (len(world), 1)), n=4)
    (rounds,) = log.chunks()
    eligible = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=np.bool_)
    propensities = eligible / eligible.sum(axis=1, keepdims=True)
    return replace(rounds, eligible=eligible, propensities=propensities, action=eligible.argmax(axis=1))


def test_an_arm_answers_wherever_it_may_and_elsewhere_the_log_stands(world: Sample) -> None:
    rounds, baseline = drawn(world), read_baseline(EVEN, ARMS)
    assert baseline.reaches(rounds).tolist() == [False, True, True, True]
    assert baseline.distribution(rounds).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]]


def test_a_mixture_keeps_the_shares_of_those_of_its_arms_that_are_eligible(world: Sample) -> None:
    rounds, baseline = drawn(world), read_baseline(f"0.75*{EVEN}, 0.25*{DEAR}", ARMS)
    assert baseline.reaches(rounds).tolist() == [False, True, True, True]
    assert baseline.distribution(rounds).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0.75, 0.25], [0, 1, 0]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nobody/instant", "no arm 'nobody/instant' was eligible in the log; it has"),
        (f"0.5*{CHEAP},0.5*nobody/instant", "no arm 'nobody/instant'"),
        (f"0.5*{CHEAP},0.4*{DEAR}", "shares above 0 that sum to 1"),
        (f"1.5*{CHEAP},-0.5*{DEAR}", "shares above 0 that sum to 1"),
        (f"{CHEAP},{DEAR}", "shares above 0 that sum to 1"),
        (f"half*{CHEAP},0.5*{DEAR}", "shares above 0 that sum to 1"),
        ("", "no arm ''"),
    ],
)
def test_what_is_no_baseline_is_refused(text: str, told: str) -> None:
    with pytest.raises(EvaluationError) as refusal:
        read_baseline(text, ARMS)
    assert told in str(refusal.value)
