"""Scalars and JSON of a policy over a table small enough to work out by hand."""

import numpy as np
import pytest

from policies.arms import Arm
from policies.tables import OutcomeTable
from training.benchmark.measure import arms_of, columns_of, measure
from training.benchmark.pooled import Pooled
from training.benchmark.result import plain_values, pool_result
from training.contender import Forecast


def table(scores: list[list[float]], usd: list[list[float]]) -> OutcomeTable:
    n, m = np.shape(scores)
    whole = np.ones((n, m), dtype=np.int64)
    modes = ("instant", "reasoning", "agentic")
    return OutcomeTable(
        name="small",
        query_ids=tuple(map(str, range(n))),
        prompts=tuple(f"prompt {row}" for row in range(n)),
        domains=("all",) * n,
        arms=tuple(Arm(f"m{index}", modes[index]) for index in range(m)),
        scores=np.array(scores),
        usd=np.array(usd),
        nano_usd=whole,
        prompt_tokens=whole[:, 0],
        input_tokens=whole,
        completion_tokens=whole,
        seconds=np.full((n, m), np.nan),
        prices=(None,) * m,
    )


def knowing(of: OutcomeTable, *, label_free: bool = True, far: float = 0.0) -> Pooled:
    """A router that knows every outcome."""
    n = len(of)
    return Pooled(
        name="knowing",
        label_free=label_free,
        rows=np.arange(n),
        forecasts=(Forecast(of.scores, of.usd, far=np.arange(n) < far * n),),
        reference_usd=(np.full(n, 4.0),),
        committed={level: (np.zeros(n, dtype=np.int64),) for level in ("95", "97", "99", "100")},
        facts={
            "fit_s": 1.0,
            "n_train": 2.0,
            "decision_us": None,
            "lambda": dict.fromkeys(("95", "97", "99", "100"), 0.0),
        }
        | {"robustness": None, "settings": {}},
    )


FOUR = table([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]], [[1.0, 4.0]] * 4)


def test_scalars_of_a_router_that_knows_every_outcome() -> None:
    arms = arms_of(FOUR)
    columns = columns_of(knowing(FOUR), FOUR, arms)
    found = measure(columns.values.mean(axis=0), arms.columns.mean(axis=0), arms, paired=columns.paired)
    # cheap on the two easy and the hopeless one, dear on the third: 7/4 USD at 3/4
    assert found["max_accuracy"] == pytest.approx(0.75)
    assert found["save_100"] == pytest.approx(100 * (1 - 1.75 / 4))
    assert found["cost_of_pass"] == pytest.approx(1.75 / 0.75)
    assert found["cost_of_pass_unconstrained"] == pytest.approx(1.0 / 0.5)
    assert found["cost_of_pass_saving_pct"] == pytest.approx(100 * (1 - (1.75 / 0.75) / (4 / 0.75)))
    assert found["gap_at_oracle"] == pytest.approx(0.0)
    assert found["e3"] == pytest.approx(0.75**2 / 1.75)
    # committed to λ = 0: equal qualities go to the cheaper arm, so it is the same point
    assert found["save_committed_97"] == pytest.approx(100 * (1 - 1.75 / 4))
    assert found["realised_ratio_97"] == pytest.approx(1.0)


def test_far_share_mix_and_domains_are_told() -> None:
    result = pool_result({"knowing": knowing(FOUR, far=0.5)}, FOUR, n_replicates=20, seed=0)
    policy = result["policies"]["knowing"]
    assert policy["far_share"] == 0.5
    assert policy["chosen_at_97"] == {"m0/instant": 0.75, "m1/reasoning": 0.25}
    assert policy["by_domain"]["all"]["accuracy"] == 0.75
    assert policy["by_domain"]["all"]["best_single_usd"] == 4.0
    assert policy["modes_by_usd"][-1] == [1.75, {"instant": 0.75, "reasoning": 0.25}]
    assert result["hull"] == [[1.0, 0.5], [4.0, 0.75]]
    assert result["arms"][0]["seconds"] is None


def test_differences_are_paired_with_default_and_the_other_way_round() -> None:
    both = {"default": knowing(FOUR), "other": knowing(FOUR)}
    policies = pool_result(both, FOUR, n_replicates=20, seed=0)["policies"]
    assert set(policies["default"]["versus"]) == {"other"}
    assert set(policies["other"]["versus"]) == {"default"}
    assert policies["other"]["versus"]["default"]["save_97"] == [0.0, 0.0, 0.0]


def test_a_difference_is_that_of_the_values_inside_its_interval() -> None:
    rng = np.random.default_rng(0)
    many = table((rng.random((200, 3)) < [0.5, 0.6, 0.8]).astype(float).tolist(), [[1.0, 2.0, 4.0]] * 200)
    blind = Forecast(np.tile([0.5, 0.6, 0.8], (200, 1)), many.usd, far=np.zeros(200, dtype=np.bool_))
    means = Pooled(**{name: getattr(knowing(many), name) for name in Pooled.__slots__} | {"forecasts": (blind,)})
    policies = pool_result({"default": knowing(many), "means": means}, many, n_replicates=200, seed=0)["policies"]
    difference, low, high = policies["default"]["versus"]["means"]["max_accuracy"]
    assert difference == pytest.approx(policies["default"]["max_accuracy"] - policies["means"]["max_accuracy"])
    assert 0.0 < low < difference < high
    interval = policies["default"]["ci"]["max_accuracy"]
    assert interval[0] < policies["default"]["max_accuracy"] < interval[1]


def test_a_quality_that_is_never_reached_is_null_and_has_no_interval() -> None:
    cheap = Forecast(np.ones((4, 2)), FOUR.usd, far=np.zeros(4, dtype=np.bool_), dist=np.tile([1.0, 0.0], (4, 1)))
    only = Pooled(**{name: getattr(knowing(FOUR), name) for name in Pooled.__slots__} | {"forecasts": (cheap,)})
    policy = pool_result({"cheapest": only}, FOUR, n_replicates=20, seed=0)["policies"]["cheapest"]
    assert policy["save"] == {"95": None, "97": None, "99": None, "100": None}
    assert policy["ci"]["save_97"] is None
    assert policy["apgr"] is None


def test_same_seed_gives_the_same_result() -> None:
    one, again = (pool_result({"default": knowing(FOUR)}, FOUR, n_replicates=20, seed=5) for _ in range(2))
    assert one == again


def test_what_json_has_no_number_for_becomes_null() -> None:
    assert plain_values({"a": [float("nan"), np.float64("inf"), np.int64(3)], "b": (1.5, None)}) == {
        "a": [None, None, 3],
        "b": [1.5, None],
    }
