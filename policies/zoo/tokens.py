"""What an answer of each arm will take: output tokens, USD where no price is configured, and seconds.

Needs no quality label, so every request that was ever billed teaches it. Source: log-normal regression with smearing
(Duan, 1983); predicted cost beside predicted quality as in CARROT (arXiv 2502.03261).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Basis, Floats, Tensors, check_shapes
from policies.zoo.landmark_basis import LandmarkBasis

_PARTS = ("weights", "means", "centre", "smear", "log_max", "input_ratio", "latency")


@dataclass(frozen=True, slots=True)
class Spending:
    """Expected spending of n queries on m arms, each (n, m).

    Attributes:
        output_tokens: Of the answer, hidden reasoning included where the training counts had it.
        usd: Of the request, as it was billed in training; for arms without a configured price.
        seconds: To the last byte; NaN for an arm whose times were never recorded.
    """

    output_tokens: Reals
    usd: Reals
    seconds: Reals


@dataclass(frozen=True, slots=True)
class TokenModel:
    """Two log-linear regressions per arm, of output tokens and of recorded USD, and a line from tokens to seconds.

    Attributes:
        weights: Of log tokens, then of log USD, shape (n_outputs of the basis, 2m).
        means: Mean log tokens, then mean log USD, over the training queries, shape (2m,).
        centre: Mean of the basis' outputs over the training queries, shape (n_outputs,).
        smear: mean(exp(residual)), so that the mean is predicted and not the median, shape (2m,).
        log_max: Largest value seen of each target; no prediction exceeds it before smearing, shape (2m,).
        input_ratio: Billed prompt tokens per estimated prompt token, shape (m,).
        latency: Seconds to the first token and per output token, NaN where no time was recorded, shape (m, 2).
    """

    basis: Basis | LandmarkBasis
    weights: Reals
    means: Reals
    centre: Reals
    smear: Reals
    log_max: Reals
    input_ratio: Reals
    latency: Reals

    @property
    def n_arms(self) -> int:
        return int(self.input_ratio.shape[0])

    @property
    def dim(self) -> int:
        """Length of the embeddings it reads."""
        return self.basis.dim

    def spending(self, embeddings: Floats, lexical: Floats, *, kept: Reals) -> Spending:
        """Expect ``embeddings`` (n, dim) and ``lexical`` (n, n_lexical); ``kept`` (n,) shrinks to the means below 1."""
        return self.spending_of(self.basis(embeddings, lexical), kept=kept)

    def spending_of(self, features: Reals, *, kept: Reals) -> Spending:
        """The same of queries whose outputs of the basis, shape (n, n_outputs), are known."""
        shifts = (features - self.centre) @ self.weights
        return self._spending(self.means + shifts * kept[:, None])

    def nothing_known(self) -> Spending:
        """What to expect of one query of which nothing is known, each (1, m)."""
        return self._spending(self.means[None, :])

    def _spending(self, logs: Reals) -> Spending:
        m = self.n_arms
        values = np.exp(np.minimum(logs, self.log_max)) * self.smear
        tokens = values[:, :m]
        return Spending(tokens, values[:, m:], self.latency[:, 0] + tokens * self.latency[:, 1])

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As float32 arrays named ``tokens.*``, for an artifact."""
        parts = {f"tokens.{part}": getattr(self, part).astype(np.float32) for part in _PARTS}
        return parts | self.basis.tensors("tokens.basis")

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "TokenModel":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together.
        """
        kind = LandmarkBasis if "tokens.basis.landmarks" in tensors else Basis
        basis = kind.from_tensors(tensors, "tokens.basis")
        model = cls(basis, *(tensors[f"tokens.{part}"].astype(np.float64) for part in _PARTS))
        m, d = model.n_arms, basis.n_outputs
        wanted = ((d, 2 * m), (2 * m,), (d,), (2 * m,), (2 * m,), (m,), (m, 2))
        found = (getattr(model, part).shape for part in _PARTS)
        pairs = zip(found, wanted, strict=True)
        check_shapes({f"tokens.{part}": pair for part, pair in zip(_PARTS, pairs, strict=True)})
        return model

    @classmethod
    def example(cls, *, n_arms: int, dim: int) -> "TokenModel":
        """Answers of about 150 tokens that depend a little on the query; no times."""
        basis, m = Basis.example(dim=dim), n_arms
        return cls(
            basis=basis,
            weights=np.random.default_rng(1).normal(scale=0.1, size=(basis.n_outputs, 2 * m)),
            means=np.repeat([5.0, -7.0], m),
            centre=np.zeros(basis.n_outputs),
            smear=np.ones(2 * m),
            log_max=np.repeat([9.0, 0.0], m),
            input_ratio=np.ones(m),
            latency=np.full((m, 2), np.nan),
        )
