"""Whole evaluations: intervals that hold the truth, differences, floors, groups, refusals."""

from dataclasses import replace

import numpy as np
import pytest
from logged_world import ARMS, always, by_query, simulated

from policies.tradeoff import TradeOff
from training.contender import Sample
from training.ope.evaluate import Evaluation, Options, evaluate
from training.ope.rounds import EvaluationError
from training.ope.targets import FixedArm, LoggingPolicy, Target

MIXED = np.array([0.5, 0.3, 0.2])


def evaluated(
    world: Sample, *targets: Target, seed: int = 0, n: int = 3_000, options: Options | None = None
) -> Evaluation:
    log = simulated(world, np.tile(MIXED, (len(world), 1)), n=n, seed=seed)
    return evaluate(log, targets, options or Options())


def right_arm(world: Sample) -> np.ndarray:
    """The best arm of each kind at 10 quality per USD: cheap for the first, even for the second."""
    n = len(world)
    return np.where(np.arange(n)[:, None] < n // 2, always(n, 0), always(n, 1))


def test_intervals_hold_the_truth_and_dr_is_the_narrower(world: Sample) -> None:
    target = by_query("mine", world, right_arm(world))
    log = simulated(world, np.tile(MIXED, (len(world), 1)))
    truth = log.truth(right_arm(world))
    held, widths = 0, []
    for seed in range(10):
        found = evaluated(world, target, seed=seed).policies["mine"].estimates
        quality = found["quality"]["dr"]
        held += (
            quality.low <= truth[0] <= quality.high
            and found["utility"]["dr"].low <= truth[2] <= found["utility"]["dr"].high
        )
        widths.append([found["quality"][name].high - found["quality"][name].low for name in ("dr", "ips")])
    assert held >= 8  # of 10, two intervals each
    assert np.mean(widths, axis=0)[0] < 0.8 * np.mean(widths, axis=0)[1]


def test_the_logging_policy_earns_what_the_log_did(world: Sample) -> None:
    found = evaluated(world, LoggingPolicy())
    verdict = found.policies["logging"]
    assert verdict.support.effective == pytest.approx(3_000)
    assert verdict.estimates["quality"]["ips"].value == pytest.approx(found.logging["quality"].value)
    assert verdict.differences["quality"].value == pytest.approx(0.0, abs=0.01)


def test_a_better_policy_is_told_by_its_paired_difference(world: Sample) -> None:
    thrifty = Options(trade_off=TradeOff(30.0))  # the dear arm then costs 0.6 of utility
    found = evaluated(world, by_query("mine", world, right_arm(world)), FixedArm(ARMS[2]), options=thrifty)
    assert found.policies["mine"].differences["utility"].low > 0
    assert found.policies[ARMS[2]].differences["utility"].high < 0


def test_the_trade_off_asked_for_replaces_the_logged_one(world: Sample) -> None:
    free = evaluated(world, FixedArm(ARMS[2]), options=Options(trade_off=TradeOff(0.0))).policies[ARMS[2]]
    assert free.estimates["utility"]["dr"].value == pytest.approx(free.estimates["quality"]["dr"].value)


def test_a_floor_is_kept_or_broken_against_the_reference_arm(world: Sample) -> None:
    kept = Options(floor=0.9, reference=ARMS[0])
    verdict = evaluated(world, FixedArm(ARMS[2]), options=kept).policies[ARMS[2]]
    assert verdict.floor is not None
    assert verdict.floor.margin.low > 0
    assert verdict.floor.violation == 0.0
    broken = Options(floor=0.95, reference=ARMS[2])
    verdict = evaluated(world, FixedArm(ARMS[0]), options=broken).policies[ARMS[0]]
    assert verdict.floor is not None
    assert verdict.floor.margin.high < 0
    assert verdict.floor.violation == 1.0


def test_groups_are_told_apart_and_small_ones_refused(world: Sample) -> None:
    log = simulated(world, np.tile(MIXED, (len(world), 1)), n=4_000)

    class Tenants:
        def chunks(self, *args: object, **options: object):  # type: ignore[no-untyped-def]
            for rounds in log.chunks():
                yield replace(rounds, tenant=np.where(np.arange(len(rounds)) < 100, "small", "large"))

    verdict = evaluate(Tenants(), [LoggingPolicy()], Options()).policies["logging"]
    assert verdict.by_tenant["small"].refused is not None
    assert "below 200" in verdict.by_tenant["small"].refused
    assert verdict.by_tenant["large"].estimates["quality"].value == pytest.approx(0.6, abs=0.05)
    assert len(verdict.by_cluster) == 16


def test_too_little_support_is_refused_and_the_others_are_still_estimated(world: Sample) -> None:
    found = evaluated(world, FixedArm(ARMS[2]), FixedArm(ARMS[0]), n=600)
    refused = found.policies[ARMS[2]]
    assert refused.refused is not None
    assert "effective sample size" in refused.refused
    assert not refused.estimates
    assert found.policies[ARMS[0]].refused is None


def test_a_target_whose_rare_choices_happened_not_to_be_drawn_is_refused(world: Sample) -> None:
    """In three of ten queries it takes an arm that the log draws with 0.003: by luck often in none of 600 rounds."""
    n = len(world)
    rare = np.random.default_rng(5).random(n) < 0.3
    target = by_query("mine", world, np.where(rare[:, None], always(n, 1), always(n, 0)))
    lucky = 0
    for seed in range(6):
        log = simulated(world, np.tile([0.994, 0.003, 0.003], (n, 1)), n=600, seed=seed)
        verdict = evaluate(log, [target], Options()).policies["mine"]
        lucky += verdict.support.effective >= 200
        assert verdict.refused is not None
    assert lucky >= 1


def test_an_outcome_that_some_round_lacks_is_left_out(world: Sample) -> None:
    log = simulated(world, np.tile(MIXED, (len(world), 1)), n=1_000)

    class Unpriced:
        def chunks(self, *args: object, **options: object):  # type: ignore[no-untyped-def]
            for rounds in log.chunks():
                usd = rounds.usd.copy()
                usd[0] = np.nan
                yield replace(rounds, usd=usd)

    verdict = evaluate(Unpriced(), [LoggingPolicy()], Options()).policies["logging"]
    assert set(verdict.estimates) == {"quality", "seconds"}


def test_two_policies_of_one_name_and_an_empty_log_are_refused(world: Sample) -> None:
    with pytest.raises(EvaluationError, match="two policies are called 'logging'"):
        evaluated(world, LoggingPolicy(), LoggingPolicy())
    with pytest.raises(EvaluationError, match="no round"):
        evaluated(world, LoggingPolicy(), n=0)


def test_equal_seeds_give_equal_evaluations(world: Sample) -> None:
    target = by_query("mine", world, right_arm(world))
    assert evaluated(world, target).plain() == evaluated(world, target).plain()


def test_where_judgements_are_missing_the_model_stands_in_and_the_queries_still_count(world: Sample) -> None:
    """Only the first kind of query is judged: left out, the other kind is forgotten; imputed, it is not."""
    log = simulated(world, np.tile(MIXED, (len(world), 1)), n=4_000)
    rng = np.random.default_rng(0)

    class Half:
        def __init__(self, *, kept: bool) -> None:
            self.kept = kept

        def chunks(self, *args: object, **options: object):  # type: ignore[no-untyped-def]
            for rounds in log.chunks():
                first = rounds.embeddings[:, 0] > rounds.embeddings[:, 1]
                judged = first | (rng.random(len(rounds)) < 0.2)
                if self.kept:
                    yield replace(rounds, quality=np.where(judged, rounds.quality, np.nan))
                else:
                    yield rounds.rows(judged)

    truth = log.truth(always(len(world), 0))[0]
    ignored, imputed = (
        evaluate(Half(kept=kept), [FixedArm(ARMS[0])], Options()).policies[ARMS[0]].estimates["quality"]["dr"].value
        for kept in (False, True)
    )
    assert ignored > truth + 0.1
    assert imputed == pytest.approx(truth, abs=0.05)


def test_imputed_intervals_know_how_few_were_judged(world: Sample) -> None:
    """A tenth is judged, at random: 95 % intervals of eight logs, none or one of which may miss."""
    held, truth = 0, simulated(world, np.tile(MIXED, (len(world), 1))).truth(always(len(world), 1))[0]
    for seed in range(8):
        log = simulated(world, np.tile(MIXED, (len(world), 1)), n=3_000, seed=seed)

        class Tenth:
            def chunks(self, *args: object, log=log, seed=seed, **options: object):  # type: ignore[no-untyped-def]
                rng = np.random.default_rng(seed)
                for rounds in log.chunks():
                    yield replace(rounds, quality=np.where(rng.random(len(rounds)) < 0.1, rounds.quality, np.nan))

        found = evaluate(Tenth(), [FixedArm(ARMS[1])], Options()).policies[ARMS[1]].estimates["quality"]["dr"]
        held += found.low <= truth <= found.high
    assert held >= 7
