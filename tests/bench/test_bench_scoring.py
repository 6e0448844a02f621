from bench.scoring import ARMS, default_policy, measured, priced_arms, queries
from policies.tradeoff import TradeOff


def test_every_policy_is_timed_on_every_number_of_arms() -> None:
    figures = measured(calls=5)
    assert set(figures) == {f"{policy}_{n}_us" for policy in ("default", "linear") for n in ARMS}
    assert all(value > 0 for value in figures.values())


def test_what_is_timed_is_a_real_decision() -> None:
    arms = priced_arms(8)
    policy = default_policy(arms)
    chosen = {int(policy.score(context, arms, TradeOff(10.0)).dist.argmax()) for context in queries()}
    assert len(chosen) > 1
