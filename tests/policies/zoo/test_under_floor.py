from dataclasses import replace

import numpy as np
import pytest

from policies.arms import Arm
from policies.floors import Cell, Floors
from policies.policy import ArmFacts
from policies.predictions import Predictions
from policies.prices import Price
from policies.tradeoff import TradeOff
from policies.zoo.under_floor import FloorKeeper, frugal_choice

PRICES = (Price(10, 20), Price(100, 200), None)
ARMS = tuple(ArmFacts(Arm(name, "instant"), price=price) for name, price in zip("abc", PRICES, strict=True))
CHEAP, DEAR, OTHER = (arm.name for arm in ARMS)
CELLS = (Cell(0.9, 0.95, 1), Cell(0.97, 0.95, 0), Cell(1.0, 0.95, None))
FLOORS = Floors(DEAR, tuple((arm.name, arm.price) for arm in ARMS), (1.0, 30.0), CELLS, 1_000)
EXPECTED = Predictions(np.array([0.6, 0.8, 0.5]), np.full(3, 0.1), np.array([0.001, 0.021, 0.03]), np.ones(3))


def scored(
    floor: float = 0.9,
    *,
    arms: tuple[ArmFacts, ...] = ARMS,
    expected: Predictions = EXPECTED,
    floors: Floors = FLOORS,
    wanted: float = 1e6,
    **also: float,
) -> tuple[str, str]:
    scores = FloorKeeper(floors).score(expected, arms, TradeOff(wanted, quality_floor=floor, **also))
    assert scores.dist.sum() == scores.dist.max() == 1.0
    return arms[int(scores.dist.argmax())].name, scores.reason


def test_lambda_is_capped_at_what_the_floor_allows() -> None:
    assert scored(0.9)[0] == CHEAP  # 0.2 more for 0.02 USD: at 30 per USD the cheap arm
    assert scored(0.97)[0] == DEAR  # at 1 per USD the dear one
    assert scored(0.9)[1] == (
        "a/instant has the highest utility that keeps 90% of b/instant's quality, promised with 95% confidence"
    )


def test_a_request_may_be_less_thrifty_than_its_floor_allows() -> None:
    assert scored(0.9, wanted=2.0)[0] == DEAR


def test_where_nothing_is_promised_the_reference_arm_answers() -> None:
    assert scored(1.0) == (DEAR, "b/instant is the reference arm: no saving is promised at a floor of 1")


def test_an_unlike_query_gets_the_reference_arm() -> None:
    arm, reason = scored(0.9, expected=replace(EXPECTED, far=True))
    assert (arm, "unlike the training queries" in reason) == (DEAR, True)


def test_with_an_arm_less_or_another_price_nothing_is_promised() -> None:
    assert scored(arms=ARMS[:2], expected=first(2)) == (
        DEAR, "b/instant is the reference arm: the floor was promised with c/instant among the arms",
    )  # fmt: skip
    dearer = (replace(ARMS[0], price=Price(11, 20)), *ARMS[1:])
    arm, reason = scored(arms=dearer)
    assert (arm, "another price of a/instant" in reason) == (DEAR, True)
    cached = (replace(ARMS[0], price=Price(10, 20, cached_input=1)), *ARMS[1:])
    assert scored(arms=cached)[0] == CHEAP  # no prediction reads that one


def test_an_arm_that_joined_later_is_never_chosen() -> None:
    newcomer = ArmFacts(Arm("d", "instant"), price=Price(0, 0))
    expected = Predictions(*(np.append(part, last) for part, last in zip(parts(EXPECTED), (1, 0, 0, 1), strict=True)))
    assert scored(arms=(*ARMS, newcomer), expected=expected)[0] == CHEAP


def test_without_the_reference_arm_the_best_is_taken_and_nothing_promised() -> None:
    without = (ARMS[0], ARMS[2])
    arm, reason = scored(arms=without, expected=Predictions(*(part[[0, 2]] for part in parts(EXPECTED))))
    assert (arm, "so no floor is promised" in reason) == (CHEAP, True)


def test_a_cap_goes_before_the_floor() -> None:
    assert scored(0.97, max_usd=0.005) == (
        CHEAP, "a/instant has the highest utility; the cap in USD goes before the quality floor",
    )  # fmt: skip
    assert scored(0.97, max_usd=0.5)[0] == DEAR


def test_time_has_no_price_under_a_floor() -> None:
    slow = replace(EXPECTED, seconds=np.array([0.0, 1e6, 0.0]))
    assert scored(0.97, expected=slow, quality_per_s=1.0)[0] == DEAR


def test_the_order_of_the_arms_changes_nothing() -> None:
    turned = Predictions(*(part[::-1] for part in parts(EXPECTED)))
    for floor in (0.9, 0.97, 1.0):
        assert scored(floor, arms=ARMS[::-1], expected=turned)[0] == scored(floor)[0]


def test_many_queries_are_decided_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    quality, usd = rng.random((200, 5)), rng.random((200, 5))
    together = frugal_choice(quality, usd, quality_per_usd=0.3)
    assert len(set(together.tolist())) > 1
    alone = [int(frugal_choice(quality[row], usd[row], quality_per_usd=0.3)) for row in range(200)]
    assert alone == together.tolist()


def parts(predictions: Predictions) -> tuple[np.ndarray, ...]:
    return predictions.quality, predictions.quality_sd, predictions.usd, predictions.seconds


def first(n: int) -> Predictions:
    return Predictions(*(part[:n] for part in parts(EXPECTED)))


@pytest.mark.parametrize("n_sets", [200])
def test_many_sets_of_arms_are_no_leak(n_sets: int) -> None:
    keeper = FloorKeeper(FLOORS)
    for _ in range(n_sets):
        arms = tuple(replace(arm) for arm in ARMS)
        keeper.score(EXPECTED, arms, TradeOff(1e6, quality_floor=0.9))
    assert len(keeper._standings) <= 64
