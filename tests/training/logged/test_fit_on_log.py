"""What the default policy learns from a log of one answer per query, what it refuses, what it writes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from logged_world import ARMS, DIM, Row, always, rows_of, simulated

from policies.artifact import load_artifact
from policies.policy import ArmFacts
from policies.prices import Price
from policies.tradeoff import TradeOff
from policies.zoo.default import DefaultPolicy
from training.contender import Sample
from training.logged.fit import LogFit, fit_on_log
from training.logged.task import TrainLog, train_log
from training.logged.teacher import fit_teacher
from training.ope.log import Tally, open_rounds
from training.ope.rounds import EvaluationError
from training.ope.targets import PolicyTarget
from training.prior.student_basis import DistilSettings
from training.prior.units import UnitSettings

Archive = Callable[[Sequence[Row]], Path]
PRICES = dict(zip(ARMS, (Price(0, 10**10), Price(0, 10**10), Price(0, 5 * 10**10)), strict=True))
MOSTLY_DEAR = np.array([0.1, 0.1, 0.8])
SMALL = DistilSettings(n_landmarks=16, units=UnitSettings(width=8, n_nets=1))


class Encoder:
    """Of the rows' encoder id; embeds the probe texts of an artifact, which is all that is asked of it."""

    encoder_id, name, dim = "e", "test", DIM

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.tile(np.eye(1, DIM, dtype=np.float32), (len(texts), 1))


def learned(world: Sample, logging: np.ndarray, *, n: int = 3_000, caution: float = 0.5) -> LogFit:
    log = simulated(world, np.tile(logging, (len(world), 1)), n=n)
    return fit_on_log(fit_teacher(log.chunks()), encoder_id="e", prices=PRICES, caution=caution, settings=SMALL)


def choices(fit: LogFit, world: Sample, quality_per_usd: float) -> np.ndarray:
    facts = {arm.name: ArmFacts(arm, price) for arm, price in zip(fit.task.arms, fit.task.prices, strict=True)}
    (rounds,) = simulated(world, np.tile(MOSTLY_DEAR, (len(world), 1)), n=500).chunks()
    target = PolicyTarget("mine", fit.policy, facts, trade_off=TradeOff(quality_per_usd))
    return np.stack([rounds.embeddings[:, 0] > rounds.embeddings[:, 1], target.distribution(rounds).argmax(axis=1)])


def test_each_kind_of_query_gets_the_arm_that_suits_it_though_the_log_hardly_tried_it(world: Sample) -> None:
    """At 30 quality per USD: cheap (.77) for the first kind, even (.54) for the second; the log mostly took dear."""
    first, chosen = choices(learned(world, MOSTLY_DEAR), world, 30.0)
    assert (chosen[first == 1] == 0).mean() > 0.9
    assert (chosen[first == 0] == 1).mean() > 0.9


def test_means_are_those_of_all_queries_not_of_those_that_an_arm_was_given(world: Sample) -> None:
    """The cheap arm was mostly asked what it can do: .8 of that kind, .2 of the other, .5 of both."""
    n = len(world)
    first = np.arange(n)[:, None] < n // 2
    logging = np.where(first, [0.8, 0.1, 0.1], [0.1, 0.1, 0.8])
    teacher = fit_teacher(simulated(world, logging, n=3_000).chunks())
    fit = fit_on_log(teacher, encoder_id="e", prices=PRICES, caution=0.0, settings=SMALL)
    assert fit.policy.levels.means == pytest.approx(world.table.scores.mean(axis=0), abs=0.05)


def test_caution_takes_most_off_the_arm_that_was_tried_least(world: Sample) -> None:
    bold, careful = (learned(world, np.array([0.9, 0.05, 0.05]), caution=caution) for caution in (0.0, 2.0))
    taken = bold.policy.levels.means - careful.policy.levels.means
    assert 0 < taken[0] < 0.5 * taken[1]


def test_without_a_price_the_cost_is_learned_as_recorded(world: Sample) -> None:
    log = simulated(world, np.tile(MOSTLY_DEAR, (len(world), 1)), n=1_500)
    fit = fit_on_log(fit_teacher(log.chunks()), encoder_id="e", prices={}, settings=SMALL)
    inputs = world.inputs
    usd = fit.policy.expect(inputs.embeddings, inputs.lexical).usd
    assert usd.mean(axis=0) == pytest.approx(world.table.usd.mean(axis=0), rel=0.02)


def test_the_same_log_gives_the_same_numbers(world: Sample) -> None:
    one, other = (learned(world, MOSTLY_DEAR, n=600).policy.to_tensors() for _ in range(2))
    assert all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)


def test_a_long_log_is_sampled_and_no_arm_is_forgotten(world: Sample) -> None:
    log = simulated(world, np.tile(MOSTLY_DEAR, (len(world), 1)), n=20_000)
    teacher = fit_teacher(log.chunks(), most_rows=1_000)
    assert 500 <= len(teacher.sample) <= 1_000
    assert teacher.counts.sum() == 20_000
    assert np.bincount(teacher.sample.action, minlength=3) / len(teacher.sample) == pytest.approx(MOSTLY_DEAR, abs=0.05)


@pytest.mark.parametrize(
    ("logging", "n", "prices", "message"),
    [
        (MOSTLY_DEAR, 150, PRICES, "150 judged rounds; at least 200 are needed"),
        (np.array([0.0, 0.0, 1.0]), 500, PRICES, "every judged round was answered by dear/reasoning"),
        (MOSTLY_DEAR, 500, {"other/instant": Price(1, 1)}, "no arm 'other/instant' in the log"),
    ],
)
def test_what_teaches_nothing_is_refused(
    world: Sample, logging: np.ndarray, n: int, prices: dict[str, Price], message: str
) -> None:
    log = simulated(world, np.tile(logging, (len(world), 1)), n=n)
    with pytest.raises(EvaluationError, match=message):
        fit_on_log(fit_teacher(log.chunks()), encoder_id="e", prices=prices, settings=SMALL)


def test_an_arm_of_unknown_cost_needs_a_price(world: Sample, archive: Archive) -> None:
    rows = rows_of(simulated(world, np.tile(MOSTLY_DEAR, (len(world), 1)), n=300))
    rows = [(*row[:2], replace(row[2], nano_usd=None), row[3]) for row in rows]
    teacher = fit_teacher(open_rounds(archive(rows)).labels())
    with pytest.raises(EvaluationError, match="arm cheap/instant: rounds without a known cost; give its price"):
        fit_on_log(teacher, encoder_id="e", prices={}, settings=SMALL)


def test_forced_rounds_and_fallbacks_teach_about_the_arm_that_served(world: Sample, archive: Archive) -> None:
    rows = rows_of(simulated(world, always(len(world), 0), n=40))
    for place in range(10):
        decision, vector, outcome, feedback = rows[place]
        rows[place] = (replace(decision, kind="forced"), vector, replace(outcome, served_arm=ARMS[2]), feedback)
    log, tally = open_rounds(archive(rows)), Tally()
    (rounds,) = log.labels(tally)
    assert np.bincount(rounds.action, minlength=3)[log.arms.index(ARMS[2])] == 10
    assert tally.excluded == {}
    assert len(next(log.chunks())) == 30


def test_the_whole_way_writes_an_artifact_and_judges_it_on_the_newest_rounds(
    world: Sample, archive: Archive, tmp_path: Path
) -> None:
    folder = archive(rows_of(simulated(world, np.tile([0.4, 0.3, 0.3], (len(world), 1)), n=4_000)))
    seen: list[tuple[str, int, int]] = []
    task = TrainLog(folder, tmp_path / "art")
    judged, summary = train_log(task, encoder=Encoder(), progress=lambda *step: seen.append(step))
    assert judged is not None
    assert judged.log["n_rounds"] == 1_000
    assert judged.policies["trained"].differences["utility"].low > 0
    assert summary["data"]["n_rounds"] == 4_000
    assert sum(summary["facts"]["judged_rounds"].values()) == 4_000
    artifact = load_artifact(tmp_path / "art", encoder=Encoder())
    assert artifact.version == summary["version"]
    assert artifact.evaluation["held_out_rounds"]["log"]["n_rounds"] == 1_000
    assert DefaultPolicy.from_artifact(artifact).arm_names == tuple(sorted(ARMS))
    assert ("reading rounds", 4_000, 4_000) in seen


def test_another_encoder_is_refused_with_both_names(world: Sample, archive: Archive, tmp_path: Path) -> None:
    folder = archive(rows_of(simulated(world, np.tile(MOSTLY_DEAR, (len(world), 1)), n=300)))

    class Other(Encoder):
        encoder_id = "other"

    with pytest.raises(EvaluationError, match="embedded by e, not by other"):
        train_log(TrainLog(folder, tmp_path / "art"), encoder=Other(), progress=lambda *step: None)
    assert not (tmp_path / "art").exists()
