"""The zoo as the benchmark compares it: every policy is fitted, rounded as an artifact rounds, and asked in batches.

Contenders made together share what they have in common (cost model, guard, models that a blend has as members), so that
comparing a dozen of them costs little more than fitting each model of quality once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from policies.policy import Policy
from policies.zoo.known import USD_PER_TOKEN_OF_PRICE
from policies.zoo.linear import LinearPolicy
from policies.zoo.predictive import PredictivePolicy
from training.contender import Contender, Forecast, Sample
from training.inputs import Reals
from training.linear import LinearSettings, fit_linear
from training.zoo.fit import FITS, SharedParts, assemble, fit_model, fit_shared
from training.zoo.task import FitTask, Learned


@dataclass(slots=True)
class FittedZoo:
    """A policy of the zoo on one training sample; satisfies ``Fitted``. ``served`` and ``policy`` are the same."""

    served: PredictivePolicy
    policy: Policy | None
    facts: dict[str, Any]
    held_out: Forecast | None = None

    def forecast(self, queries: Sample) -> Forecast:
        """Quality, cost and time of every arm, by the batch path of what serves."""
        expected = self.served.expect(queries.inputs.embeddings, queries.inputs.lexical)
        usd = priced_usd(queries, expected.output_tokens, self.served.tokens.input_ratio, otherwise=expected.usd)
        seconds = expected.seconds if np.isfinite(expected.seconds).any() else None
        return Forecast(quality=expected.quality, usd=usd, far=expected.far, seconds=seconds)


@dataclass(slots=True)
class FittedLinear:
    """The ``linear`` policy on one training sample, with the zoo's cost model where there is no price."""

    served: LinearPolicy
    policy: Policy | None
    shared: SharedParts
    input_ratio: Reals
    facts: dict[str, Any]
    held_out: Forecast | None = None

    def forecast(self, queries: Sample) -> Forecast:
        """Quality and tokens by the policy's own batch path."""
        inputs = queries.inputs
        expected = self.served.expect(inputs.embeddings, inputs.lexical)
        kept = expected.familiarity.astype(np.float64)
        spending = self.shared.tokens.spending(inputs.embeddings, inputs.lexical, kept=kept)
        tokens = expected.output_tokens.astype(np.float64)
        return Forecast(
            quality=expected.quality.astype(np.float64),
            usd=priced_usd(queries, tokens, self.input_ratio, otherwise=spending.usd),
            far=expected.far,
            seconds=spending.seconds if np.isfinite(spending.seconds).any() else None,
        )


def priced_usd(queries: Sample, output_tokens: Reals, input_ratio: Reals, *, otherwise: Reals) -> Reals:
    """USD of each cell by the pool's prices, shape (n, m); ``otherwise`` where the pool has none."""
    usd = np.array(otherwise, dtype=np.float64)
    prompt_tokens = queries.inputs.prompt_tokens
    for arm, price in enumerate(queries.table.prices):
        if price is not None:
            input_usd = prompt_tokens * input_ratio[arm] * price.input
            usd[:, arm] = (input_usd + output_tokens[:, arm] * price.output) * USD_PER_TOKEN_OF_PRICE
    return usd


@dataclass(slots=True)
class Fits:
    """What was fitted on the last training sample, for whoever is fitted on it next."""

    sample: Sample | None = None
    seed: int = 0
    shared: SharedParts | None = None
    learned: dict[str, Learned] = field(default_factory=dict)

    def on(self, train: Sample, *, seed: int) -> SharedParts:
        """The shared parts on ``train``; forgets any other sample."""
        if self.shared is None or self.sample is not train or self.seed != seed:
            self.sample, self.seed, self.learned = train, seed, {}
            self.shared = fit_shared(train.inputs, seed=seed, seconds=train.table.seconds)
        return self.shared


class ZooContender:
    """Any policy of ``training.zoo.fit.FITS``, by name."""

    needs_labels = False

    def __init__(self, name: str, *, encoder_id: str = "", fits: Fits | None = None) -> None:
        self.name, self._encoder_id, self._fits = name, encoder_id, fits or Fits()

    def fit(self, train: Sample, *, seed: int) -> FittedZoo:
        """Fit on ``train``; raises PolicyError where no policy of the zoo has the name."""
        shared = self._fits.on(train, seed=seed)
        task = task_of(train, encoder_id=self._encoder_id, seed=seed, done=self._fits.learned)
        learned = fit_model(self.name, task)
        self._fits.learned[self.name] = learned
        policy = assemble(self.name, learned.model, task, shared=shared)
        n_bytes = sum(values.nbytes for values in policy.to_tensors().values())
        return FittedZoo(policy, policy, learned.facts | {"artifact_bytes": n_bytes})


class LinearContender:
    """The ``linear`` policy: kernel ridge with landmarks."""

    name, needs_labels = "linear", False

    def __init__(self, *, encoder_id: str = "", fits: Fits | None = None) -> None:
        self._encoder_id, self._fits = encoder_id, fits or Fits()

    def fit(self, train: Sample, *, seed: int) -> FittedLinear:
        """Fit on ``train``."""
        shared = self._fits.on(train, seed=seed)
        feature_map, ridge, chosen = fit_linear(train.inputs, LinearSettings(seed=seed))
        policy = LinearPolicy(feature_map, ridge, arms=train.table.arm_names, encoder_id=self._encoder_id, version="")
        facts = {
            "sharpness": chosen.sharpness,
            "shared_penalty": chosen.shared_penalty,
            "contrast_penalty": chosen.contrast_penalty,
            "token_penalty": chosen.token_penalty,
        }
        return FittedLinear(policy, policy, shared, train.inputs.input_ratio, facts)


def task_of(train: Sample, *, encoder_id: str, seed: int, done: Mapping[str, Learned] | None = None) -> FitTask:
    """A sample as the models of quality see it."""
    table = train.table
    return FitTask(
        train.inputs,
        table.arms,
        table.prices,
        encoder_id=encoder_id,
        seed=seed,
        reworded=train.reworded,
        domains=np.array(table.domains, dtype=np.str_),
        done=done or {},
    )


def zoo_contenders(names: Sequence[str] | None = None, *, encoder_id: str = "") -> tuple[Contender, ...]:
    """The learned policies of the zoo, ``linear`` included, sharing their fits; all if no names are given.

    ``blend`` goes last, so that its members are already fitted when its turn comes.
    """
    wanted = sorted(names if names is not None else (*FITS, "linear"), key=lambda name: name == "blend")
    fits = Fits()
    return tuple(
        LinearContender(encoder_id=encoder_id, fits=fits)
        if name == "linear"
        else ZooContender(name, encoder_id=encoder_id, fits=fits)
        for name in wanted
    )
