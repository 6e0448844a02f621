"""Anchors tell a new arm's mean quality within the interval they state, and more exactly than a plain random draw."""

import numpy as np
import pytest

from policies.zoo.sigmoid import log_odds, sigmoid
from training.anchors.estimate import Standing, standing_from_anchors
from training.anchors.exam import Exam, make_exam
from training.anchors.rasch import Ease, fit_ease
from training.anchors.select import Drawn, draw_anchors, inclusion, informativeness

N = 1500
STRENGTHS = np.array([-1.0, -0.4, 0.0, 0.3, 0.8, 1.4])
IDS = tuple(f"q{i}" for i in range(N))


@pytest.fixture(scope="module")
def table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of six arms, the queries' ease, and embeddings in which queries of like ease are near."""
    rng = np.random.default_rng(0)
    ease = rng.normal(scale=2.0, size=N)
    scores = (rng.random((N, 6)) < sigmoid(STRENGTHS + ease[:, None])).astype(np.float64)
    embeddings = np.column_stack([ease + rng.normal(size=N), rng.normal(size=(N, 3))]).astype(np.float32)
    return scores, ease, embeddings


@pytest.fixture(scope="module")
def ease(table: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Ease:
    return fit_ease(table[0])


def newcomer(ease: np.ndarray, *, strength: float, seed: int) -> np.ndarray:
    return (np.random.default_rng([seed, 7]).random(N) < sigmoid(strength + ease)).astype(np.float64)


def test_strengths_and_the_spread_of_ease_are_recovered(ease: Ease) -> None:
    assert ease.strength - ease.strength.mean() == pytest.approx(STRENGTHS - STRENGTHS.mean(), abs=0.2)
    assert ease.points[-1] / 4.0 == pytest.approx(2.0, abs=0.25)
    assert ease.share.sum(axis=1) == pytest.approx(np.ones(N))


def test_the_model_gives_each_known_arm_its_own_mean(table: tuple[np.ndarray, ...], ease: Ease) -> None:
    for arm, strength in enumerate(ease.strength):
        assert ease.chance(float(strength)).mean() == pytest.approx(table[0][:, arm].mean(), abs=0.01)


def test_anchors_tell_the_mean_within_the_stated_interval(table: tuple[np.ndarray, ...], ease: Ease) -> None:
    inside, runs = 0, 100
    for seed in range(runs):
        scores = newcomer(table[1], strength=-1.5 + 3.0 * seed / runs, seed=seed)
        drawn = draw_anchors(ease, table[2], k=80, seed=seed, n_clusters=4)
        low, high = standing_from_anchors(make_exam(ease, drawn, IDS), scores[drawn.rows]).interval
        inside += low <= scores.mean() <= high
    assert inside >= 90


def test_chosen_anchors_err_less_than_as_many_random_ones(table: tuple[np.ndarray, ...], ease: Ease) -> None:
    chosen, random = [], []
    for seed in range(60):
        scores = newcomer(table[1], strength=0.5, seed=seed)
        drawn = draw_anchors(ease, table[2], k=60, seed=seed, n_clusters=4)
        standing = standing_from_anchors(make_exam(ease, drawn, IDS), scores[drawn.rows])
        rows = np.random.default_rng(seed).choice(N, 60, replace=False)
        chosen.append(standing.quality - scores.mean())
        random.append(scores[rows].mean() - scores.mean())
    assert np.std(chosen) < 0.8 * np.std(random)


def test_the_weights_make_the_mean_of_anything_unbiased(table: tuple[np.ndarray, ...], ease: Ease) -> None:
    values = table[2][:, 0].astype(np.float64) > 0.3  # anything, whatever the model thinks
    draws = [draw_anchors(ease, table[2], k=60, seed=seed, n_clusters=4) for seed in range(120)]
    means = [float(drawn.weight @ values[drawn.rows]) for drawn in draws]
    assert np.mean(means) == pytest.approx(values.mean(), abs=4 * np.std(means) / 120**0.5)


def test_a_wrong_model_leaves_the_estimate_unbiased(table: tuple[np.ndarray, ...], ease: Ease) -> None:
    contrary = newcomer(-table[1], strength=0.0, seed=0)  # right where all others are wrong
    errors = []
    for seed in range(40):
        drawn = draw_anchors(ease, table[2], k=100, seed=seed, n_clusters=4)
        standing = standing_from_anchors(make_exam(ease, drawn, IDS), contrary[drawn.rows])
        errors.append(standing.quality - contrary.mean())
    assert np.mean(errors) == pytest.approx(0.0, abs=0.025)


def test_a_draw_has_the_asked_number_without_repeats_and_covers_the_clusters(ease: Ease) -> None:
    embeddings = np.repeat(np.eye(3, dtype=np.float32), N // 3, axis=0)
    for k in (10, 57, 200):
        drawn = draw_anchors(ease, embeddings, k=k, seed=1, n_clusters=3)
        assert len(np.unique(drawn.rows)) == k
        assert drawn.weight.sum() == pytest.approx(1.0)
        assert np.bincount(drawn.rows // (N // 3), minlength=3).min() >= k // 5


def test_queries_on_which_arms_part_are_drawn_more_often(ease: Ease) -> None:
    variance = informativeness(ease)
    surest, most_open = variance.argmin(), variance.argmax()
    probability = inclusion(np.sqrt(variance), k=100)
    assert probability[most_open] > 1.5 * probability[surest]
    assert probability.sum() == pytest.approx(100.0)


def test_who_would_be_drawn_twice_is_certain() -> None:
    probability = inclusion(np.array([10.0, 1.0, 1.0, 1.0, 1.0]), k=2)
    assert probability == pytest.approx([1.0, 0.25, 0.25, 0.25, 0.25])


def test_with_more_anchors_the_doubt_falls_and_a_prior_lessens_it(table: tuple[np.ndarray, ...], ease: Ease) -> None:
    scores, sds = newcomer(table[1], strength=0.0, seed=3), []
    for k in (25, 100, 400):
        drawn = draw_anchors(ease, table[2], k=k, seed=0, n_clusters=4)
        sds.append(standing_from_anchors(make_exam(ease, drawn, IDS), scores[drawn.rows]).sd)
    assert sds[0] > sds[1] > sds[2]
    prior = Standing(float(log_odds(0.5)), 0.2)
    assert standing_from_anchors(make_exam(ease, drawn, IDS), scores[drawn.rows], prior=prior).sd < sds[2]


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_all_right_or_all_wrong_is_survived(answer: float, table: tuple[np.ndarray, ...], ease: Ease) -> None:
    drawn = draw_anchors(ease, table[2], k=30, seed=0, n_clusters=4)
    standing = standing_from_anchors(make_exam(ease, drawn, IDS), np.full(30, answer))
    assert np.isfinite(standing.sd)
    assert abs(standing.quality - answer) < 0.1


def test_an_exam_knows_the_strength_of_a_mean(ease: Ease, table: tuple[np.ndarray, ...]) -> None:
    exam: Exam = make_exam(ease, draw_anchors(ease, table[2], k=20, seed=0), IDS)
    assert exam.mean_chance(exam.strength_of(0.37)) == pytest.approx(0.37, abs=1e-9)
    part = exam.only(np.arange(20) < 12)
    assert (len(part), part.weight.sum()) == (12, pytest.approx(1.0))


@pytest.mark.parametrize(("k", "message"), [(5, "choose between"), (N, "use a table with more queries")])
def test_too_few_anchors_or_queries_are_refused(k: int, message: str, ease: Ease) -> None:
    with pytest.raises(ValueError, match=message):
        draw_anchors(ease, np.zeros((N, 4), np.float32), k=k, seed=0)


def test_the_same_seed_draws_the_same(ease: Ease, table: tuple[np.ndarray, ...]) -> None:
    one, two, other = (draw_anchors(ease, table[2], k=40, seed=seed) for seed in (1, 1, 2))
    assert isinstance(one, Drawn)
    assert (one.rows == two.rows).all()
    assert (one.rows != other.rows).any()
