import numpy as np
import pytest

from policies.floor_watch import FloorWatch

FLOOR = 0.97


def watched(watch: FloorWatch, scores: np.ndarray) -> list[FloorWatch]:
    """The watch after each pair."""
    seen = []
    for score, reference in scores:
        watch = watch.after(float(score), float(reference))
        seen.append(watch)
    return seen


def pairs(n: int, *, right: float, reference: float, rng: np.random.Generator) -> np.ndarray:
    return (rng.random((n, 2)) < [right, reference]).astype(np.float64)


def test_in_a_window_in_which_the_floor_just_holds_it_seldom_alarms() -> None:
    rng = np.random.default_rng(0)
    alarms = [
        watched(FloorWatch(FLOOR, 0.2, window=200), pairs(200, right=FLOOR * 0.7, reference=0.7, rng=rng))[-1].alarmed
        for _ in range(400)
    ]
    assert np.mean(alarms) <= 0.2 + 3 * np.sqrt(0.2 * 0.8 / 400)


def test_a_shift_is_heard_within_five_hundred_pairs_however_long_it_was_calm() -> None:
    rng, late = np.random.default_rng(1), []
    for _ in range(30):
        calm = pairs(1_000, right=0.75, reference=0.7, rng=rng)
        shifted = pairs(500, right=0.56, reference=0.7, rng=rng)  # 80 % of the reference arm's quality, not 97
        alarms = [watch.alarmed for watch in watched(FloorWatch(FLOOR), np.vstack([calm, shifted]))]
        late.append(alarms.index(True) + 1 - 1_000 if True in alarms else 501)
    assert min(late) > 0
    assert np.mean(np.array(late) <= 500) >= 0.93


def test_a_shift_in_the_middle_of_a_window_is_heard_by_the_end_of_the_next() -> None:
    rng = np.random.default_rng(2)
    calm, shifted = pairs(250, right=0.75, reference=0.7, rng=rng), pairs(750, right=0.5, reference=0.7, rng=rng)
    assert watched(FloorWatch(FLOOR), np.vstack([calm, shifted]))[-1].alarmed


def test_a_total_break_is_heard_at_once_and_not_at_the_end_of_the_window() -> None:
    rng = np.random.default_rng(3)
    calm, broken = pairs(100, right=0.75, reference=0.7, rng=rng), pairs(100, right=0.0, reference=0.7, rng=rng)
    alarms = [watch.alarmed for watch in watched(FloorWatch(FLOOR), np.vstack([calm, broken]))]
    assert 100 < alarms.index(True) < 180


def test_an_alarm_is_not_taken_back_and_the_earlier_watch_is_unchanged() -> None:
    before = FloorWatch(FLOOR, window=100)
    alarmed = watched(before, np.tile([0.0, 1.0], (60, 1)))[-1]
    assert alarmed.alarmed
    assert watched(alarmed, np.ones((500, 2)))[-1].alarmed
    assert before == FloorWatch(FLOOR, window=100)


@pytest.mark.parametrize(("score", "reference"), [(-0.1, 0.5), (0.5, 1.1), (float("nan"), 0.5)])
def test_a_score_outside_its_range_is_refused(score: float, reference: float) -> None:
    with pytest.raises(ValueError, match=r"expected both in 0\.\.1"):
        FloorWatch(FLOOR).after(score, reference)
