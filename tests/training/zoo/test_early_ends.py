"""Searches that end before their last candidate, and lose nothing by it."""

import numpy as np
import pytest

from training.zoo.gbdt import _STRIDE, _losses, _planted, boost, start_of
from training.zoo.logistic import CONTRAST, Penalties, Rotated, _path, cross_entropy
from training.zoo.task import folds_of

Part = tuple[Rotated, np.ndarray, np.ndarray]


def made(n: int, *, signal: float) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, 6) and right or wrong answers (n, 2), of which the first feature tells as much as ``signal``."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(n, 6))
    chance = 1.0 / (1.0 + np.exp(-signal * features[:, :1] * np.array([1.0, -1.0])))
    return features, (rng.random((n, 2)) < chance).astype(np.float64)


def test_trees_that_bring_nothing_are_not_grown_on() -> None:
    features, scores = made(900, signal=0.0)
    boosters = _planted(features[:600], scores[:600], start_of(scores[:600]), seed=0)
    losses = _losses(boosters, features[600:], scores[600:], start_of(scores[:600]), most=240)
    grown = [booster.num_trees() for booster in boosters]
    assert grown == [(len(losses) - 1) * _STRIDE] * 2
    assert grown[0] < 120


def test_trees_that_help_are_all_grown_and_are_those_that_boost_grows() -> None:
    features, scores = made(3_000, signal=2.0)
    seen, unseen = slice(0, 2_000), slice(2_000, 3_000)
    boosters = _planted(features[seen], scores[seen], start_of(scores[seen]), seed=0)
    losses = _losses(boosters, features[unseen], scores[unseen], start_of(scores[seen]), most=40)
    assert [booster.num_trees() for booster in boosters] == [40, 40]
    assert losses[-1].mean() < losses[0].mean() - 0.05
    again = boost(features[seen], scores[seen], start_of(scores[seen]), n_trees=40, seed=0)
    for one, two in zip(boosters, again, strict=True):
        assert (one.predict(features[unseen], raw_score=True) == two.predict(features[unseen], raw_score=True)).all()


@pytest.mark.parametrize("signal", [0.0, 0.3, 1.5])
def test_a_path_that_ends_early_has_the_least_loss_of_all_candidates(signal: float) -> None:
    features, scores = made(600, signal=signal)
    folds = folds_of(len(scores), 3, seed=0)
    parts: list[Part] = [
        (Rotated(features[folds != f], scores[folds != f]), features[folds == f], scores[folds == f]) for f in range(3)
    ]
    candidates = [Penalties(10.0, contrast) for contrast in CONTRAST]
    found = _path(parts, candidates)
    whole = [
        np.mean([cross_entropy(truth, rotated.fit(each)[0](unseen)) for rotated, unseen, truth in parts])
        for each in candidates
    ]
    assert found.argmin() == np.argmin(whole)
    assert found.min() == pytest.approx(min(whole), abs=1e-4)
    assert not np.isnan(found).any()
