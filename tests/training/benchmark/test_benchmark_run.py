"""The whole driver over the small world: what it measures, what it keeps, and what it refuses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from policies.encoders.base import Encoder
from policies.pools import PoolError
from training.benchmark.run import run_benchmark
from training.benchmark.seeing import ReadyEncoder
from training.benchmark.splits import BenchmarkError
from training.benchmark.task import Benchmark
from training.contender import Contender, Fitted, Sample
from training.contenders.registry import ContenderError, make_contender

BASELINES = ("fixed", "cheapest", "random", "global_means", "domain_table", "oracle")
WriteSet = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path / "cache"))


class Counted:
    """A contender that counts its fits and may fail at one of them."""

    def __init__(self, inner: Contender, fits: list[str], *, fail_at: int | None) -> None:
        self.name, self.needs_labels = inner.name, inner.needs_labels
        self._inner, self._fits, self._fail_at = inner, fits, fail_at

    def fit(self, train: Sample, *, seed: int) -> Fitted:
        if len(self._fits) == self._fail_at:
            raise KeyboardInterrupt
        self._fits.append(self.name)
        return self._inner.fit(train, seed=seed)


@pytest.fixture
def task(write_set: WriteSet, pools_file: Path, tmp_path: Path) -> Benchmark:
    return Benchmark(
        train=write_set("data"),
        pools_file=pools_file,
        out=tmp_path / "run",
        policies=("global_means", "domain_table"),
        n_folds=3,
        n_replicates=50,
    )


def run(
    task: Benchmark, encoder: Encoder, *, fits: list[str] | None = None, fail_at: int | None = None
) -> dict[str, Any]:
    counted = [] if fits is None else fits
    return run_benchmark(
        task,
        seeing=ReadyEncoder(encoder),
        progress=lambda what, done, of: None,
        make=lambda names, *, encoder_id: [Counted(make_contender(name), counted, fail_at=fail_at) for name in names],
    )


def test_result_holds_what_the_issue_names(task: Benchmark, encoder: Encoder) -> None:
    pool = run(replace(task, policies=BASELINES), encoder)["pools"]["easy_hard"]
    assert pool["n_test"] == 120
    assert pool["best_single"]["arm"] == "dear/instant"
    assert set(pool["policies"]) == set(BASELINES)
    for policy in pool["policies"].values():
        assert set(policy["save"]) == set(policy["save_committed"]) == {"95", "97", "99", "100"}
        assert set(policy["save_committed"]["97"]) == {"lambda", "saving_pct", "realised_ratio"}
        assert {"max_accuracy", "aiq", "apgr", "cpt50", "cpt80", "cost_of_pass", "e3", "ci", "curve"} <= set(policy)
        assert len(policy["curve"]) == 122


def test_result_is_strict_json(task: Benchmark, encoder: Encoder) -> None:
    result = run(replace(task, policies=BASELINES), encoder)
    assert orjson.loads(orjson.dumps(result)) == result  # NaN and infinity would come back as None


def test_order_of_policies_is_what_the_world_was_made_for(task: Benchmark, encoder: Encoder) -> None:
    policies = run(replace(task, policies=BASELINES), encoder)["pools"]["easy_hard"]["policies"]
    assert policies["fixed"]["save"]["100"] == pytest.approx(0.0, abs=1e-6)
    assert policies["cheapest"]["save"]["95"] is None
    # half of the queries are easy, and the cheap arm answers those as well as the dear one, for a hundredth
    assert 35.0 < policies["domain_table"]["save"]["95"] < 65.0
    assert policies["oracle"]["save"]["95"] > policies["domain_table"]["save"]["95"]
    assert policies["global_means"]["save"]["95"] < policies["domain_table"]["save"]["95"]
    assert policies["oracle"]["gap_at_oracle"] == pytest.approx(0.0)
    assert policies["oracle"]["brier"] == pytest.approx(0.0)


def test_yardsticks_are_marked(task: Benchmark, encoder: Encoder) -> None:
    policies = run(replace(task, policies=BASELINES), encoder)["pools"]["easy_hard"]["policies"]
    assert [name for name in BASELINES if not policies[name]["label_free"]] == ["domain_table", "oracle"]


def test_second_run_fits_nothing_and_says_the_same(task: Benchmark, encoder: Encoder) -> None:
    fits: list[str] = []
    first = run(task, encoder, fits=fits)
    assert len(fits) == 6
    assert run(task, encoder, fits=fits) == first
    assert len(fits) == 6


def test_second_run_embeds_nothing(task: Benchmark, encoder: Any) -> None:
    run(task, encoder)
    encoded = encoder.n_encoded
    run(task, encoder)
    assert encoder.n_encoded == encoded == 120


def test_killed_run_goes_on_where_it_was(task: Benchmark, encoder: Encoder) -> None:
    fits: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run(task, encoder, fits=fits, fail_at=3)
    assert len(fits) == 3
    resumed = run(task, encoder, fits=fits)
    assert len(fits) == 6
    assert _untimed(resumed) == _untimed(run(replace(task, out=task.out / "fresh"), encoder))


def _untimed(result: dict[str, Any]) -> dict[str, Any]:
    for policy in result["pools"]["easy_hard"]["policies"].values():
        policy["fit_s"] = None
    return result


def test_half_written_forecast_is_fitted_again(task: Benchmark, encoder: Encoder) -> None:
    run(task, encoder)
    file = sorted((task.out / "forecasts").iterdir())[0]
    file.write_bytes(file.read_bytes()[:100])
    fits: list[str] = []
    run(task, encoder, fits=fits)
    assert len(fits) == 1


def test_changed_prices_fit_again(task: Benchmark, encoder: Encoder) -> None:
    run(task, encoder)
    task.pools_file.write_text(task.pools_file.read_text().replace("10.0", "20.0"))
    fits: list[str] = []
    run(task, encoder, fits=fits)
    assert len(fits) == 6


def test_another_seed_fits_again_and_two_seeds_are_averaged(task: Benchmark, encoder: Encoder) -> None:
    fits: list[str] = []
    run(task, encoder, fits=fits)
    both = run(replace(task, n_seeds=2), encoder, fits=fits)
    assert len(fits) == 12
    assert both["seeds"] == 2
    assert both["pools"]["easy_hard"]["n_test"] == 120


def test_an_added_policy_is_the_only_one_fitted(task: Benchmark, encoder: Encoder) -> None:
    run(task, encoder)
    fits: list[str] = []
    run(replace(task, policies=(*task.policies, "fixed")), encoder, fits=fits)
    assert fits == ["fixed"] * 3


def test_separate_folders_fit_on_one_and_judge_on_the_other(
    task: Benchmark, write_set: WriteSet, encoder: Encoder
) -> None:
    fits: list[str] = []
    result = run(replace(task, test=write_set("blind", rows=range(200, 260))), encoder, fits=fits)
    assert result["split"] == "separate"
    assert result["pools"]["easy_hard"]["n_test"] == 60
    assert result["pools"]["easy_hard"]["n_train"] == 120
    assert len(fits) == 2


def test_a_domain_left_out_gets_what_is_known_of_all_others(task: Benchmark, encoder: Encoder) -> None:
    result = run(replace(task, split="domain"), encoder)
    policies = result["pools"]["easy_hard"]["policies"]
    assert result["split"] == "leave-one-domain-out"
    assert policies["domain_table"]["curve"] == policies["global_means"]["curve"]


def test_benchmarks_of_a_set_are_told_apart(task: Benchmark, write_set: WriteSet, encoder: Encoder) -> None:
    result = run(replace(task, train=write_set("mixed", benchmarks=True)), encoder)
    parts = result["pools"]["easy_hard"]["policies"]["domain_table"]["by_benchmark"]
    assert {name: part["n"] for name, part in parts.items()} == {"even": 60, "odd": 60}


def test_unknown_pool_names_the_ones_there_are(task: Benchmark, encoder: Encoder) -> None:
    with pytest.raises(BenchmarkError, match=r"no pool 'nope'; it holds easy_hard"):
        run(replace(task, pools=("nope",)), encoder)


def test_unknown_policy_names_the_ones_there_are(task: Benchmark, encoder: Encoder) -> None:
    with pytest.raises(ContenderError, match="no policy is named 'nope'; choose from default"):
        run(replace(task, policies=("nope",)), encoder)


def test_unknown_split_says_which_there_are(task: Benchmark, encoder: Encoder) -> None:
    with pytest.raises(BenchmarkError, match="use kfold, domain, domains:NAME,NAME or time"):
        run(replace(task, split="halves"), encoder)


def test_missing_set_is_named(task: Benchmark, encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"absent/world/queries\.parquet: no such file"):
        run(replace(task, train=tmp_path / "absent"), encoder)


def test_pool_that_cannot_be_measured_is_told_beside_the_others(task: Benchmark, encoder: Encoder) -> None:
    pools = orjson.loads(task.pools_file.read_bytes()) if task.pools_file else {}
    unlike = {**pools["easy_hard"], "arms": [*pools["easy_hard"]["arms"], {"model": "new", "mode": "reasoning"}]}
    pools |= {"absent": {**pools["easy_hard"], "set": "nowhere"}, "unlike": unlike}
    Path(str(task.pools_file)).write_bytes(orjson.dumps(pools))
    result = run(task, encoder)
    assert list(result["pools"]) == ["easy_hard"]
    assert result["skipped"]["absent"].startswith("data/nowhere/queries.parquet: no such file")
    assert "no row for arm new/reasoning" in result["skipped"]["unlike"]


def test_where_no_pool_can_be_measured_every_reason_is_told(task: Benchmark, encoder: Encoder) -> None:
    pools = orjson.loads(task.pools_file.read_bytes()) if task.pools_file else {}
    absent = {**pools["easy_hard"], "set": "nowhere"}
    Path(str(task.pools_file)).write_bytes(orjson.dumps({"one": absent, "two": absent}))
    with pytest.raises(BenchmarkError, match=r"no pool can be measured: one: .*no such file.*; two: .*no such file"):
        run(task, encoder)


@pytest.mark.parametrize("n_test", [1, 3])
def test_a_handful_of_blind_rows_is_judged(task: Benchmark, write_set: WriteSet, encoder: Encoder, n_test: int) -> None:
    result = run(replace(task, test=write_set("blind", rows=range(200, 200 + n_test))), encoder)
    assert result["pools"]["easy_hard"]["n_test"] == n_test
    assert orjson.loads(orjson.dumps(result)) == result


def test_blind_rows_that_were_taught_are_taken_out_of_the_training(
    task: Benchmark, write_set: WriteSet, encoder: Encoder
) -> None:
    result = run(replace(task, test=write_set("blind", rows=range(110, 130))), encoder)
    assert result["pools"]["easy_hard"]["n_test"] == 20
    assert result["pools"]["easy_hard"]["n_train"] == 110


def test_the_smallest_pool_is_begun_first_and_the_result_keeps_the_order_of_the_file(
    task: Benchmark, write_set: WriteSet, encoder: Encoder
) -> None:
    write_set("other", rows=range(40))
    (task.train.parent / "other" / "world").rename(task.train / "tiny")
    pools = orjson.loads(task.pools_file.read_bytes()) if task.pools_file else {}
    pools["few"] = {**pools["easy_hard"], "set": "tiny"}
    Path(str(task.pools_file)).write_bytes(orjson.dumps(pools))
    told: list[str] = []
    result = run_benchmark(
        task, seeing=ReadyEncoder(encoder), progress=lambda what, done, of: told.append(what.partition(":")[0])
    )
    assert list(dict.fromkeys(each for each in told if each in pools)) == ["few", "easy_hard"]
    assert list(result["pools"]) == ["easy_hard", "few"]
