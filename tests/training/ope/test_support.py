"""Weights, effective sample size, and what is refused for want of them."""

import numpy as np
import pytest
from logged_world import always, simulated

from training.contender import Sample
from training.ope.support import Support, SupportError, effective_sample_size, weights_of

FINE = Support(n_rounds=1_000, effective=500.0, unsupported=0.0, largest_weight=4.0, mean_weight=1.0)


def test_equal_weights_count_each_round_and_one_weight_counts_one() -> None:
    assert effective_sample_size(np.full(50, 0.3)) == pytest.approx(50)
    assert effective_sample_size(np.array([5.0, 0.0, 0.0])) == pytest.approx(1)
    assert effective_sample_size(np.zeros(4)) == 0.0


def test_weights_are_target_over_logging_and_average_one(world: Sample) -> None:
    n = len(world)
    logging = np.tile([0.5, 0.3, 0.2], (n, 1))
    log = simulated(world, logging, n=20_000)
    found = [weights_of(rounds, always(len(rounds), 1)) for rounds in log.chunks()]
    raw = np.concatenate([each.raw for each in found])
    assert set(np.round(raw.astype(np.float64), 6)) == {0.0, round(1 / 0.3, 6)}
    assert raw.mean() == pytest.approx(1.0, abs=0.05)  # standard error 0.011
    support = found[0].support()
    assert support.largest_weight == pytest.approx(1 / 0.3)
    assert support.unsupported == 0.0


def test_clipping_is_shown(world: Sample) -> None:
    log = simulated(world, np.tile([0.8, 0.1, 0.1], (len(world), 1)))
    (rounds,) = log.chunks()
    support = weights_of(rounds, always(len(rounds), 2)).support(clip=4.0)
    assert support.largest_weight == 4.0
    assert support.clipped == pytest.approx(0.1, abs=0.03)
    assert support.mean_weight == pytest.approx(0.4, abs=0.1)  # what was cut off is missing


def test_the_expected_size_does_not_depend_on_what_was_drawn(world: Sample) -> None:
    """Two arms of chance 0.9 and 0.1: n / (1 / 0.1) of the second, whichever was drawn."""
    logging = np.tile([0.9, 0.1, 0.0], (len(world), 1))
    (rounds,) = simulated(world, logging).chunks()
    lucky = rounds.rows(rounds.action == 0)
    assert weights_of(rounds, always(len(rounds), 1)).support().expected == pytest.approx(0.1 * len(rounds))
    assert weights_of(lucky, always(len(lucky), 1)).support().expected == pytest.approx(0.1 * len(lucky))


def test_enough_support_is_accepted() -> None:
    FINE.check("mine")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"effective": 199.0}, "mine: effective sample size 199 of 1000 rounds is below 200"),
        ({"effective": 0.0}, "effective sample size 0"),
        ({"expected": 7.0}, "effective sample size 500 is luck, 7 would be expected of 1000 rounds"),
        ({"unsupported": 0.02}, "2.0% of its choices are arms that the log could not have drawn"),
    ],
)
def test_too_little_is_refused_with_what_to_do(changed: dict[str, float], message: str) -> None:
    from dataclasses import replace

    with pytest.raises(SupportError, match=message) as refusal:
        replace(FINE, **changed).check("mine")
    assert "log" in str(refusal.value)


def test_an_arm_that_was_never_possible_is_unsupported(world: Sample) -> None:
    log = simulated(world, np.tile([0.5, 0.5, 0.0], (len(world), 1)))
    (rounds,) = log.chunks()
    half = 0.5 * always(len(rounds), 2) + 0.5 * always(len(rounds), 0)
    assert weights_of(rounds, half).support().unsupported == pytest.approx(0.5)
