import numpy as np
import pytest

from policies.floor_watch import FloorWatch

FLOOR = 0.97


def first_alarm(watch: FloorWatch, scores: np.ndarray) -> int:
    """Pairs until the alarm, one more than there are if there is none."""
    for n, (score, reference) in enumerate(scores, start=1):
        watch = watch.after(float(score), float(reference))
        if watch.alarmed:
            return n
    return len(scores) + 1


def pairs(n: int, *, right: float, reference: float, rng: np.random.Generator) -> np.ndarray:
    return (rng.random((n, 2)) < [right, reference]).astype(np.float64)


def test_while_the_floor_just_holds_it_seldom_alarms_however_long_one_watches() -> None:
    rng = np.random.default_rng(0)
    alarms = [
        first_alarm(FloorWatch(FLOOR, 0.2), pairs(1_000, right=0.97 * 0.7, reference=0.7, rng=rng)) <= 1_000
        for _ in range(120)
    ]
    assert np.mean(alarms) <= 0.2 + 3 * np.sqrt(0.2 * 0.8 / 120)


def test_a_shift_is_heard_within_five_hundred_pairs_after_a_good_time() -> None:
    rng, late = np.random.default_rng(1), []
    for _ in range(30):
        calm = pairs(1_000, right=0.72, reference=0.7, rng=rng)
        shifted = pairs(800, right=0.45, reference=0.7, rng=rng)  # 65 % of the reference arm's quality, not 97
        late.append(first_alarm(FloorWatch(FLOOR), np.vstack([calm, shifted])) - 1_000)
    assert min(late) > 0
    assert np.quantile(late, 0.9) <= 500


def test_capital_is_the_mean_over_bets_of_what_was_staked_and_kept() -> None:
    watch = FloorWatch(1.0).after(0.0, 1.0)  # the worst pair: every stake grows by its bet
    kept = 1 / np.log2(3)
    bets = np.array([0.02, 0.04, 0.08, 0.16, 0.32, 0.64])
    assert watch.highest == pytest.approx(kept + (1 - kept) * (1 + bets.mean()))


def test_an_alarm_is_not_taken_back_and_the_earlier_watch_is_unchanged() -> None:
    watch = before = FloorWatch(FLOOR)
    for _ in range(40):
        watch = watch.after(0.0, 1.0)
    assert watch.alarmed
    for _ in range(200):
        watch = watch.after(1.0, 1.0)
    assert watch.alarmed
    assert (before.n_pairs, before.alarmed, before.staked.sum()) == (0, False, 0.0)


@pytest.mark.parametrize(("score", "reference"), [(-0.1, 0.5), (0.5, 1.1), (float("nan"), 0.5)])
def test_a_score_outside_its_range_is_refused(score: float, reference: float) -> None:
    with pytest.raises(ValueError, match=r"expected both in 0\.\.1"):
        FloorWatch(FLOOR).after(score, reference)
