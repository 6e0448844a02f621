"""An arm never seen is judged by its descriptor: better than the mean where prices tell, with an honest doubt."""

import numpy as np
import pytest

from policies.arms import Arm
from policies.descriptors import ArmDescriptor
from policies.features import FEATURE_NAMES
from policies.prices import Price
from policies.zoo.sigmoid import sigmoid
from policies.zoo.two_tower import TwoTowerModel
from training.inputs import Inputs
from training.zoo.adam import AdamSettings
from training.zoo.descriptors import fit_arm_features, fit_strength_prior
from training.zoo.task import FitTask
from training.zoo.two_tower import TowerSettings, _quality, fit, fit_towers, tower_gradient

SETTINGS = TowerSettings(width=8, n_components=4, adam=AdamSettings(rate=1e-2, n_epochs=12))
N_LEXICAL = len(FEATURE_NAMES)
USD = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)


def strength_of(usd: float) -> float:
    return 0.6 * float(np.log(usd))


def task_of(usd: tuple[float, ...], n: int = 500) -> FitTask:
    """Dearer arms are better, and the first number of an embedding is how hard a query is."""
    rng = np.random.default_rng(0)
    embeddings, m = rng.normal(size=(n, 6)).astype(np.float32), len(usd)
    chance = sigmoid(np.array([strength_of(each) for each in usd]) - embeddings[:, :1].astype(np.float64))
    inputs = Inputs(
        embeddings=embeddings,
        lexical=np.zeros((n, N_LEXICAL), np.float32),
        prompt_tokens=np.full(n, 10.0),
        scores=(rng.random((n, m)) < chance).astype(np.float64),
        log_tokens=np.zeros((n, m)),
        usd=np.ones((n, m)),
        input_ratio=np.ones(m),
    )
    arms = [Arm(f"m{i}", "instant") for i in range(m)]
    return FitTask(inputs, arms, [Price(round(each * 1e9), round(each * 1e9)) for each in usd])


def test_an_unseen_arm_is_judged_better_by_its_price_than_by_the_mean_of_the_others() -> None:
    by_price, by_mean = [], []
    for left_out in (1, 3, 6):
        known = tuple(usd for index, usd in enumerate(USD) if index != left_out)
        model = fit(task_of(known)).model
        assert isinstance(model, TwoTowerModel)
        new = ArmDescriptor("new", "instant", usd_per_mtok_in=USD[left_out], usd_per_mtok_out=USD[left_out])
        truth = strength_of(USD[left_out])
        by_price.append(abs(float(model.strength_by_descriptor([new])[0]) - truth))
        by_mean.append(abs(float(model.strength.mean()) - truth))
    assert np.mean(by_price) < 0.5 * np.mean(by_mean)


def test_the_unseen_arm_shares_the_difficulty_of_the_query() -> None:
    learned = fit_towers(task_of(USD), [describe(usd) for usd in USD], settings=SETTINGS)
    model = learned.model
    assert isinstance(model, TwoTowerModel)
    hard, easy = np.zeros((1, 6), np.float32), np.zeros((1, 6), np.float32)
    hard[0, 0], easy[0, 0] = 2.0, -2.0
    chances = [
        model.quality_by_descriptor(x, np.zeros((1, N_LEXICAL), np.float32), [describe(1.5)])[0, 0]
        for x in (hard, easy)
    ]
    assert chances[1] - chances[0] > 0.3


def test_the_prior_is_the_ridge_and_its_doubt_the_error_of_refits_without_each_arm() -> None:
    rng = np.random.default_rng(0)
    features, strength = rng.normal(size=(9, 3)), rng.normal(size=9)
    prior = fit_strength_prior(features, strength)
    missed = {}
    for penalty in (1.0, 3.0, 10.0, 30.0, 100.0):
        errors = []
        for index in range(9):
            kept = np.arange(9) != index
            x, y = features[kept], strength[kept]
            weights = np.linalg.solve(
                (x - x.mean(0)).T @ (x - x.mean(0)) + penalty * np.eye(3), (x - x.mean(0)).T @ (y - y.mean())
            )
            errors.append(y.mean() + (features[index] - x.mean(0)) @ weights - strength[index])
        missed[penalty] = float(np.sqrt(np.mean(np.square(errors))))
    mean_only = float(np.sqrt(np.mean(((strength - strength.mean()) * 9 / 8) ** 2)))
    # The leverage of the smoother about the fixed mean is within a few percent of refitting the mean too.
    assert prior.sd == pytest.approx(min(*missed.values(), mean_only), rel=0.1)


def test_with_two_arms_nothing_is_claimed_of_a_third() -> None:
    prior = fit_strength_prior(np.array([[1.0], [-1.0]]), np.array([0.4, -0.4]))
    assert prior.weights.tolist() == [0.0]
    assert prior.sd >= 1.0


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    rng = np.random.default_rng(0)
    z, values, phi = rng.normal(size=(6, 3)), rng.random((6, 2)), rng.normal(size=(2, 4))
    shapes = {
        "query": (3, 2),
        "query_offset": (2,),
        "difficulty": (3, 1),
        "own": (2, 2),
        "tower": (4, 2),
        "strength": (2,),
    }
    at = {name: rng.normal(scale=0.5, size=shape) for name, shape in shapes.items()}
    whole, own = np.ones((6, 2)), np.ones((2, 1))
    slope = tower_gradient(at, z, values, np.ones((6, 2)), phi=phi, kept=whole, own=own)

    def loss(weights: dict[str, np.ndarray]) -> float:
        p = _quality(weights, z, phi)
        return float(-(values * np.log(p) + (1 - values) * np.log(1 - p)).sum() / 6)

    for name, array in at.items():
        for index in np.ndindex(array.shape):
            step = np.zeros_like(array)
            step[index] = 1e-6
            numeric = (loss(at | {name: array + step}) - loss(at | {name: array - step})) / 2e-6
            assert slope[name][index] == pytest.approx(numeric, rel=1e-4, abs=1e-6)


def test_a_benchmark_counts_when_two_arms_have_a_score_in_it() -> None:
    arms = [
        ArmDescriptor(f"m{i}", "instant", scores={"a": 0.1 * i, **({"b": 0.5} if i == 0 else {})}) for i in range(3)
    ]
    assert fit_arm_features(arms).benchmarks == ("a",)


def describe(usd: float) -> ArmDescriptor:
    return ArmDescriptor("m", "instant", usd_per_mtok_in=usd, usd_per_mtok_out=usd)
