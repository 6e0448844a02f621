"""What noisy judgements are worth: the line and the noise against those that made them, labels, what is left out."""

import numpy as np
import pytest

from training.logged.measure import LEAST_OVERLAP, measure
from training.logged.noise import Noise, Source, lines_of
from training.ope.judged import Judged
from training.ope.rounds import EvaluationError

ARMS = ("a/instant", "b/instant", "c/reasoning")
RIGHT = np.array([0.4, 0.6, 0.8])  # chance of each arm


def answers(n: int, *, graded: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    """Arm and quality of n answers, and the quality of those that were graded, NaN elsewhere."""
    rng = np.random.default_rng(seed)
    action = rng.integers(0, 3, size=n)
    quality = (rng.random(n) < RIGHT[action]).astype(float)
    return action, quality, np.where(rng.permutation(n) < graded, quality, np.nan), rng


def measured(action: np.ndarray, graded: np.ndarray, *others: np.ndarray, names: str = "stu") -> Noise:
    said = np.column_stack(others)
    parts = [Judged(action[i::3], graded[i::3], said[i::3]) for i in range(3)]
    return measure(parts, reference="score", metrics=tuple(names[: len(others)]), arms=ARMS)


def test_line_noise_and_weight_are_those_that_made_it() -> None:
    """Stars are 2.5 q and noise of sd .5: .2 in quality. Grades scatter by √(mean p(1 − p)) = .466 about an arm's."""
    action, quality, graded, rng = answers(40_000, graded=20_000)
    stars = 1_000.0 + 2.5 * quality + 0.5 * rng.normal(size=len(quality))
    noise = measured(action, graded, stars)
    (found,) = noise.sources
    assert (found.rounds, found.overlap, noise.reference_rounds) == (20_000, 20_000, 20_000)
    assert (found.slope, found.said) == pytest.approx((2.5, 1_001.5), abs=0.03)
    assert found.sd == pytest.approx(0.2, abs=0.005)
    assert noise.reference_sd == pytest.approx(0.466, abs=0.01)
    assert found.weight == pytest.approx(0.466**2 / (0.466**2 + 0.2**2), abs=0.01)
    assert found.leans == {}


def test_labels_of_an_arms_answers_are_its_quality_on_average() -> None:
    """A thumb goes up for .45 of wrong answers and .75 of right ones; what to expect of it would be .56 to .64."""
    action, quality, graded, rng = answers(60_000, graded=10_000)
    thumb = (rng.random(len(quality)) < 0.45 + 0.3 * quality).astype(float)
    label, weight = measured(action, graded, thumb).labels(graded, thumb[:, None])
    alone = np.isnan(graded)
    assert [label[alone & (action == arm)].mean() for arm in range(3)] == pytest.approx(RIGHT, abs=0.04)
    assert np.array_equal(label[~alone], graded[~alone])
    assert (weight[~alone] == 1.0).all()
    assert (weight[alone] < 0.15).all()


def test_an_overlap_of_hard_questions_alone_measures_the_same_line() -> None:
    action, quality, _, rng = answers(60_000, graded=0)
    judge = 0.4 + 0.35 * quality + 0.2 * rng.normal(size=len(quality))
    chosen = rng.random(len(quality)) < np.where(quality == 1.0, 0.05, 0.4)
    noise = measured(action, np.where(chosen, quality, np.nan), judge)
    label, _ = noise.labels(np.full(len(quality), np.nan), judge[:, None])
    assert [label[action == arm].mean() for arm in range(3)] == pytest.approx(RIGHT, abs=0.03)


def test_sources_of_one_round_count_by_their_precision() -> None:
    sources = (
        Source("s", 1, 50, slope=1.0, said=0.5, quality=0.5, sd=0.1),
        Source("t", 1, 50, slope=-2.0, said=3.0, quality=0.5, sd=0.2),
        Source("u", 1, 50, left_out="of no use"),
    )
    said = np.array([[0.9, np.nan, 1.0], [np.nan, 4.0, 1.0], [0.9, 4.0, 1.0], [np.nan, np.nan, 1.0], [0.9, 4.0, 1.0]])
    graded = np.array([np.nan, np.nan, np.nan, np.nan, 1.0])
    label, weight = Noise("score", 50, 0.4, sources).labels(graded, said)
    assert label == pytest.approx([0.9, 0.0, 0.72, np.nan, 1.0], nan_ok=True)  # (100·.9 + 25·0) / 125
    assert weight == pytest.approx([16 / 17, 0.8, 0.16 / 0.168, 1.0, 1.0])


def test_little_overlap_draws_labels_to_the_mean() -> None:
    """The slope is shrunk as 1 / slope is on average too large; with much overlap nothing is left of that."""
    few = Source("s", 0, 30, slope=0.4, slope_sd=0.13, said=0.5, quality=0.5)
    many = Source("s", 0, 30_000, slope=0.4, slope_sd=0.004, said=0.5, quality=0.5)
    assert few.labels(np.array(0.9)) == pytest.approx(0.5 + 1 / (1 + 0.325**2))
    assert many.labels(np.array(0.9)) == pytest.approx(1.5, abs=0.001)


def test_a_useless_source_is_left_out_and_the_others_stay_as_they_are() -> None:
    passed = 0
    for seed in range(200):
        action, quality, graded, rng = answers(2_000, graded=150, seed=seed)
        thumb, coin = rng.random(2_000) < 0.3 + 0.5 * quality, rng.random(2_000) < 0.5
        alone, both = measured(action, graded, thumb), measured(action, graded, thumb, coin)
        if both.sources[1].left_out:
            assert np.array_equal(
                both.labels(graded, np.column_stack([thumb, coin]).astype(float)),
                alone.labels(graded, thumb[:, None].astype(float)),
                equal_nan=True,
            )
        passed += not both.sources[1].left_out
    assert passed <= 4  # of 200 one in 370 is expected


@pytest.mark.parametrize(
    ("graded", "said", "why"),
    [
        (LEAST_OVERLAP - 1, lambda q, rng: q, "needs 30 rounds with both"),
        (500, lambda q, rng: np.full(len(q), np.nan), "the log holds none of it"),
        (500, lambda q, rng: np.full(len(q), 3.0), "s always said the same where both judged"),
        (500, lambda q, rng: rng.random(len(q)), "says nothing of score that chance would not"),
    ],
)
def test_what_tells_too_little_is_left_out_with_the_reason(graded: int, said, why: str) -> None:  # type: ignore[no-untyped-def]
    action, quality, known, rng = answers(1_000, graded=graded)
    other = said(quality, rng)
    noise = measured(action, known, other)
    assert why in noise.sources[0].left_out
    assert why in lines_of(noise.plain())[1]
    assert "LEFT OUT" in lines_of(noise.plain())[1]
    assert np.array_equal(noise.labels(known, other[:, None])[0], known, equal_nan=True)


def test_a_source_without_noise_is_as_good_as_the_reference() -> None:
    action, quality, graded, _ = answers(500, graded=100)
    label, weight = measured(action, graded, 1.0 - quality).labels(graded, 1.0 - quality[:, None])
    assert label == pytest.approx(quality)
    assert weight == pytest.approx(1.0, abs=1e-4)


def test_a_judge_that_favours_an_arm_is_told_of_by_that_arm() -> None:
    action, quality, graded, rng = answers(4_000, graded=2_000)
    judge = 0.3 + 0.4 * quality + 0.1 * (action == 2) + 0.2 * rng.normal(size=4_000)
    noise = measured(action, graded, judge)
    assert noise.sources[0].leans["c/reasoning"] > 0.1
    warning = lines_of(noise.plain())[2]
    assert warning.startswith("WARNING: s rates answers of equal quality by who gave them")
    assert "c/reasoning +0." in warning


@pytest.mark.parametrize("metrics", [("score",), ("s", "s")])
def test_a_metric_measured_against_itself_or_twice_is_refused(metrics: tuple[str, ...]) -> None:
    with pytest.raises(EvaluationError, match=f"--noisy-metric {metrics[-1]}: named twice, or the quality itself"):
        measure([], reference="score", metrics=metrics, arms=ARMS)


def test_without_a_judgement_of_the_reference_nothing_is_measured() -> None:
    action, quality, graded, _ = answers(100, graded=0)
    with pytest.raises(EvaluationError, match="0 rounds were judged by score"):
        measured(action, graded, quality)
