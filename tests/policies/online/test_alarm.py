"""Gamblers get rich from a change and, by Ville's inequality, hardly ever without one."""

import numpy as np
import pytest

from policies.online.alarm import Gambler, Verdict, WatchSettings


def outcomes_until_rich(gambler: Gambler, rng: np.random.Generator, *, chance: float, told: float, most: int) -> int:
    """Outcomes of this chance until the gambler is rich who is ``told`` another; ``most`` if never."""
    for n in range(1, most + 1):
        if gambler.bet(told, float(rng.random() < chance)) is Verdict.RICH:
            return n
    return most


def test_a_lost_third_is_seen_within_a_hundred_outcomes() -> None:
    delays = [
        outcomes_until_rich(
            Gambler(WatchSettings(), direction=-1.0), np.random.default_rng(seed), chance=0.4, told=0.72, most=500
        )
        for seed in range(40)
    ]
    assert np.median(delays) < 80
    assert max(delays) < 200


@pytest.mark.parametrize("direction", [-1.0, 1.0])
def test_right_predictions_make_nobody_rich(direction: float) -> None:
    """20 × 5,000 outcomes at a bound of 1e-4 each, on the tolerance; without any shift it is far below that."""
    for seed in range(20):
        gambler, rng = Gambler(WatchSettings(), direction=direction), np.random.default_rng(seed)
        assert outcomes_until_rich(gambler, rng, chance=0.65, told=0.65, most=5_000) == 5_000


def test_false_alarms_keep_their_bound_where_the_shift_is_just_tolerable() -> None:
    """A looser bound than usual, so that it can be counted: mean time between alarms at least 1 / 0.01."""
    settings, rng = WatchSettings(false_alarms=0.01), np.random.default_rng(0)
    waits = [
        outcomes_until_rich(Gambler(settings, direction=-1.0), rng, chance=0.6, told=0.65, most=10_000)
        for _ in range(100)
    ]
    assert np.mean(waits) > 100


def test_a_fortune_is_a_fair_game_at_the_tolerance() -> None:
    """E[1 + stake · gain] = 1 for any stake, where the mean score is the predicted one less the tolerance."""
    settings = WatchSettings(shifts=(0.3,))
    grown = []
    for score in (0.0, 1.0):
        gambler = Gambler(settings, direction=-1.0)
        for _ in range(9):
            gambler.bet(0.5, 0.0)  # well above 1, so that the next loss does not start it again
        before = gambler.fortune
        gambler.bet(0.7, score)
        grown.append(gambler.fortune / before)
    chance = 0.65
    assert (1 - chance) * grown[0] + chance * grown[1] == pytest.approx(1.0)


def test_an_untrusted_source_moves_less() -> None:
    sure, unsure = (Gambler(WatchSettings(), direction=-1.0) for _ in range(2))
    sure.bet(0.7, 0.0)
    unsure.bet(0.7, 0.0, weight=0.2)
    assert 1.0 < unsure.fortune < sure.fortune


@pytest.mark.parametrize("expected", [0.0, 1.0])
@pytest.mark.parametrize("score", [0.0, 1.0])
def test_a_certain_prediction_that_fails_ruins_nobody_for_good(expected: float, score: float) -> None:
    for direction in (-1.0, 1.0):
        gambler = Gambler(WatchSettings(), direction=direction)
        gambler.bet(expected, score)
        assert np.isfinite(gambler.fortune)
        assert gambler.fortune > 0
