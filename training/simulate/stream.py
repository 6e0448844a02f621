"""A stream over an outcome table: its queries in a random order, with what the scenario makes of each arm's outcome."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from policies.context import Context
from policies.policy import ArmFacts
from policies.predictions import Reals
from policies.prices import Price
from policies.tables import OutcomeTable
from training.inputs import Inputs
from training.offline import arm_facts
from training.simulate.scenario import Scenario

SHARE_OF_UTILITY = 0.05
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Round:
    """What a policy sees of a request.

    Attributes:
        arms: Those that can be asked, at their present price.
        columns: Their columns in the table, shape (n_arms,).
        tenant: Number of whose request it is.
    """

    context: Context
    arms: tuple[ArmFacts, ...]
    columns: Integers
    tenant: int


@dataclass(frozen=True, slots=True)
class Stream:
    """n requests over m arms, with the truth.

    Attributes:
        scores / usd: What each arm's answer is worth and costs, shape (n, m).
        nano_usd: The same cost as billed, in integer nano-USD, shape (n, m).
        told: What feedback says of each arm's answer, NaN where none comes, shape (n, m).
        eligible: Which arms can be asked, shape (n, m).
        tenants: Shape (n,).
        quality_per_usd: λ: the dearest arm's mean cost is worth ``SHARE_OF_UTILITY``.
        changed: Column of the arm that the scenario changes.
        changed_at: Round from which on it is changed; n if it never is.
    """

    scenario: Scenario
    inputs: Inputs
    contexts: Sequence[Context]
    facts: tuple[tuple[ArmFacts, ...], ...]
    scores: Reals
    usd: Reals
    nano_usd: Integers
    told: Reals
    eligible: NDArray[np.bool_]
    tenants: Integers
    quality_per_usd: float
    changed: int
    changed_at: int

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def rewards(self) -> Reals:
        """score − λ · USD of each arm, shape (n, m)."""
        return np.asarray(self.scores - self.quality_per_usd * self.usd)

    @property
    def joins_at(self) -> int:
        """The first request that the changed arm can answer; n if there is none."""
        able = np.flatnonzero(self.eligible[:, self.changed])
        return int(able[0]) if len(able) else len(self)

    def round(self, at: int) -> Round:
        """What is seen of request ``at``."""
        columns = np.flatnonzero(self.eligible[at])
        facts = self.facts[int(at >= self._priced_at)]
        return Round(self.contexts[at], tuple(facts[column] for column in columns), columns, int(self.tenants[at]))

    @property
    def _priced_at(self) -> int:
        return round(self.scenario.price_at * len(self))


def make_stream(table: OutcomeTable, inputs: Inputs, scenario: Scenario, *, seed: int) -> Stream:
    """The rows of a table in their order as a stream.

    Raises:
        ValueError: The table has no arm of the scenario's name.
    """
    n, m = table.scores.shape
    rng, times = np.random.default_rng([seed, 1]), np.arange(n) / n
    quality_per_usd = SHARE_OF_UTILITY / max(float(table.usd.mean(axis=0).max()), 1e-12)
    column = _column(table, scenario, quality_per_usd)
    scores, usd, nano_usd = table.scores.copy(), table.usd.copy(), table.nano_usd.copy()
    # The draws are made whatever happens, so that two scenarios of a seed differ in nothing else.
    lost, lied, lacking, liar = (
        np.less(rng.random(n), share) for share in (scenario.loss, scenario.noise, scenario.missing, scenario.poison)
    )
    tenants = np.asarray(rng.integers(scenario.n_tenants, size=n), dtype=np.int64)
    scores[lost & (times >= scenario.breaks_at), column] = 0.0
    repriced = times >= scenario.price_at
    usd[repriced, column] *= scenario.price_factor
    nano_usd[repriced, column] = np.ceil(nano_usd[repriced, column] * scenario.price_factor)
    told = np.where(lied[:, None], 1.0 - scores, scores)
    told[liar] = 1.0
    told[liar, column] = 0.0
    told[lacking] = np.nan
    eligible = np.ones((n, m), np.bool_)
    eligible[:, column] = (times >= scenario.joins_at) & ~((times >= scenario.out_from) & (times < scenario.out_until))
    facts = arm_facts(table)
    return Stream(
        scenario, inputs, _contexts(inputs), (facts, _repriced(facts, column, scenario.price_factor)), scores, usd,
        nano_usd, told, eligible, tenants, quality_per_usd, column, changed_at=round(scenario.breaks_at * n),
    )  # fmt: skip


def _contexts(inputs: Inputs) -> Sequence[Context]:
    """As the gateway computes them for a first turn."""
    rows = zip(inputs.embeddings, inputs.lexical, inputs.prompt_tokens.tolist(), strict=True)
    return [Context(embedding=vector, features=lexical, prompt_tokens=int(tokens)) for vector, lexical, tokens in rows]


def _column(table: OutcomeTable, scenario: Scenario, quality_per_usd: float) -> int:
    if not scenario.arm:
        return int((table.scores - quality_per_usd * table.usd).mean(axis=0).argmax())
    if scenario.arm not in table.arm_names:
        raise ValueError(f"no arm {scenario.arm!r} in {table.name}; it has {', '.join(table.arm_names)}")
    return table.arm_names.index(scenario.arm)


def _repriced(facts: tuple[ArmFacts, ...], column: int, factor: float) -> tuple[ArmFacts, ...]:
    price = facts[column].price
    if price is None:
        return facts
    changed = Price(round(price.input * factor), round(price.output * factor))
    return (*facts[:column], replace(facts[column], price=changed), *facts[column + 1 :])
