from copy import deepcopy
from typing import Any

import pytest

from training.report import summary_sentences

LEVELS = ("95", "97", "99", "100")


def words_of(pool: dict[str, Any]) -> str:
    return " ".join(summary_sentences(pool, pool="p"))


def test_the_headline_is_the_saving_with_its_interval(result: dict[str, Any]) -> None:
    first = summary_sentences(result["pools"]["mmlu_pro_7"], pool="mmlu_pro_7")[0]
    assert first.startswith("On mmlu_pro_7, default saves 66 % [61, 71] of the cost at 97 %")


def test_a_loss_is_told_with_its_size(result: dict[str, Any]) -> None:
    told = words_of(result["pools"]["mmlu_pro_7"])
    assert "loses to domain_table at 99 % by 4.2 points [2.4, 6.0] and at 100 % by 3.1 points [0.3, 5.9]" in told
    assert "reads labels that a gateway never sees" in told


def test_no_loss_and_no_gain_is_claimed_when_the_intervals_include_zero(result: dict[str, Any]) -> None:
    told = words_of(result["pools"]["tiny_pool"])
    assert "shows no saving" in told
    assert "includes 0" in told
    assert "loses to" not in told
    assert "gains nothing proven" in told
    assert "better than knn" not in told


@pytest.mark.parametrize(("difference", "is_told"), [([-3.0, -5.0, -0.1], True), ([-3.0, -6.1, 0.1], False)])
def test_whether_a_loss_is_claimed_hangs_on_the_interval_alone(
    result: dict[str, Any], difference: list[float], is_told: bool
) -> None:
    pool = result["pools"]["tiny_pool"]
    pool["policies"]["default"]["versus"]["knn"] = {"save_97": difference}
    assert ("default loses to knn at 97 % by 3.0 points" in words_of(pool)) is is_told


def test_a_difference_that_only_the_other_side_recorded_counts_turned_round(result: dict[str, Any]) -> None:
    pool = result["pools"]["tiny_pool"]
    pool["policies"]["default"]["versus"] = {}
    pool["policies"]["knn"]["versus"] = {"default": {"save_97": [3.0, 1.0, 5.0]}}
    assert "default loses to knn at 97 % by 3.0 points [1.0, 5.0]" in words_of(pool)


def test_a_metric_where_less_is_better_is_lost_by_having_more(result: dict[str, Any]) -> None:
    pool = result["pools"]["tiny_pool"]
    pool["policies"]["default"]["versus"]["knn"] = {"cost_of_pass": [0.00002, 0.00001, 0.00003]}
    assert "default loses to knn in cost per correct answer by $0.0200 per 1,000" in words_of(pool)


def test_a_negative_saving_is_called_a_loss_of_money(result: dict[str, Any]) -> None:
    policy = result["pools"]["tiny_pool"]["policies"]["default"]
    policy["save"]["97"], policy["ci"]["save_97"] = -8.0, [-12.0, -4.0]
    told = words_of(result["pools"]["tiny_pool"])
    assert "costs 8 % [4, 12] more" in told
    assert "routing loses money" in told


def test_a_level_that_is_not_reached_is_told_and_who_reaches_it(result: dict[str, Any]) -> None:
    pool = deepcopy(result["pools"]["mmlu_pro_7"])
    pool["policies"]["default"]["save"] = dict.fromkeys(LEVELS)
    told = words_of(pool)
    assert "default never reaches 97 % of the accuracy of pro/reasoning:high" in told
    assert "100 % is reached by knn, gbdt" in told


def test_without_intervals_nothing_is_called_proven(result: dict[str, Any]) -> None:
    pool = result["pools"]["mmlu_pro_7"]
    for policy in pool["policies"].values():
        policy["ci"], policy["versus"] = None, None
    told = words_of(pool)
    assert "the run has no interval for it" in told
    assert "no paired comparisons" in told
    assert "loses to" not in told


def test_domains_are_lost_only_beyond_chance(result: dict[str, Any]) -> None:
    told = words_of(result["pools"]["mmlu_pro_7"])
    # law: .620 against .97 * .70 = .679 with n = 900: standard error .022, so .059 is beyond 1.96 of it.
    assert "it loses clearly on law (−8.0 points, n = 900)" in told
    assert "costs more than the best single arm on history" in told
    result["pools"]["mmlu_pro_7"]["policies"]["default"]["by_domain"]["law"]["n"] = 90
    assert "no domain is clearly lost" in words_of(result["pools"]["mmlu_pro_7"])


def test_a_promise_that_was_not_kept_is_told(result: dict[str, Any]) -> None:
    pool = result["pools"]["mmlu_pro_7"]
    assert "realises 96.8 % of the best single arm's accuracy where 97 % was asked: it falls short" in words_of(pool)
    pool["policies"]["default"]["save_committed"]["97"]["realised_ratio"] = 0.971
    assert "it keeps its promise" in words_of(pool)


def test_the_weakest_perturbation_is_named(result: dict[str, Any]) -> None:
    assert "least under upper case (88 %); below 90 % under upper case" in words_of(result["pools"]["mmlu_pro_7"])


def test_without_a_default_the_best_policy_that_needs_no_labels_speaks(result: dict[str, Any]) -> None:
    pool = result["pools"]["mmlu_pro_7"]
    for name in ("default", "default_teacher"):
        del pool["policies"][name]
    assert summary_sentences(pool)[0].startswith("On this pool, knn saves 59 %")


def test_a_pool_without_policies_says_so() -> None:
    assert summary_sentences({"policies": {}}, pool="p") == ["On p no policy was run."]
