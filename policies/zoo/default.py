"""The default policy: a distilled prior and small online offsets, all of it one look at the landmarks.

A teacher (`training.prior`) blends what is slow to serve; here serve the numbers that reproduce it. Quality, tokens and
cost are linear in the same features, the guard reads the same distances, and the offsets the same nearest landmark, so
one decision costs two small products.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from policies.context import Context
from policies.errors import ArtifactError
from policies.policy import ArmFacts
from policies.predictions import Reals
from policies.zoo.basis import Floats, Tensors, check_shapes
from policies.zoo.guard import Guard
from policies.zoo.landmark_basis import LandmarkBasis, Look
from policies.zoo.offsets import Offsets
from policies.zoo.one_query import OneQuery
from policies.zoo.predictive import PredictivePolicy
from policies.zoo.quality import Expectations, Levels, QualityModel
from policies.zoo.roster import Roster
from policies.zoo.tokens import TokenModel

_PREFIX = "distilled.basis"


@dataclass(frozen=True, slots=True)
class DistilledModel:
    """Expected scores as the teacher gives them, linear in the landmark features.

    Attributes:
        weights: Shape (n_outputs, m).
        centre: Mean of the features over the training queries, shape (n_outputs,).
        means: Mean of the teacher's predictions, shape (m,).
        mass: Training queries nearest to each landmark, shape (n_landmarks,).
    """

    basis: LandmarkBasis
    weights: Reals
    centre: Reals
    means: Reals
    mass: Reals

    @property
    def n_arms(self) -> int:
        return int(self.weights.shape[1])

    @property
    def dim(self) -> int:
        return self.basis.dim

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Expected score in [0, 1], shape (n, m)."""
        return self.quality_of(self.basis.look(embeddings, lexical))

    def quality_of(self, look: Look) -> Reals:
        """The same of queries already looked at."""
        quality: Reals = np.clip(self.means + (look.features - self.centre) @ self.weights, 0.0, 1.0)
        return quality

    def evidence(self, look: Look) -> Reals:
        """Training queries that a prediction rests on, by the kernel's weight of them, shape (n,)."""
        evidence: Reals = look.features[:, : self.basis.n_landmarks] @ self.mass
        return evidence

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As float32 arrays named ``distilled.*``."""
        parts = ("weights", "centre", "means", "mass")
        own = {f"distilled.{part}": getattr(self, part).astype(np.float32) for part in parts}
        return own | self.basis.tensors(_PREFIX)

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "DistilledModel":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together.
        """
        basis = LandmarkBasis.from_tensors(tensors, _PREFIX)
        parts = ("weights", "centre", "means", "mass")
        weights, centre, means, mass = (tensors[f"distilled.{part}"].astype(np.float64) for part in parts)
        check_shapes(
            {
                "distilled.weights": (weights.shape, (basis.n_outputs, len(means))),
                "distilled.centre": (centre.shape, (basis.n_outputs,)),
                "distilled.mass": (mass.shape, (basis.n_landmarks,)),
            }
        )
        return cls(basis, weights, centre, means, mass)

    @classmethod
    def example(cls, *, n_arms: int, dim: int) -> "DistilledModel":
        """Small random weights."""
        basis, rng = LandmarkBasis.example(dim=dim), np.random.default_rng(7)
        weights = rng.normal(scale=0.1, size=(basis.n_outputs, n_arms))
        return cls(basis, weights, np.zeros(basis.n_outputs), np.full(n_arms, 0.6), np.full(basis.n_landmarks, 5.0))


class DefaultPolicy(PredictivePolicy):
    """Prior + offsets; takes the eligible arm of highest predicted utility."""

    name = "default"
    model_type = DistilledModel

    def __init__(
        self,
        model: QualityModel,
        tokens: TokenModel,
        guard: Guard | None,
        levels: Levels,
        *,
        arms: Sequence[str],
        encoder_id: str,
        version: str = "",
        offsets: Offsets | None = None,
    ) -> None:
        """Serve parts that share one basis; without ``offsets`` the prior alone serves.

        Raises:
            ArtifactError: The parts do not belong together or a number is not finite.
        """
        prior = _prior_of(model)
        self._prior = prior
        self.offsets = offsets or _none_seen(prior.basis.n_landmarks, levels)
        super().__init__(model, tokens, guard, levels, arms=arms, encoder_id=encoder_id, version=version)
        if self.offsets.n_arms != len(arms):
            raise ArtifactError(f"offsets are of {self.offsets.n_arms} arms, not of {len(arms)}; train it again")
        self._one = OneQuery(
            prior.basis,
            quality=(prior.weights, prior.centre, prior.means),
            mass=prior.mass,
            model=model,
            tokens=tokens,
            guard=guard,
            levels=levels,
            offsets=self.offsets,
        )

    @classmethod
    def from_tensors(cls, tensors: Tensors, *, arms: Sequence[str], encoder_id: str, version: str = "") -> Self:
        """The inverse of ``to_tensors``; what the parts share is stored once.

        Raises:
            ArtifactError: A tensor is missing, of a wrong shape or not finite.
        """
        model, tokens, guard, levels = cls._parts(_shared(tensors))
        try:
            offsets = Offsets.from_tensors(tensors, n_landmarks=_prior_of(model).basis.n_landmarks)
        except (KeyError, IndexError, ValueError) as problem:
            raise ArtifactError(
                f"the artifact lacks weights of a default policy ({problem}); train it again"
            ) from problem
        return cls(model, tokens, guard, levels, arms=arms, encoder_id=encoder_id, version=version, offsets=offsets)

    @classmethod
    def example(cls, arms: Sequence[ArmFacts]) -> Self:
        """Small random weights for all but the last of ``arms``, on embeddings of 8 numbers."""
        names = [arm.name for arm in arms[:-1]] or [arms[0].name]
        m, plain = len(names), TokenModel.example(n_arms=len(names), dim=8)
        model = DistilledModel.example(n_arms=m, dim=8)
        basis, d = model.basis, model.basis.n_outputs
        weights = np.random.default_rng(1).normal(scale=0.1, size=(d, 2 * m))
        tokens = replace(plain, basis=basis, weights=weights, centre=np.zeros(d))
        guard = Guard(basis.centre, basis.projection, basis.landmarks, basis.metric, Guard.example(dim=8).bounds)
        levels = Levels(np.full(m, 0.6), np.full(m, 0.5), np.full(m, 0.4))
        return cls(model, tokens, guard, levels, arms=names, encoder_id="example", version="example")

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """All of it as named arrays, for an artifact."""
        shared = ("tokens.basis.", "guard.centre", "guard.projection", "guard.landmarks", "guard.metric")
        own = super().to_tensors() | self.offsets.tensors()
        return {name: values for name, values in own.items() if not name.startswith(shared)}

    def expect(self, embeddings: Floats, lexical: Floats) -> Expectations:
        """Predictions of every trained arm for many queries: ``embeddings`` (n, dim), ``lexical`` (n, n_features)."""
        look = self._prior.basis.look(embeddings, lexical)
        kept, far = np.ones(len(look.distance)), np.zeros(len(look.distance), dtype=np.bool_)
        if self.guard is not None:
            kept, far = self.guard.familiarity(look.distance), self.guard.is_far(look.distance)
        quality, levels, share = self._quality_of(look), self.levels, kept[:, None]
        spending = self.tokens.spending_of(look.features, kept=kept)
        cell = self.offsets.cells[look.nearest]
        known = share * levels.residual_sd**2 / (1.0 + self._prior.evidence(look))[:, None]
        unknown = (1.0 - share) * levels.spread_sd**2
        shifted = levels.means + share * (quality - levels.means) + self.offsets.mean(cell)
        return Expectations(
            quality=np.clip(shifted, 0.0, 1.0),
            quality_sd=np.sqrt(known + unknown + self.offsets.variance(cell)),
            output_tokens=spending.output_tokens,
            usd=spending.usd,
            seconds=spending.seconds,
            familiarity=kept,
            far=far,
        )

    def _expect_one(self, context: Context) -> Expectations:
        if context.embedding.shape == (self.embedding_dim,):
            return self._one.expect(context.embedding, context.features)
        return super()._expect_one(context)

    def _quality_of(self, look: Look) -> Reals:
        trained = self._prior.quality_of(look)
        return self.model.enrol(trained) if isinstance(self.model, Roster) else trained


def _prior_of(model: QualityModel) -> DistilledModel:
    prior = model.base if isinstance(model, Roster) else model
    if not isinstance(prior, DistilledModel):
        raise ArtifactError(f"a default policy serves a distilled model, not {type(prior).__name__}; train it again")
    return prior


def _shared(tensors: Tensors) -> dict[str, NDArray[Any]]:
    """``tensors`` with the basis also under the names by which cost model and guard look for theirs."""
    basis = {name: values for name, values in tensors.items() if name.startswith(f"{_PREFIX}.")}
    tokens = {name.replace(_PREFIX, "tokens.basis"): values for name, values in basis.items()}
    parts = ("centre", "projection", "landmarks", "metric") if "guard.bounds" in tensors else ()
    guard = {f"guard.{part}": basis[f"{_PREFIX}.{part}"] for part in parts if f"{_PREFIX}.{part}" in basis}
    return dict(tensors) | tokens | guard


def _none_seen(n_landmarks: int, levels: Levels) -> Offsets:
    m = len(levels.means)
    return Offsets.fresh(
        np.zeros(n_landmarks, np.int32), prior_sd=np.zeros(m), noise_sd=np.maximum(levels.residual_sd, 1e-3)
    )
