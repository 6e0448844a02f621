"""What noisy judgements add to few graded answers, where the truth is known: in memory, and through the archive."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from logged_world import ARMS, CHANCES, Row, rows_of, simulated, write_archive

from training.contender import Sample
from training.logged.features import fit_scale
from training.logged.measure import measure
from training.logged.shared_ridge import SharedRidge
from training.logged.sums import LogSums
from training.logged.teacher import fit_teacher
from training.ope.expected import folds_from
from training.ope.judged import Judged
from training.ope.log import Tally, open_rounds
from training.ope.rounds import EvaluationError, Rounds, concatenated

N, GRADED, SEEDS = 3_000, 100, 12


def thumbs(quality: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Up for four of five right answers, and for a third of the wrong ones."""
    return (rng.random(len(quality)) < 0.35 + 0.45 * quality).astype(float)


def error(world: Sample, rounds: Rounds, label: np.ndarray, weight: np.ndarray) -> float:
    """Of the expected quality of every query and arm, root mean square."""
    part = replace(rounds, quality=label, weight=weight).rows(~np.isnan(label))
    teacher = fit_teacher([part])
    features = teacher.scale(world.inputs.embeddings, world.inputs.lexical)
    told = np.mean([model(features)[:, :, 0] for model in teacher.models], axis=0)
    truth = np.repeat(CHANCES, len(world) // 2, axis=0)
    return float(np.sqrt(((told - truth) ** 2).mean()))


def errors(world: Sample, seed: int) -> list[float]:
    """Of the graded answers alone, thumbs at face value, thumbs by their learned noise, and these beside a coin."""
    log, rng = simulated(world, np.full((len(world), 3), 1 / 3), n=N, seed=seed), np.random.default_rng([seed, 1])
    rounds, one = concatenated(list(log.chunks())), np.ones(N)
    graded = np.where(rng.permutation(N) < GRADED, rounds.quality, np.nan)
    said = np.column_stack([thumbs(rounds.quality, rng), rng.random(N) < 0.5]).astype(float)
    judged = [Judged(rounds.action, graded, said)]
    noise = measure(judged, reference="score", metrics=("thumbs", "coin"), arms=ARMS)
    ways = [(graded, one), (np.where(np.isnan(graded), said[:, 0], graded), one), noise.labels(graded, said)]
    found = [error(world, rounds, label, weight) for label, weight in ways]
    alone = replace(noise, sources=noise.sources[:1]).labels(graded, said[:, :1])
    same = np.array_equal(alone, noise.labels(graded, said), equal_nan=True)
    return [*found, found[2] if same else error(world, rounds, *alone)]


def test_weighted_labels_beat_the_graded_alone_and_face_value_and_a_coin_does_no_harm(world: Sample) -> None:
    """Paired over 12 logs: by more than four standard errors, and by a quarter of the error at least."""
    graded, face, with_coin, without = np.array([errors(world, seed) for seed in range(SEEDS)]).T
    for other in (graded, face):
        gain = other - with_coin
        assert gain.mean() > 4 * gain.std(ddof=1) / SEEDS**0.5
        assert with_coin.mean() < 0.75 * other.mean()
    assert with_coin.mean() == pytest.approx(without.mean(), abs=0.005)


def with_thumbs(folder: Path, rows: list[Row], *, graded: int) -> Path:
    """An archive in which the score is that of the first ``graded`` rows only, and a thumb on every answer."""
    scores = [row[3] for row in rows if row[3] is not None]
    up = thumbs(np.array([each.value for each in scores]), np.random.default_rng(1))
    more = [
        replace(each, feedback_id=f"t{place}", metric="thumbs", value=float(up[place]), source="user")
        for place, each in enumerate(scores)
    ]
    return write_archive(folder, [*rows[:graded], *((*row[:3], None) for row in rows[graded:])], more)


def even(world: Sample, n: int) -> list[Row]:
    return rows_of(simulated(world, np.full((len(world), 3), 1 / 3), n=n))


def test_an_archive_of_two_metrics_is_measured_and_labelled(world: Sample, tmp_path: Path) -> None:
    log = open_rounds(with_thumbs(tmp_path, even(world, 900), graded=300), metric="score")
    noise = measure(log.judgements(("thumbs",)), reference="score", metrics=("thumbs",), arms=log.arms)
    (found,) = noise.sources
    assert (noise.reference_rounds, found.overlap, found.rounds) == (300, 300, 600)
    assert found.slope == pytest.approx(0.45, abs=0.15)
    tally = Tally()
    rounds = concatenated(list(log.labels(tally, sources=noise)))
    assert (len(rounds), (rounds.weight == 1.0).sum(), tally.excluded) == (900, 300, {})
    assert rounds.weight.min() == pytest.approx(found.weight)


def test_without_sources_and_in_evaluation_the_reference_alone_counts(world: Sample, tmp_path: Path) -> None:
    log = open_rounds(with_thumbs(tmp_path, even(world, 400), graded=300), metric="score")
    for read in (log.labels, log.chunks):
        tally = Tally()
        rounds = concatenated(list(read(tally)))
        assert rounds.weight.tolist() == [1.0] * 300
        assert tally.excluded == {"unjudged": 100}


def test_a_failure_that_nobody_graded_measures_nothing_but_its_quality_is_known(world: Sample, tmp_path: Path) -> None:
    rows = even(world, 200)
    rows[-20:] = [(*row[:2], replace(row[2], status="error"), row[3]) for row in rows[-20:]]
    log = open_rounds(with_thumbs(tmp_path, rows, graded=100), metric="score")
    noise = measure(log.judgements(("thumbs",)), reference="score", metrics=("thumbs",), arms=log.arms)
    assert (noise.sources[0].overlap, noise.sources[0].rounds) == (100, 80)
    rounds = concatenated(list(log.labels(sources=noise)))
    fell = rounds.at >= 1.18  # rounds began 1 ms apart
    assert {*rounds.quality[fell]} == {0.0}
    assert {*rounds.weight[fell]} == {1.0}
    mean_weight = rounds.weight[~fell].sum() / 180  # as often as others count
    assert fell.sum() == pytest.approx(20 * mean_weight, abs=6)


def test_a_source_may_be_in_any_unit_the_reference_may_not(world: Sample, tmp_path: Path) -> None:
    rows = even(world, 200)
    stars = [replace(row[3], metric="stars", value=1.0 + 4.0 * row[3].value) for row in rows if row[3] is not None]
    stars = [replace(each, feedback_id=f"s{place}") for place, each in enumerate(stars)]
    log = open_rounds(write_archive(tmp_path, rows, stars), metric="score")
    (found,) = measure(log.judgements(("stars",)), reference="score", metrics=("stars",), arms=log.arms).sources
    assert (found.slope, found.said - 4.0 * found.quality) == pytest.approx((4.0, 1.0))
    with pytest.raises(EvaluationError, match=r"metric 'stars' has values outside 0\.\.1"):
        list(replace(log, metric="stars").judgements(("score",)))


def test_the_first_noisy_judgement_may_come_late(world: Sample) -> None:
    """Sums of quality part from the others where it comes; in chunks or at once, the models are the same."""
    (rounds,) = simulated(world, np.full((len(world), 3), 1 / 3), n=600).chunks()
    noisy = replace(rounds, weight=np.where(np.arange(600) < 400, 1.0, 0.25))
    scale = fit_scale(rounds.embeddings, rounds.features)

    def models(rounds: Rounds, size: int) -> tuple[SharedRidge, ...]:
        sums = LogSums.empty(3, scale.n_outputs)
        for start in range(0, 600, size):
            part = rounds.rows(np.arange(start, start + size))
            sums.add(scale(part.embeddings, part.features), folds_from(start, size), part)
        assert sums.counts.sum() == 600
        return sums.models()

    for whole, parts, plain in zip(models(noisy, 600), models(noisy, 100), models(rounds, 600), strict=True):
        assert parts.weights == pytest.approx(whole.weights)
        assert whole.weights[:, :, 0] != pytest.approx(plain.weights[:, :, 0])
        assert whole.weights[:, :, 1:] == pytest.approx(plain.weights[:, :, 1:])  # tokens and USD know nothing of it
