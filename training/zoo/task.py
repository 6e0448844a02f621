"""What a model of quality is fitted on, and what a fit gives back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from policies.arms import Arm
from policies.prices import Price
from policies.zoo.quality import QualityModel
from training.inputs import Inputs
from training.rewordings import Reworded


@dataclass(frozen=True, slots=True)
class FitTask:
    """Training queries, and what is known of the arms whose columns they have.

    Attributes:
        arms / prices: In the order of the columns of ``inputs.scores``; a price is None where only costs were recorded.
        encoder_id: Of the embeddings.
        reworded: Some of the queries in other words.
        domains: Label of each query, shape (n,); None: they have none.
        done: Models already fitted on these very inputs with this seed, by name: a blend then fits none of them twice.
    """

    inputs: Inputs
    arms: Sequence[Arm]
    prices: Sequence[Price | None]
    encoder_id: str = ""
    seed: int = 0
    reworded: Reworded | None = None
    domains: NDArray[np.str_] | None = None
    done: "Mapping[str, Learned]" = field(default_factory=dict)

    def rows(self, mask: NDArray[np.bool_]) -> "FitTask":
        """The same task on the queries where ``mask``, shape (n,), is true."""
        reworded = None if self.reworded is None else self.reworded.among(mask)
        domains = None if self.domains is None else self.domains[mask]
        return replace(self, inputs=self.inputs.rows(mask), reworded=reworded, domains=domains, done={})

    def without_arm(self, column: int) -> "FitTask":
        """The same task as if nobody had met one of the arms."""
        arms, prices = list(self.arms), list(self.prices)
        del arms[column], prices[column]
        return replace(self, inputs=self.inputs.without_arm(column), arms=arms, prices=prices, done={})


@dataclass(frozen=True, slots=True)
class Learned:
    """A fitted model of quality.

    Attributes:
        facts: Settings chosen and sizes, as JSON values, for the artifact and the report.
    """

    model: QualityModel
    facts: dict[str, Any] = field(default_factory=dict)


class FitModel(Protocol):
    """A function ``fit`` of one of the modules here."""

    def __call__(self, task: FitTask) -> Learned:
        """Fit on ``task.inputs`` alone; hyper-parameters by cross-validation within it. Same seed, same bytes."""
        ...


def folds_of(n_rows: int, n_folds: int, *, seed: int) -> NDArray[np.int64]:
    """A fold number for each row, of equal sizes up to one, shape (n_rows,); fewer folds than asked for few rows."""
    return np.random.default_rng(seed).permutation(n_rows) % max(min(n_folds, n_rows), 1)
