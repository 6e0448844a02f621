import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from policies.floor_watch import FloorWatch
from training.floors.betting import p_values

FLOOR, N, REPLICAS = 0.97, 400, 2_000


def pairs(mean: float, *, differ: float, seed: int = 0) -> NDArray[np.float64]:
    """Differences of right-or-wrong answers with that mean; ``differ`` of them are right on one side alone."""
    both = 0.5
    won = (mean - (1 - FLOOR) * both + FLOOR * differ) / (1 + FLOOR)
    chances = [both, won, differ - won, 1 - both - differ]
    return np.random.default_rng(seed).choice([1 - FLOOR, 1.0, -FLOOR, 0.0], p=chances, size=(N, REPLICAS))


def deviation(differ: float) -> float:
    return float(pairs(0.0, differ=differ).std())


@pytest.mark.parametrize("differ", [0.05, 0.2, 0.45])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_at_a_mean_of_nil_it_seldom_rejects_at_any_level(differ: float, confidence: float) -> None:
    found = p_values(pairs(0.0, differ=differ), lowest=-FLOOR, confidence=confidence)
    for alpha in (0.01, 0.05, 0.1, 0.3):  # three standard errors of a share of 2,000 above the level
        assert (found <= alpha).mean() <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / REPLICAS)


def test_differences_whose_mean_depends_on_the_past_are_no_way_around_it() -> None:
    rng, capital = np.random.default_rng(1), np.zeros(REPLICAS)
    seen = []
    for _ in range(N):  # calm after gains, wild after losses; the mean given the past is nil throughout
        size = np.where(capital > 0, 0.1, 0.9)
        seen.append(size * rng.choice([-1.0, 1.0], size=REPLICAS))
        capital += seen[-1]
    found = p_values(np.stack(seen), lowest=-0.97, confidence=0.95)
    assert (found <= 0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / REPLICAS)


@pytest.mark.parametrize("differ", [0.2, 0.45])
def test_it_finds_nearly_what_the_z_test_finds(differ: float) -> None:
    shift = 2.5 * deviation(differ) / np.sqrt(N)  # the z-test's power there is 0.80
    drawn = pairs(shift, differ=differ)
    found = (p_values(drawn, lowest=-FLOOR, confidence=0.95) <= 0.05).mean()
    z = drawn.mean(axis=0) / (drawn.std(axis=0, ddof=1) / np.sqrt(N))
    assert found >= (norm.sf(z) <= 0.05).mean() - 0.1


def test_bets_of_the_paper_find_less_at_the_same_goal() -> None:
    """Hedged capital of Waudby-Smith and Ramdas, one side, with their predictable plug-in bets."""
    drawn = pairs(2.5 * deviation(0.2) / np.sqrt(N), differ=0.2)
    capital, highest, squares, total = (np.zeros(REPLICAS) for _ in range(4))
    squares += 0.25
    for row, seen in enumerate(drawn):
        bets = np.minimum(np.sqrt(2 * np.log(1 / 0.05) / (N * squares / (row + 1))), 0.75 / FLOOR)
        capital += np.log1p(bets * seen)
        highest = np.maximum(highest, capital)
        total += seen
        squares += (seen - total / (row + 1)) ** 2
    ours = p_values(drawn, lowest=-FLOOR, confidence=0.95)
    assert (ours <= 0.05).mean() > (np.exp(-highest) <= 0.05).mean() + 0.05


def test_differences_of_one_sign_have_the_capital_that_their_bets_give() -> None:
    gains = p_values(np.full((200, 1), 1.0), lowest=-0.5, confidence=0.95)
    losses = p_values(np.full((200, 1), -0.5), lowest=-0.5, confidence=0.95)
    assert gains[0] <= 0.05
    assert losses[0] == 1.0


def test_rows_without_a_difference_decide_nothing() -> None:
    assert p_values(np.zeros((50, 3)), lowest=-1.0, confidence=0.95).tolist() == [1.0, 1.0, 1.0]
    assert p_values(np.zeros((0, 2)), lowest=-1.0, confidence=0.95).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("lowest", [-0.4, 0.0, 0.5])
def test_a_difference_below_the_least_possible_one_is_refused(lowest: float) -> None:
    with pytest.raises(ValueError, match="is the least possible"):
        p_values(np.array([[-0.5], [0.5]]), lowest=lowest, confidence=0.95)


def test_the_watch_on_a_served_floor_bets_alike_for_a_goal_that_lies_higher() -> None:
    scores = np.random.default_rng(3).random((300, 2)) < [0.66, 0.7]
    watch, highest = FloorWatch(FLOOR, window=300), 1.0
    for score, reference in scores:
        watch = watch.after(float(score), float(reference))
        highest = max(highest, watch.capital)
    assert 1.0 < highest < 20.0  # at 1 / false_alarm the watch stops
    short = (FLOOR * scores[:, 1] - scores[:, 0])[:, None]
    p_value = p_values(short, lowest=-1.0, confidence=1.0 - 0.05 / 1.2)[0]
    assert 1.0 / highest == pytest.approx(float(p_value), rel=1e-6)
