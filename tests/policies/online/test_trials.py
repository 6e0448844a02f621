"""A trial ends when its money is spent."""

import pytest

from policies.online.trials import Trials

CENT = 10_000_000  # nano-USD


def test_an_arm_is_barred_once_its_money_is_spent() -> None:
    trials = Trials({"new": 0.10, "other": 1.0})
    trials.charge("new", 6 * CENT)
    assert trials.barred == frozenset()
    trials.charge("new", 4 * CENT)
    assert trials.barred == {"new"}
    assert trials.spent_nano_usd == {"new": 10 * CENT}


def test_an_arm_without_money_never_starts_and_one_on_no_trial_is_free() -> None:
    trials = Trials({"new": 0.0})
    trials.charge("old", 500 * CENT)
    assert trials.barred == {"new"}
    assert trials.spent_nano_usd == {}


def test_what_was_spent_before_counts_and_another_trial_may_follow() -> None:
    before = {"new": 9 * CENT, "old": CENT}
    trials = Trials({"new": 0.10}, spent_nano_usd=before)
    trials.charge("new", CENT)
    assert trials.barred == {"new"}
    assert before["new"] == 9 * CENT
    assert Trials({"new": 0.20, "old": 0.01}, spent_nano_usd=trials.spent_nano_usd).barred == {"old"}


def test_sums_are_exact_however_many_there_are() -> None:
    trials = Trials({"new": 0.001})
    for _ in range(999_999):
        trials.charge("new", 1)
    assert trials.barred == frozenset()
    trials.charge("new", 1)
    assert trials.barred == {"new"}


def test_a_negative_amount_is_refused() -> None:
    with pytest.raises(ValueError, match="trial of 'new'"):
        Trials({"new": -1.0})
