"""A trial ends when its money is spent."""

import pytest

from policies.online.trials import Trials


def test_an_arm_is_barred_once_its_money_is_spent() -> None:
    trials = Trials({"new": 0.10, "other": 1.0})
    trials.charge("new", 0.06)
    assert trials.barred == frozenset()
    trials.charge("new", 0.05)
    assert trials.barred == {"new"}


def test_an_arm_without_money_never_starts_and_one_on_no_trial_is_free() -> None:
    trials = Trials({"new": 0.0})
    trials.charge("old", 5.0)
    assert trials.barred == {"new"}


def test_a_negative_amount_is_refused() -> None:
    with pytest.raises(ValueError, match="trial of 'new'"):
        Trials({"new": -1.0})
