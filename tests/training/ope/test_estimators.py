"""Estimators against closed forms, against every draw there is, and against Vowpal Wabbit."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from training.ope.estimators import ESTIMATORS, Terms, switch_of, values_of

MU = np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]])
PI = np.array([[0.2, 0.2, 0.6], [0.7, 0.3, 0.0]])
REWARD = np.array([[1.0, 0.4, 0.7], [0.2, 0.9, 0.5]])
MODEL = np.array([[0.8, 0.5, 0.5], [0.3, 0.6, 0.6]])  # wrong on purpose


def terms(action: NDArray[np.int64], model: NDArray[np.float64] = MODEL) -> Terms:
    rows = np.arange(2)
    return Terms(
        weights=PI[rows, action] / MU[rows, action],
        outcome=REWARD[rows, action],
        fitted=model[rows, action],
        direct=(PI * model).sum(axis=1),
    )


def estimate(found: Terms, *, switch: float = np.inf) -> dict[str, float]:
    return dict(zip(ESTIMATORS, values_of(found.columns(switch=switch).mean(axis=0)).tolist(), strict=True))


def test_the_estimators_are_their_formulas() -> None:
    found = estimate(terms(np.array([2, 0])))  # weights 3 and 7
    assert found["dm"] == pytest.approx(((0.16 + 0.1 + 0.3) + (0.21 + 0.18)) / 2)
    assert found["ips"] == pytest.approx((3 * 0.7 + 7 * 0.2) / 2)
    assert found["snips"] == pytest.approx((3 * 0.7 + 7 * 0.2) / 10)
    assert found["dr"] == pytest.approx(found["dm"] + (3 * 0.2 + 7 * -0.1) / 2)
    assert estimate(terms(np.array([2, 0])), switch=5.0)["switch-dr"] == pytest.approx(found["dm"] + 3 * 0.2 / 2)


def test_over_every_draw_ips_and_dr_are_unbiased_whatever_the_model() -> None:
    """The chance of each pair of draws weighs the estimate that it gives: the sums are expectations, exactly."""
    truth = (PI * REWARD).sum(axis=1).mean()
    draws = [(MU[0, a] * MU[1, b], estimate(terms(np.array([a, b])))) for a, b in product(range(3), repeat=2)]
    for name in ("ips", "dr", "switch-dr"):
        assert sum(chance * found[name] for chance, found in draws) == pytest.approx(truth)
    assert sum(chance * found["dm"] for chance, found in draws) != pytest.approx(truth, abs=0.01)


def test_a_model_that_is_right_leaves_dr_no_variance() -> None:
    truth = (PI * REWARD).sum(axis=1).mean()
    values = [estimate(terms(np.array([a, b]), REWARD))["dr"] for a, b in product(range(3), repeat=2)]
    assert values == pytest.approx([truth] * 9)


def test_without_any_weight_snips_is_unknown() -> None:
    none = Terms(np.zeros(3), np.ones(3), np.ones(3), np.ones(3))
    found = estimate(none)
    assert np.isnan(found["snips"])
    assert found["ips"] == 0.0


def test_the_switch_leaves_rare_large_weights_to_the_model_where_they_add_more_noise_than_bias() -> None:
    rng = np.random.default_rng(0)
    weights = np.where(rng.random(4_000) < 0.0005, 200.0, 1.0)
    outcome = rng.integers(0, 2, size=4_000).astype(np.float64)
    noisy = Terms(weights, outcome, np.full(4_000, 0.5), np.full(4_000, 0.5))
    assert switch_of(noisy, spread=0.001) < 200.0
    assert switch_of(noisy, spread=1_000.0) >= 200.0  # a large bias is dearer than any variance


def test_vowpal_wabbit_agrees() -> None:
    """`--cb_type ips --eval` on a policy that names one arm: the mean cost of w·r, in single precision."""
    vowpalwabbit = pytest.importorskip("vowpalwabbit", reason="vowpalwabbit is not installed")
    rng, n = np.random.default_rng(1), 500
    action = rng.integers(0, 3, size=n)
    wanted, reward = rng.integers(0, 3, size=n), rng.random(n)
    chance = rng.uniform(0.1, 0.6, size=n)
    workspace = vowpalwabbit.Workspace("--cb 3 --eval --cb_type ips --quiet")
    for i in range(n):
        workspace.learn(f"{wanted[i] + 1} {action[i] + 1}:{reward[i]:.9g}:{chance[i]:.9g} | x")
    theirs = workspace.get_sum_loss() / n
    workspace.finish()
    weights = (wanted == action) / chance
    ours = estimate(Terms(weights, reward, np.zeros(n), np.zeros(n)))["ips"]
    assert ours == pytest.approx(theirs, rel=1e-5)
