"""An outcome table as a learner sees it: features computed as the gateway computes them, and targets."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.features import estimate_tokens, lexical_features
from policies.tables import OutcomeTable

Floats = NDArray[np.float32]
Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Inputs:
    """n queries × m arms.

    Attributes:
        embeddings / lexical: Shape (n, dim) and (n, n_features).
        prompt_tokens: Estimated tokens of each prompt, shape (n,).
        scores / log_tokens / usd: Shape (n, m): 0..1, natural log of output tokens, USD of the request.
        input_ratio: Billed prompt tokens per estimated prompt token, shape (m,).
    """

    embeddings: Floats
    lexical: Floats
    prompt_tokens: Reals
    scores: Reals
    log_tokens: Reals
    usd: Reals
    input_ratio: Reals

    def __len__(self) -> int:
        return len(self.scores)

    def rows(self, index: NDArray[Any]) -> "Inputs":
        """The rows of an index or mask; ``input_ratio`` stays that of the whole."""
        names = [field.name for field in fields(self) if field.name != "input_ratio"]
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def without_arm(self, column: int) -> "Inputs":
        """The same queries without what is known of one arm."""
        per_arm = ("scores", "log_tokens", "usd", "input_ratio")
        return replace(self, **{name: np.delete(getattr(self, name), column, axis=-1) for name in per_arm})

    def beside(self, other: "Inputs") -> "Inputs":
        """The rows of both; ``input_ratio`` stays that of these."""
        names = [field.name for field in fields(self) if field.name != "input_ratio"]
        return replace(self, **{name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in names})


def make_inputs(table: OutcomeTable, embeddings: Floats) -> Inputs:
    """Features and targets of a table."""
    estimated = np.array([estimate_tokens(prompt) for prompt in table.prompts], dtype=np.float64)
    return Inputs(
        embeddings=embeddings,
        lexical=np.stack([lexical_features(prompt) for prompt in table.prompts]),
        prompt_tokens=estimated,
        scores=table.scores,
        log_tokens=np.log(np.maximum(table.completion_tokens, 1).astype(np.float64)),
        usd=table.usd,
        input_ratio=table.input_tokens.sum(axis=0) / estimated.sum(),
    )
