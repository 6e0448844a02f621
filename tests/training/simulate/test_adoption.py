"""A new arm is a stranger until its anchors are paid, is then known by what they say, and earns what it is worth."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.arms import Arm
from policies.decide import Decision
from policies.policy import Scores
from policies.predictions import Predictions
from policies.prices import NANO, Price
from policies.tables import OutcomeTable
from policies.zoo.default import DefaultPolicy
from policies.zoo.thompson import Exploring
from training.contender import Sample
from training.inputs import make_inputs
from training.simulate.adopting import AdoptingPlayer, AdoptionPlan
from training.simulate.cast import ADOPTING, Order, make_player
from training.simulate.entries import Unmet
from training.simulate.play import play
from training.simulate.players import Feedback
from training.simulate.scenario import Scenario
from training.simulate.stream import make_stream
from training.simulate.task import Simulate, play_order, simulate
from training.zoo.contenders import task_of
from training.zoo.save import artifact_of

NEW, WARM, NEW_NANO_USD = "new/instant", 200, 210_000  # dear/instant costs 2,100,000 an answer
Warmed = tuple[Sample, DefaultPolicy]
SHY = Exploring(share=0.0)


def with_a_new_arm(world: OutcomeTable, *, right: float) -> OutcomeTable:
    """A third arm that is right on this share of the queries and costs a tenth of the dear one."""
    scores = (np.random.default_rng(5).random(len(world)) < right).astype(np.float64)
    nano_usd = np.full(len(world), NEW_NANO_USD)
    more = {"scores": scores, "nano_usd": nano_usd, "usd": nano_usd / NANO}
    more |= {"input_tokens": world.input_tokens[:, 1], "completion_tokens": world.completion_tokens[:, 1]}
    more["seconds"] = world.seconds[:, 1]
    columns: dict[str, Any] = {name: np.column_stack([getattr(world, name), last]) for name, last in more.items()}
    prices = (*world.prices, Price(10**9, 10**9))
    return replace(world, arms=(*world.arms, Arm("new", "instant")), prices=prices, **columns)


def order_with(world: OutcomeTable, embedded: np.ndarray, warmed: Warmed, *, right: float, **events: Any) -> Order:
    """The policy was fitted on the first queries with two arms; the third joins after a quarter of the others."""
    table, is_warm = with_a_new_arm(world, right=right), np.arange(len(world)) < WARM
    everything = Sample(table, make_inputs(table, embedded))
    warm, rest = everything.rows(is_warm), everything.rows(~is_warm)
    scenario = Scenario("newcomer", joins_at=0.25, arm=NEW, **events)
    unmet = Unmet(artifact_of(warmed[1], task_of(warmed[0], encoder_id="hash-1", seed=0), facts={}), warm, 2)
    return Order(make_stream(rest.table, rest.inputs, scenario, seed=0), warm, warmed[1], seed=0, unmet=unmet)


def adoptions(order: Order, *, players: tuple[str, ...] = ADOPTING, **plan: Any) -> dict[str, Any]:
    task = Simulate(Path(), Path(), "", players=players, with_full=False)
    adoption = AdoptionPlan(**({"n_anchors": 60} | plan))
    found: dict[str, Any] = play_order(order, replace(task, adoption=adoption))["adoptions"]
    return found


def test_a_good_arm_is_known_by_its_anchors_and_earns_more_than_a_stranger(
    world: OutcomeTable, embedded: np.ndarray, warmed: Warmed
) -> None:
    order = order_with(world, embedded, warmed, right=0.95)
    told = adoptions(order)
    anchors, at_once, stranger = (told[name] for name in ADOPTING)
    assert (anchors["joins_at"], anchors["adopted_after"], anchors["n_anchors"]) == (100, 59, 60)
    assert anchors["anchors_nano_usd"] == 60 * NEW_NANO_USD
    assert anchors["true_quality"] == pytest.approx(0.95, abs=0.04)
    assert anchors["error_joined"] < 0.08  # 60 answers of which .95 are right: standard error .03
    assert anchors["error_joined"] < at_once["error_joined"]
    assert anchors["reward_before"] == at_once["reward_before"] == stranger["reward_before"]
    assert anchors["share"] > 0.5
    assert anchors["reward_net"] > stranger["reward_net"]
    assert anchors["reward_after"] - anchors["reward_net"] == pytest.approx(
        order.stream.quality_per_usd * 60 * NEW_NANO_USD / NANO / 300
    )
    assert f"{NEW} taken in by 60 of 60 anchors for 0.012600 USD at request 159" in anchors["told"]


def test_the_baselines_pay_for_no_anchors(world: OutcomeTable, embedded: np.ndarray, warmed: Warmed) -> None:
    told = adoptions(order_with(world, embedded, warmed, right=0.95), players=ADOPTING[1:])
    at_once, stranger = told["default_at_once"], told["default_stranger"]
    assert (at_once["adopted_after"], stranger["adopted_after"]) == (0, None)
    assert at_once["anchors_nano_usd"] == stranger["anchors_nano_usd"] == 0
    assert stranger["error_joined"] is None
    assert "stays a stranger: nobody took it in" in stranger["told"]


def test_a_cap_too_small_for_the_anchors_leaves_a_stranger_and_says_so(
    world: OutcomeTable, embedded: np.ndarray, warmed: Warmed
) -> None:
    order = order_with(world, embedded, warmed, right=0.95)
    told = adoptions(order, anchors_usd=9.9 * NEW_NANO_USD / NANO)
    poor, stranger = told["default_anchors"], told["default_stranger"]
    assert (poor["adopted_after"], poor["n_anchors"]) == (None, 9)
    assert poor["anchors_nano_usd"] == 9 * NEW_NANO_USD  # never more than the cap
    assert "stays a stranger: a cap of 0.002079 USD pays for 9 of 60 anchors" in poor["told"]
    assert "it takes 10; raise the cap" in poor["told"]
    assert {name: poor[name] for name in ("share", "reward_after")} == {
        name: stranger[name] for name in ("share", "reward_after")
    }


def test_what_the_cap_pays_for_is_enough_where_it_is_ten(
    world: OutcomeTable, embedded: np.ndarray, warmed: Warmed
) -> None:
    order = order_with(world, embedded, warmed, right=0.95)
    told = adoptions(order, players=("default_anchors",), anchors_usd=10 * NEW_NANO_USD / NANO)["default_anchors"]
    assert (told["adopted_after"], told["n_anchors"], told["anchors_nano_usd"]) == (10, 10, 10 * NEW_NANO_USD)
    assert "taken in by 10 of 60 anchors" in told["told"]


def test_a_bad_arm_gets_little_traffic_and_little_money(
    world: OutcomeTable, embedded: np.ndarray, warmed: Warmed
) -> None:
    order = order_with(world, embedded, warmed, right=0.1)
    told = adoptions(order, players=("default_anchors",))["default_anchors"]
    assert told["adopted_after"] == 59
    assert told["error_joined"] < 0.1
    served = order.stream.joins_at + 60
    player = make_player("default_anchors", order, AdoptionPlan(n_anchors=60))
    played = play(player, order.stream, seed=0)
    assert (played.columns[served:] == 2).mean() < 0.03
    assert told["trial_nano_usd"] < 10 * NEW_NANO_USD


def test_a_trial_charges_what_explored_alone_and_ends_with_its_money(
    world: OutcomeTable, embedded: np.ndarray, warmed: Warmed
) -> None:
    order = order_with(world, embedded, warmed, right=0.1)
    player = make_player("default_at_once", order, AdoptionPlan(trial_usd=20 / NANO))
    assert isinstance(player, AdoptingPlayer)
    arms = order.stream.round(100).arms

    def paid(action: int, quality: list[float]) -> int:
        player.policy(0)
        scores = Scores(np.eye(3)[action], Predictions(np.array(quality), np.zeros(3), np.zeros(3), np.zeros(3)))
        player.pay(Decision(arms, action, np.full(3, 1 / 3), scores), 10)
        return player.trial_nano_usd

    assert paid(2, [0.5, 0.5, 0.9]) == 0  # it is the best
    assert paid(0, [0.5, 0.9, 0.5]) == 0  # another arm explores
    assert (paid(2, [0.5, 0.9, 0.5]), player.trial_ended_at) == (10, None)
    assert (paid(2, [0.5, 0.9, 0.5]), player.trial_ended_at) == (20, 3)
    assert paid(2, [0.5, 0.9, 0.5]) == 30  # drawn by a tenant's floor, barred or not
    assert player.trial_ended_at == 3


def test_the_same_trial_is_free_where_the_arm_has_the_highest_utility(
    world: OutcomeTable, embedded: np.ndarray, warmed: Warmed
) -> None:
    order = order_with(world, embedded, warmed, right=0.95)
    told = adoptions(order, players=("default_anchors",), exploring=SHY)["default_anchors"]
    assert told["share"] > 0.5
    assert told["trial_nano_usd"] == 0


def test_an_arm_whose_trial_has_no_money_is_not_explored(
    world: OutcomeTable, embedded: np.ndarray, warmed: Warmed
) -> None:
    order = order_with(world, embedded, warmed, right=0.8)
    eager = Exploring(share=1.0)
    paid = adoptions(order, players=("default_at_once",), exploring=eager)["default_at_once"]
    unpaid = adoptions(order, players=("default_at_once",), exploring=eager, trial_usd=0.0)["default_at_once"]
    assert paid["trial_nano_usd"] > 0
    assert unpaid["trial_nano_usd"] == 0


def test_the_learned_of_the_others_is_kept_and_a_strangers_answers_teach_nothing(
    world: OutcomeTable, embedded: np.ndarray, warmed: Warmed
) -> None:
    order = order_with(world, embedded, warmed, right=0.95)
    player = make_player("default_anchors", order, AdoptionPlan(n_anchors=60))
    assert isinstance(player, AdoptingPlayer)
    for at in range(159):
        player.policy(0)
        player.hear(Feedback(at, 1, 1.0, 0.0))
        player.hear(Feedback(at, 2, 0.0, 0.0))
    assert player.adopted_at is None
    player.policy(0)
    player.hear(Feedback(150, 2, 0.0, 0.0))  # late, of the arm as a stranger
    counts = player.learned.offsets.counts[0].sum(axis=1)
    assert counts.tolist() == [0.0, 159.0, 0.0]
    player.hear(Feedback(159, 2, 1.0, 0.0))
    assert player.learned.offsets.counts[0, 2].sum() == 1.0


def test_tenants_keep_their_scopes_when_an_arm_comes_in(
    world: OutcomeTable, embedded: np.ndarray, warmed: Warmed
) -> None:
    order = order_with(world, embedded, warmed, right=0.95, n_tenants=3)
    player = make_player("default_at_once", order, AdoptionPlan())
    assert isinstance(player, AdoptingPlayer)
    play(player, order.stream, seed=0)
    counts = player.learned.offsets.counts.sum(axis=(1, 2))  # (n_scopes,)
    assert len(counts) == 4
    assert counts[0] == pytest.approx(counts[1:].sum())


@pytest.mark.parametrize("wrong", [{"anchors_usd": -1.0}, {"trial_usd": float("inf")}, {"trial_usd": float("nan")}])
def test_a_cap_that_is_no_amount_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected amounts of USD"):
        AdoptionPlan(**wrong)  # type: ignore[arg-type]


def test_nobody_takes_in_an_arm_that_was_there_from_the_start(encoder: Any) -> None:
    task = Simulate(Path(), Path(), "", players=("default_anchors",))
    with pytest.raises(
        ValueError, match="'default_anchors' takes in an arm that joins; use it with the scenario newco"
    ):
        simulate(task, encoder=encoder)


def test_more_anchors_than_warm_queries_are_refused(world: OutcomeTable, embedded: np.ndarray, warmed: Warmed) -> None:
    order = order_with(world, embedded, warmed, right=0.95)
    with pytest.raises(ValueError, match="200 anchors out of 200 queries"):
        make_player("default_anchors", order, AdoptionPlan(n_anchors=200))
