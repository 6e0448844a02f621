"""The zoo as the benchmark sees it: fit on one part, forecast another, share what is common."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policies.policy import ArmFacts
from policies.tables import OutcomeTable
from policies.tradeoff import TradeOff
from training.contender import Contender, Sample
from training.inputs import make_inputs
from training.offline import contexts_of
from training.zoo.contenders import Fits, LinearContender, ZooContender, priced_usd, zoo_contenders
from training.zoo.fit import FITS

FAST = ("global_means", "cluster", "knn", "logistic", "linear")


@pytest.fixture
def sample(world: OutcomeTable, encoder: Any) -> Sample:
    return Sample(world, make_inputs(world, encoder.encode(world.prompts)))


def split(sample: Sample) -> tuple[Sample, Sample]:
    first = np.arange(len(sample)) < len(sample) // 2
    return sample.rows(first), sample.rows(~first)


@pytest.mark.parametrize("contender", zoo_contenders(FAST), ids=lambda each: each.name)
def test_a_forecast_is_what_the_served_policy_expects(contender: Contender, sample: Sample) -> None:
    train, test = split(sample)
    fitted = contender.fit(train, seed=0)
    forecast, arms = fitted.forecast(test), [ArmFacts(a, p) for a, p in zip(test.table.arms, test.table.prices)]  # noqa: B905
    assert fitted.policy is not None
    for row, context in enumerate(contexts_of(test.table, test.inputs.embeddings)[:25]):
        served = fitted.policy.score(context, arms, TradeOff(1.0)).predictions
        assert forecast.quality[row] == pytest.approx(served.quality, abs=1e-5)
        assert forecast.usd[row] == pytest.approx(served.usd, rel=1e-4)
        assert forecast.far[row] == served.far


@pytest.mark.parametrize("name", FAST)
def test_where_only_costs_were_recorded_they_are_forecast(name: str, sample: Sample) -> None:
    bare = Sample(replace(sample.table, prices=(None, None)), sample.inputs)
    train, test = split(bare)
    forecast = zoo_contenders([name])[0].fit(train, seed=0).forecast(test)
    assert forecast.usd == pytest.approx(test.table.usd, rel=1e-3)  # every request of this world costs the same


def test_prices_bill_the_billed_prompt_and_the_expected_answer(sample: Sample) -> None:
    usd = priced_usd(sample, np.full((600, 2), 200.0), sample.inputs.input_ratio, otherwise=np.full((600, 2), np.nan))
    # 10 billed tokens per prompt on average, 200 of answer, at 0.1 and 10 USD per million.
    assert usd.mean(axis=0) == pytest.approx([210 * 1e-7, 210 * 1e-5])


def test_recorded_times_reach_the_forecast(sample: Sample) -> None:
    timed = Sample(replace(sample.table, seconds=np.full((600, 2), 2.0)), sample.inputs)
    seconds = ZooContender("global_means").fit(timed, seed=0).forecast(timed).seconds
    assert seconds == pytest.approx(np.full((600, 2), 2.0))
    assert ZooContender("global_means").fit(sample, seed=0).forecast(sample).seconds is None


def test_contenders_made_together_fit_the_shared_parts_once(sample: Sample) -> None:
    fits = Fits()
    one = ZooContender("cluster", fits=fits).fit(sample, seed=0)
    two = ZooContender("knn", fits=fits).fit(sample, seed=0)
    linear = LinearContender(fits=fits).fit(sample, seed=0)
    assert linear.shared is fits.shared
    assert set(fits.learned) == {"cluster", "knn"}
    assert (one.served.tokens.weights == two.served.tokens.weights).all()


def test_another_sample_or_seed_is_never_answered_from_memory(sample: Sample) -> None:
    fits, (train, test) = Fits(), split(sample)
    alone = ZooContender("cluster").fit(test, seed=1)
    ZooContender("cluster", fits=fits).fit(train, seed=1)
    after = ZooContender("cluster", fits=fits).fit(test, seed=1)
    ours, theirs = (each.served.to_tensors() for each in (after, alone))
    assert all((ours[name] == theirs[name]).all() for name in theirs if name != "tokens.latency")
    first, second = fits.on(test, seed=1), fits.on(test, seed=2)
    assert first is not second


def test_all_of_the_zoo_competes_and_the_blend_goes_last() -> None:
    names = [contender.name for contender in zoo_contenders()]
    assert sorted(names) == sorted([*FITS, "linear"])
    assert names[-1] == "blend"
    assert not any(contender.needs_labels for contender in zoo_contenders())
