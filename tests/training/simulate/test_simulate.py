"""Streams do to each arm what their scenario says and nothing else; what is measured of them is the truth."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.decide import Decision
from policies.policy import Policy
from policies.tables import OutcomeTable
from policies.zoo.default import DefaultPolicy
from policies.zoo.static import StaticPolicy
from policies.zoo.uniform import UniformPolicy
from training.contender import Sample
from training.inputs import Inputs
from training.simulate.cast import Order
from training.simulate.picture import regret_picture
from training.simulate.play import Played, play, play_full_information
from training.simulate.players import Feedback
from training.simulate.regret import fixed_rewards, judge
from training.simulate.scenario import Scenario, scenarios
from training.simulate.stream import Stream, make_stream
from training.simulate.task import Simulate, play_order, simulate

WARM = 200
Warmed = tuple[Sample, DefaultPolicy]


class Listener:
    """Serves a policy and writes down what it hears."""

    name, alarms = "listener", ()

    def __init__(self, policy: Policy) -> None:
        self._policy, self.heard, self.asked, self.paid = policy, list[Feedback](), 0, 0

    def policy(self, tenant: int) -> Policy:
        self.asked += 1
        return self._policy

    def pay(self, decision: Decision, nano_usd: int) -> None:
        self.paid += nano_usd

    def hear(self, feedback: Feedback) -> None:
        assert feedback.at < self.asked  # never of a request to come
        self.heard.append(feedback)


def order_of(world: OutcomeTable, inputs: Inputs, warmed: Warmed, scenario: Scenario) -> Order:
    """The other queries as a stream."""
    rest = np.arange(len(world)) >= WARM
    return Order(make_stream(world.rows(rest), inputs.rows(rest), scenario, seed=0), *warmed, seed=0)


def stream_of(world: OutcomeTable, inputs: Inputs, **events: Any) -> Stream:
    return make_stream(world, inputs, Scenario(**events), seed=0)


def test_a_still_stream_is_the_table(world: OutcomeTable, inputs: Inputs) -> None:
    stream = stream_of(world, inputs)
    assert (stream.scores == world.scores).all()
    assert (stream.told == world.scores).all()
    assert (stream.usd == world.usd).all()
    assert stream.eligible.all()
    assert stream.quality_per_usd * world.usd.mean(axis=0).max() == pytest.approx(0.05)


def test_a_break_takes_that_share_of_right_answers_from_then_on(world: OutcomeTable, inputs: Inputs) -> None:
    stream = stream_of(world, inputs, breaks_at=0.5, loss=0.45)
    half, arm = len(world) // 2, stream.changed
    assert (stream.scores[:half] == world.scores[:half]).all()
    kept = stream.scores[half:, arm].sum() / world.scores[half:, arm].sum()
    assert kept == pytest.approx(0.55, abs=0.1)  # 270 right answers: standard error .03
    assert (np.delete(stream.scores, arm, axis=1) == np.delete(world.scores, arm, axis=1)).all()
    assert stream.changed_at == half


def test_a_changed_price_is_billed_and_configured(world: OutcomeTable, inputs: Inputs) -> None:
    stream = stream_of(world, inputs, price_at=0.5, price_factor=0.1, arm="dear/instant")
    before, after = stream.round(299).arms[1].price, stream.round(300).arms[1].price
    assert before is not None
    assert after is not None
    assert after.output == before.output // 10
    assert stream.usd[300, 1] == pytest.approx(0.1 * world.usd[300, 1])
    assert stream.usd[299, 1] == world.usd[299, 1]


def test_an_arm_that_is_out_is_not_offered_and_comes_back(world: OutcomeTable, inputs: Inputs) -> None:
    stream = stream_of(world, inputs, out_from=0.4, out_until=0.6, arm="dear/instant")
    assert [len(stream.round(at).arms) for at in (239, 240, 359, 360)] == [2, 1, 1, 2]
    assert stream.round(300).columns.tolist() == [0]


def test_a_newcomer_is_offered_from_when_it_joins(world: OutcomeTable, inputs: Inputs) -> None:
    stream = stream_of(world, inputs, joins_at=0.5, arm="cheap/instant")
    assert [len(stream.round(at).arms) for at in (0, 299, 300, 599)] == [1, 1, 2, 2]


def test_feedback_lies_only_as_the_scenario_says(world: OutcomeTable, inputs: Inputs) -> None:
    noisy, poisoned = (stream_of(world, inputs, **{kind: 0.2}) for kind in ("noise", "poison"))
    assert (noisy.told != noisy.scores).mean() == pytest.approx(0.2, abs=0.05)
    lies = (poisoned.told != poisoned.scores).any(axis=1)
    assert (poisoned.told[lies, poisoned.changed] == 0.0).all()
    assert (noisy.scores == world.scores).all()


def test_late_feedback_comes_late_in_order_and_lost_feedback_never(world: OutcomeTable, inputs: Inputs) -> None:
    player = Listener(UniformPolicy())
    play(player, stream_of(world, inputs, delay=100, missing=0.5), seed=0)
    numbers = [feedback.at for feedback in player.heard]
    assert numbers == sorted(numbers)
    assert max(numbers) < len(world) - 100
    assert len(numbers) == pytest.approx(0.5 * (len(world) - 100), abs=50)


def test_decisions_are_drawn_with_the_propensities_that_are_written_down(world: OutcomeTable, inputs: Inputs) -> None:
    played = play(Listener(StaticPolicy("dear/instant")), stream_of(world, inputs), seed=0, explore=0.2)
    explored = played.columns == 0
    assert played.propensities[explored] == pytest.approx(0.1)
    assert played.propensities[~explored] == pytest.approx(0.9)
    assert explored.mean() == pytest.approx(0.1, abs=0.04)  # standard error .012


def test_the_best_fixed_arm_has_no_regret_and_the_other_what_it_lacks(world: OutcomeTable, inputs: Inputs) -> None:
    stream = stream_of(world, inputs)
    best, other = (play(Listener(StaticPolicy(name)), stream, seed=0) for name in ("dear/instant", "cheap/instant"))
    assert judge(best, stream).regret == pytest.approx(0.0)
    assert judge(other, stream).regret == pytest.approx(stream.rewards[:, 1].sum() - stream.rewards[:, 0].sum())
    assert judge(best, stream, full=other).regret_full == pytest.approx(-judge(other, stream).regret)


def test_where_an_arm_cannot_be_asked_the_fixed_comparator_takes_the_others_mean(
    world: OutcomeTable, inputs: Inputs
) -> None:
    stream = stream_of(world, inputs, out_from=0.4, out_until=0.6, arm="dear/instant")
    assert fixed_rewards(stream)[300, 1] == stream.rewards[300, 0]


def test_adaptation_is_counted_from_the_change(world: OutcomeTable, inputs: Inputs) -> None:
    stream = stream_of(world, inputs, breaks_at=0.5, loss=1.0)
    change, other = stream.changed_at, 1 - stream.changed
    columns = np.full(len(stream), stream.changed)
    columns[change + 50 :] = other  # it takes fifty requests to see it
    played = Played("late", columns, np.ones(len(stream)), stream.rewards[np.arange(len(stream)), columns])
    verdict = judge(played, stream)
    assert 0 <= verdict.adapted_after <= 50
    assert verdict.last_third == pytest.approx(0.0)


def test_the_default_policy_learns_and_beats_both_arms(world: OutcomeTable, inputs: Inputs, warmed: Warmed) -> None:
    order = order_of(world, inputs, warmed, Scenario())
    verdicts = play_order(order, Simulate(Path(), Path(), "", players=("default", "ucb")))["policies"]
    assert verdicts["default"]["regret"] < 0.0  # easy queries go to the cheap arm at equal scores
    assert verdicts["default"]["regret"] < verdicts["ucb"]["regret"]
    assert verdicts["default"]["false_alarms"] == 0
    assert len(verdicts["default"]["curve"]) == 200


def test_a_break_raises_the_alarm_of_that_arm(world: OutcomeTable, inputs: Inputs, warmed: Warmed) -> None:
    order = order_of(world, inputs, warmed, Scenario(breaks_at=0.4, loss=0.6))
    told = play_order(order, Simulate(Path(), Path(), "", players=("default",), with_full=False))["policies"]["default"]
    assert told["alarm_after"] is not None
    assert told["alarm_after"] < 150
    assert told["alarms"][0]["arm"] == "dear/instant"


def test_the_full_information_comparator_leaves_the_policy_as_it_was(
    world: OutcomeTable, inputs: Inputs, warmed: Warmed
) -> None:
    order = order_of(world, inputs, warmed, Scenario(breaks_at=0.5))
    play_full_information(order.policy, order.stream)
    assert (order.policy.offsets.counts == 0).all()
    assert (order.policy.offsets.doubt_sd == 0).all()


def test_tenants_have_scopes_of_their_own(world: OutcomeTable, inputs: Inputs, warmed: Warmed) -> None:
    order = order_of(world, inputs, warmed, Scenario(n_tenants=3))
    told = play_order(order, Simulate(Path(), Path(), "", players=("default",), with_full=False))
    assert set(order.stream.tenants.tolist()) == {0, 1, 2}
    assert told["policies"]["default"]["regret"] < 0.0


def test_the_picture_tells_in_words_what_it_shows(world: OutcomeTable, inputs: Inputs, warmed: Warmed) -> None:
    task = Simulate(Path(), Path(), "", players=("default", "ucb"), with_full=False)
    order = order_of(world, inputs, warmed, Scenario("drift", breaks_at=0.5))
    picture = regret_picture(
        {"scenario": asdict(order.stream.scenario), "orders": [played := play_order(order, task)], **played}
    )
    assert "default" in picture.alt
    assert "ucb" in picture.alt


@pytest.mark.parametrize(
    "wrong",
    [{"breaks_at": 1.5}, {"missing": -0.1}, {"delay": -1}, {"n_tenants": 0}, {"out_from": 0.6, "out_until": 0.5}],
)
def test_a_scenario_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="scenario 'still'"):
        Scenario(**wrong)  # type: ignore[arg-type]


def test_an_arm_that_is_not_in_the_pool_is_refused(world: OutcomeTable, inputs: Inputs) -> None:
    with pytest.raises(ValueError, match="no arm 'x' in world; it has cheap/instant, dear/instant"):
        stream_of(world, inputs, arm="x")


def test_an_unknown_player_is_refused(encoder: Any) -> None:
    with pytest.raises(ValueError, match="no player is named 'x'"):
        simulate(Simulate(Path(), Path(), "", players=("x",)), encoder=encoder)


def test_scenarios_are_known_by_their_names() -> None:
    assert all(name == scenario.name for name, scenario in scenarios().items())
    assert scenarios()["drift"].breaks_at == 0.5
