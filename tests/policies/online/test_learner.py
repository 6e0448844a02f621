"""A learner counts each outcome once, takes it back exactly, and starts only the arm anew that has changed."""

from dataclasses import replace

import numpy as np
import pytest

from policies.arms import Arm
from policies.context import Context
from policies.errors import ArtifactError
from policies.features import FEATURE_NAMES
from policies.online.learner import Learner
from policies.online.lesson import Entry, Lesson
from policies.online.settings import LearnerSettings
from policies.policy import ArmFacts
from policies.prices import Price
from policies.tradeoff import TradeOff
from policies.zoo.default import DefaultPolicy
from policies.zoo.thompson import Exploring

ARMS = [ArmFacts(Arm(name, "instant"), price=Price(10**8, 10**8)) for name in ("a", "b", "c", "spare")]
CONTEXT = Context(np.full(8, 0.1, np.float32), np.zeros(len(FEATURE_NAMES), np.float32), prompt_tokens=20)


def fresh(**settings: object) -> Learner:
    """Three arms, residuals of deviation .4, two cells that may differ by .05."""
    policy = DefaultPolicy.example(ARMS)
    cells = np.array([0, 0, 0, 1, 1, 1], np.int32)
    offsets = replace(
        policy.offsets, cells=cells, sums=np.zeros((1, 3, 2)), counts=np.zeros((1, 3, 2)),
        prior_sd=np.full((1, 3), 0.05), noise_sd=np.full(3, 0.4),
    )  # fmt: skip
    return Learner(policy.with_offsets(offsets), LearnerSettings(**settings))  # type: ignore[arg-type]


def lesson(score: float, *, arm: int = 0, at: float = 0.0, **more: float) -> Lesson:
    return Lesson(arm, cell=int(more.pop("cell", 0)), prior=0.6, score=score, at=at, **more)  # type: ignore[arg-type]


def taught(learner: Learner, *, chance: float, n: int, arm: int = 0, at: float = 0.0, seed: int = 0) -> list[Entry]:
    rng = np.random.default_rng(seed)
    told = (learner.observe(lesson(float(rng.random() < chance), arm=arm, at=at + i, cell=i % 2)) for i in range(n))
    return [entry for entry in told if entry is not None]


def test_outcomes_move_what_is_served_towards_them() -> None:
    learner = fresh()
    before = learner.policy().score(CONTEXT, ARMS[:3], TradeOff(0.0)).predictions.quality
    taught(learner, chance=0.8, n=400)
    after = learner.policy().score(CONTEXT, ARMS[:3], TradeOff(0.0)).predictions.quality
    assert 0.05 < after[0] - before[0] < 0.2


def test_the_order_of_feedback_does_not_matter() -> None:
    lessons = [
        lesson(float(i % 3 == 0), arm=i % 2, at=float(i), cell=i % 2, weight=0.5 + (i % 2) / 2) for i in range(60)
    ]
    one, other = fresh(), fresh()
    for each in lessons:
        one.observe(each)
    for each in reversed(lessons):
        other.observe(each)
    assert one.offsets.sums == pytest.approx(other.offsets.sums)
    assert one.posterior().mean == pytest.approx(other.posterior().mean)


def test_feedback_given_again_replaces_the_first() -> None:
    revised, once = fresh(), fresh()
    entry = revised.observe(lesson(1.0))
    assert entry is not None
    again = revised.revise(entry, score=0.0)
    assert revised.revise(again, score=0.25).lesson.score == 0.25
    once.observe(lesson(0.25))
    assert revised.offsets.sums == pytest.approx(once.offsets.sums)
    assert (revised.offsets.counts == once.offsets.counts).all()


def test_what_is_taken_back_was_never_there() -> None:
    learner = fresh()
    entries = taught(learner, chance=0.5, n=30)
    for entry in entries:
        learner.withdraw(entry)
    assert learner.offsets.sums == pytest.approx(np.zeros((1, 3, 2)))
    assert (learner.offsets.counts == 0).all()


def test_a_trusted_source_counts_for_more() -> None:
    sure, unsure = fresh(), fresh()
    for _ in range(5):
        sure.observe(lesson(1.0))
        unsure.observe(lesson(1.0, weight=0.2))
    assert 0 < unsure.posterior().mean[0, 0] < sure.posterior().mean[0, 0]
    assert unsure.posterior().variance[0, 0] > sure.posterior().variance[0, 0]


def test_an_arm_that_broke_raises_one_alarm_and_is_known_at_once() -> None:
    learner = fresh()
    taught(learner, chance=0.6, n=600)
    assert learner.alarms == []
    taught(learner, chance=0.2, n=100, at=1_000.0, seed=1)
    (alarm,) = learner.alarms
    assert (alarm.arm, alarm.fell) == ("a/instant", True)
    assert 1_000.0 <= alarm.at < 1_090.0
    assert alarm.since > 950.0
    assert alarm.statistic >= 1e4
    assert alarm.shift < -0.25
    assert learner.posterior().mean[:, 0] == pytest.approx(np.full(2, -0.4), abs=0.12)  # truth: .2 − .6


def test_the_other_arms_forget_nothing_when_one_starts_anew() -> None:
    learner = fresh()
    taught(learner, chance=0.7, n=300, arm=1)
    before = learner.offsets.counts[0, 1].copy()
    taught(learner, chance=0.1, n=100, at=1_000.0)
    assert learner.alarms
    assert (learner.offsets.counts[0, 1] == before).all()
    assert learner.offsets.doubt_sd.tolist() == [0.3, 0.0, 0.0]


def test_an_arm_that_got_better_is_noticed_too() -> None:
    learner = fresh()
    taught(learner, chance=0.95, n=200)
    assert [alarm.fell for alarm in learner.alarms][:1] == [False]


def test_late_feedback_from_before_a_change_is_not_held_against_the_arm() -> None:
    learner = fresh()
    taught(learner, chance=0.1, n=100, at=1_000.0)
    counts = learner.offsets.counts.copy()
    assert learner.observe(lesson(1.0, at=10.0)) is None
    assert (learner.offsets.counts == counts).all()


def test_taking_back_what_a_change_swept_away_changes_nothing() -> None:
    learner = fresh()
    old = taught(learner, chance=0.6, n=300)
    taught(learner, chance=0.1, n=100, at=1_000.0)
    sums = learner.offsets.sums.copy()
    learner.withdraw(old[0])
    assert learner.revise(old[1], score=1.0).lesson.score == 1.0
    assert learner.offsets.sums == pytest.approx(sums)


def test_a_tenant_learns_its_own_beyond_everybodys() -> None:
    learner = fresh()
    scope = learner.add_scope(arm_sd=0.1)
    for i in range(900):
        learner.observe(lesson(float(i % 2), at=float(i), cell=i % 2, scope=scope if i % 3 == 0 else 0))
    own_bad = [lesson(0.0, at=float(i), cell=i % 2, scope=scope) for i in range(40)]
    for each in own_bad:
        learner.observe(each)
    assert learner.posterior(scope).mean[0, 0] < learner.posterior(0).mean[0, 0] - 0.01


def test_lessons_of_a_log_are_what_the_prior_alone_had_said() -> None:
    learner = fresh()
    taught(learner, chance=0.9, n=50)
    embeddings, lexical = CONTEXT.embedding[None, :].astype(np.float16), CONTEXT.features[None, :]
    (told,) = learner.lessons(embeddings.astype(np.float32), lexical, arms=["b/instant"], scores=[1.0], at=[5.0])
    prior = fresh().policy().score(CONTEXT, ARMS[:3], TradeOff(0.0)).predictions.quality
    assert told.arm == 1
    assert told.prior == pytest.approx(prior[1], abs=1e-3)


def test_an_unknown_arm_and_an_impossible_score_are_refused() -> None:
    learner = fresh()
    with pytest.raises(ValueError, match="no arm 'x/instant'; it has a/instant"):
        learner.lessons(CONTEXT.embedding[None, :], CONTEXT.features[None, :], arms=["x/instant"], scores=[1], at=[0])
    with pytest.raises(ValueError, match=r"lie in 0\.\.1"):
        lesson(1.5)
    with pytest.raises(ValueError, match=r"lie in 0\.\.1"):
        lesson(1.0, weight=0.0)


def test_what_was_learned_survives_an_artifact() -> None:
    learner = fresh()
    taught(learner, chance=0.8, n=100)
    served = learner.policy(version="v2")
    loaded = DefaultPolicy.from_tensors(served.to_tensors(), arms=served.arm_names, encoder_id="example")
    before, after = (each.score(CONTEXT, ARMS[:3], TradeOff(1.0)).predictions for each in (served, loaded))
    assert after.quality == pytest.approx(before.quality, abs=1e-6)
    assert served.version == "v2"


def test_offsets_of_another_policy_are_refused() -> None:
    policy = DefaultPolicy.example(ARMS)
    with pytest.raises(ArtifactError, match="offsets of 3 arms and 4 landmarks"):
        policy.with_offsets(replace(policy.offsets, cells=np.zeros(4, np.int32)))


def test_only_a_policy_told_to_explore_shares_its_traffic() -> None:
    still, curious = fresh(), fresh(exploring=Exploring())
    for learner in (still, curious):
        learner._doubt_sd[:] = 0.3
    greedy, mixed = (each.policy().score(CONTEXT, ARMS[:3], TradeOff(0.0)) for each in (still, curious))
    assert greedy.dist.max() == 1.0
    assert (mixed.dist > 0.05).all()
    assert mixed.dist.sum() == pytest.approx(1.0)
    assert "explores" in mixed.reason


def test_a_tenant_explores_as_it_is_told_and_not_where_the_money_is_spent() -> None:
    learner = fresh()
    learner._doubt_sd[:] = 0.3
    told = learner.policy(exploring=Exploring(share=0.3, barred=frozenset({"b/instant"})))
    dist = told.score(CONTEXT, ARMS[:3], TradeOff(0.0)).dist
    assert np.count_nonzero(dist) == 2
    assert dist.max() >= 0.7


def test_an_arm_that_was_never_run_gets_no_exploration() -> None:
    learner = fresh(exploring=Exploring())
    learner._doubt_sd[:] = 0.3
    dist = learner.policy().score(CONTEXT, ARMS, TradeOff(0.0)).dist
    assert dist[3] == 0.0
    assert dist[:3].min() > 0.0
