"""What one fit leaves behind: families share it, rows are set aside where none are kept, policies are probed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from policies.context import Context
from policies.policy import ArmFacts, Policy, Scores
from policies.predictions import Predictions
from policies.tables import OutcomeTable
from policies.tradeoff import TradeOff
from training.benchmark.fit import PartSamples, Probes, checked, family_of, fit_part
from training.benchmark.robustness import MAX_PROMPTS, balanced_trade_off, changed_prompts, same_arm_pct
from training.benchmark.splits import BenchmarkError
from training.contender import Fitted, Forecast, Sample
from training.contenders.baselines import global_means
from training.inputs import make_inputs

Floats = NDArray[np.float32]


def embed(prompts: Sequence[str]) -> Floats:
    """1 where the prompt begins with a capital letter."""
    return np.array([[float(prompt[:1].isupper())] for prompt in prompts], np.float32)


NOTHING = Probes(embed, {}, frozenset())


class Capital:
    """Takes the second arm for prompts that begin with a capital letter."""

    name, version, encoder_id = "capital", "1", ""

    def score(self, context: Context, arms: Sequence[ArmFacts], trade_off: TradeOff) -> Scores:
        dist = np.array([0.0, 1.0] if context.embedding[0] else [1.0, 0.0])
        return Scores(dist, Predictions(dist, dist, dist, dist))


@dataclass
class Twin:
    """Two names out of one fit, counted."""

    name: str
    fits: list[int] = field(default_factory=list)
    needs_labels: bool = False
    family: str = "twins"

    def fit(self, train: Sample, *, seed: int) -> Fitted:
        return self.fit_family(train, seed=seed)[self.name]

    def fit_family(self, train: Sample, *, seed: int) -> Mapping[str, Fitted]:
        self.fits.append(len(train))
        served = global_means().fit(train, seed=seed)
        return {"one": replace(served, policy=Capital(), held_out=None), "other": served}


@pytest.fixture
def halves(world: OutcomeTable) -> tuple[Sample, Sample]:
    sample = Sample(world, make_inputs(world, embed(world.prompts)))
    first = np.arange(len(world)) < 300
    return sample.rows(first), sample.rows(~first)


def samples(train: Sample, test: Sample) -> PartSamples:
    return PartSamples(lambda: train, lambda: test, seed=0)


def test_a_family_is_fitted_once_for_all_its_names(halves: tuple[Sample, Sample]) -> None:
    train, test = halves
    one, other, spare = Twin("one"), Twin("other"), Twin("one")
    records = fit_part([other, one], [Twin("other"), spare], samples(train, test), seed=0, probes=NOTHING)
    assert family_of(one) == family_of(other) == "twins"
    assert set(records) == {"one", "other"}
    assert other.fits == [300]
    assert one.fits == []
    assert spare.fits == [240]  # four in five rows, to commit to a λ on the fifth: it keeps no held-out forecasts


def test_a_contender_alone_is_its_own_family() -> None:
    assert family_of(global_means()) == "global_means"


def test_a_policy_is_timed_and_a_yardstick_is_not(halves: tuple[Sample, Sample]) -> None:
    train, test = halves
    records = fit_part(
        [Twin("one"), Twin("other")], [Twin("one"), Twin("other")], samples(train, test), seed=0, probes=NOTHING
    )
    assert 0.0 < records["one"].facts["decision_us"] < 10_000.0
    assert "decision_us" not in records["other"].facts


def test_robustness_is_the_percent_of_prompts_that_keep_their_arm(halves: tuple[Sample, Sample]) -> None:
    train, test = halves
    capitals = Probes(embed, {"half": _every_other_capital, "same": lambda text, rng: text}, frozenset({"one"}))
    facts = fit_part([Twin("one")], [Twin("one")], samples(train, test), seed=0, probes=capitals)["one"].facts
    numbers = [int(prompt.split()[-1]) for prompt in test.table.prompts]
    assert facts["robustness"] == {"half": pytest.approx(100.0 * np.mean(np.array(numbers) % 2)), "same": 100.0}


def _every_other_capital(text: str, rng: np.random.Generator) -> str:
    return text if int(text.split()[-1]) % 2 else text.capitalize()


def test_perturbations_draw_the_same_whatever_the_company(world: OutcomeTable) -> None:
    policy: Policy = Capital()

    def maybe(text: str, rng: np.random.Generator) -> str:
        return text.capitalize() if rng.random() < 0.5 else text

    asked: dict[str, Any] = {"embed": embed, "trade_off": balanced_trade_off(world), "seed": 3}
    alone = same_arm_pct(policy, world, perturbations={"maybe": maybe}, **asked)
    beside = same_arm_pct(policy, world, perturbations={"other": maybe, "maybe": maybe}, **asked)
    assert alone["maybe"] == beside["maybe"]
    assert 40.0 < alone["maybe"] < 60.0  # 500 tosses: standard error 2.2


def test_pools_that_share_prompts_ask_for_the_same_changed_ones(world: OutcomeTable) -> None:
    def noted(text: str, rng: np.random.Generator) -> str:
        return f"{text} {rng.integers(1 << 40)}"

    backwards = replace(world, prompts=world.prompts[::-1])
    one, other = (changed_prompts(each, {"noted": noted})["noted"] for each in (world, backwards))
    assert len(one) == MAX_PROMPTS < len(world)
    assert one == other[::-1]
    assert one != changed_prompts(world, {"another name": noted})["another name"]


def test_balanced_trade_off_is_the_price_of_one_more_correct_answer(world: OutcomeTable) -> None:
    usd, accuracy = world.usd.mean(axis=0), world.scores.mean(axis=0)
    expected = (accuracy[1] - accuracy[0]) / (usd[1] - usd[0])
    assert balanced_trade_off(world).quality_per_usd == pytest.approx(expected)


@pytest.mark.parametrize("broken", ["nan", "shape", "far"])
def test_a_forecast_that_cannot_be_played_is_refused_by_name(broken: str) -> None:
    quality = np.full((3, 2), np.nan if broken == "nan" else 0.5)
    rows = 2 if broken == "far" else 3
    forecast = Forecast(quality, np.ones((3, 3 if broken == "shape" else 2)), far=np.zeros(rows, dtype=np.bool_))
    with pytest.raises(BenchmarkError, match="policy 'odd': its"):
        checked(forecast, "odd", shape=(3, 2))
