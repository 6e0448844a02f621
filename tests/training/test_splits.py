"""Splits: every row judged once, equal texts on one side, and clear words where a table cannot be parted."""

from dataclasses import replace

import numpy as np
import pytest

from policies.arms import Arm
from policies.tables import OutcomeTable
from training.splits import (
    SplitError,
    cross_set,
    hold_out_domains,
    k_fold,
    leave_one_domain_out,
    separate,
    time_ordered,
)


def with_texts(world: OutcomeTable, every: int = 3) -> OutcomeTable:
    """The world with each text occurring ``every`` times, in both domains."""
    return replace(world, prompts=tuple(f"text {i // every}" for i in range(len(world))))


def texts(table: OutcomeTable, mask: np.ndarray) -> set[str]:
    return {table.prompts[row] for row in np.flatnonzero(mask)}


def test_folds_judge_every_row_once_and_never_part_equal_texts(world: OutcomeTable) -> None:
    table = with_texts(world)
    split = k_fold(table, 5, seed=1)
    assert (split.name, len(split.labels)) == ("5-fold", 5)
    assert (sum(test.astype(int) for _, test in split.folds) == 1).all()
    for train, test in split.folds:
        assert (train ^ test).all()
        assert not texts(table, train) & texts(table, test)


def test_a_text_keeps_its_fold_in_any_table_and_changes_it_with_the_seed(world: OutcomeTable) -> None:
    half = np.arange(len(world)) % 2 == 0
    whole, part, other = k_fold(world, seed=0), k_fold(world.rows(half), seed=0), k_fold(world, seed=1)
    assert all((a[1][half] == b[1]).all() for a, b in zip(whole.folds, part.folds, strict=True))
    same = np.mean([(a[1] & b[1]).sum() for a, b in zip(whole.folds, other.folds, strict=True)]) * 5 / len(world)
    assert same == pytest.approx(0.2, abs=0.07)  # chance, four standard errors of a share of 600


def test_folds_are_about_equal(world: OutcomeTable) -> None:
    sizes = [int(test.sum()) for _, test in k_fold(world, 5).folds]
    assert 120 - 40 < min(sizes) <= max(sizes) < 120 + 40  # four standard deviations of a binomial of 600, 1/5


def test_each_domain_is_left_out_once_with_its_texts(world: OutcomeTable) -> None:
    table = with_texts(world, 2)
    split = leave_one_domain_out(table)
    assert split.labels == ("easy", "hard")
    for (train, test), label in zip(split.folds, split.labels, strict=True):
        assert {table.domains[row] for row in np.flatnonzero(test)} == {label}
        assert sum(test) == table.domains.count(label)
        assert not texts(table, train) & texts(table, test)


def test_groups_of_domains_are_held_out_together(world: OutcomeTable) -> None:
    table = replace(world, domains=tuple("abc"[i % 3] for i in range(len(world))))
    split = hold_out_domains(table, [["c", "a"], ["b"]])
    assert split.labels == ("a+c", "b")
    assert [int(test.sum()) for _, test in split.folds] == [400, 200]
    assert [int(train.sum()) for train, _ in split.folds] == [200, 400]


def test_time_parts_learn_from_all_that_came_before(world: OutcomeTable) -> None:
    table = replace(world, at=np.random.default_rng(0).permutation(len(world)).astype(float))
    split = time_ordered(table, folds=2, test_share=0.5)
    assert split.name == "time-ordered"
    assert [(int(train.sum()), int(test.sum())) for train, test in split.folds] == [(300, 150), (450, 150)]
    assert all(table.at[train].max() < table.at[test].min() for train, test in split.folds)


def test_without_times_the_order_of_the_table_is_taken(world: OutcomeTable) -> None:
    split = time_ordered(world)
    assert split.name == "in-order"
    ((_, test),) = split.folds
    assert np.flatnonzero(test).tolist() == list(range(450, 600))


def test_two_tables_learn_on_one_and_judge_on_the_other(world: OutcomeTable) -> None:
    first = np.arange(len(world)) < 400
    train, test = world.rows(first), world.rows(~first | (np.arange(len(world)) < 10))
    for split in (cross_set(train, test), separate(train, test)):
        ((learned, judged),) = split.folds
        assert (len(learned), len(judged), int(judged.sum())) == (400, 210, 210)
        assert not learned[:10].any()  # the test holds them too
        assert learned[10:].all()


def test_rows_whose_text_was_not_kept_are_told_apart_by_their_id(world: OutcomeTable) -> None:
    table = replace(world, prompts=("",) * len(world))
    assert all(0 < test.sum() < 200 for _, test in k_fold(table).folds)


def test_a_table_that_cannot_be_parted_says_why(world: OutcomeTable) -> None:
    plain = replace(world, domains=("",) * len(world))
    with pytest.raises(SplitError, match="world: needs two domains or more, has none; fill the domain column"):
        leave_one_domain_out(plain)
    with pytest.raises(SplitError, match="needs two domains"):
        hold_out_domains(plain, [["easy"]])
    with pytest.raises(SplitError, match="no domain 'art'; it has easy, hard"):
        hold_out_domains(world, [["art"]])
    with pytest.raises(SplitError, match="a group must hold some domains and leave some, got 2"):
        hold_out_domains(world, [["easy", "hard"]])
    with pytest.raises(SplitError, match="3 rows leave a fold of 50 empty; use fewer folds"):
        k_fold(world.rows(np.arange(len(world)) < 3), 50)
    with pytest.raises(SplitError, match="1 folds: use 2 or more"):
        k_fold(world, 1)


def test_times_shares_and_arms_that_do_not_fit_are_told(world: OutcomeTable) -> None:
    with pytest.raises(SplitError, match=r"test share 1 in 1 parts: use a share between"):
        time_ordered(world, test_share=1.0)
    with pytest.raises(SplitError, match="2 rows are too few for 5 parts"):
        time_ordered(world.rows(np.arange(len(world)) < 2), folds=5)
    with pytest.raises(SplitError, match="no training row that world does not hold too"):
        separate(world, world)
    other = replace(world, arms=(Arm("cheap", "instant"), Arm("other", "instant")))
    with pytest.raises(SplitError, match="differ in arms: dear/instant, other/instant; use one pool"):
        cross_set(world, other)


def test_a_domain_whose_every_text_is_elsewhere_leaves_nothing_to_learn(world: OutcomeTable) -> None:
    with pytest.raises(SplitError, match="no training row is left"):
        leave_one_domain_out(replace(world, prompts=("same",) * len(world)))
