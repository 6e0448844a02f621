"""The default policy: a distilled prior and small online offsets, all of it one look at the landmarks.

A teacher (`training.prior`) blends what is slow to serve; here serve the numbers that reproduce it. Quality, tokens and
cost are linear in the same features, the guard reads the same distances, and the offsets the same nearest landmark, so
one decision costs two small products.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from policies.context import Context
from policies.errors import ArtifactError
from policies.policy import ArmFacts, Scores
from policies.predictions import Reals
from policies.tradeoff import TradeOff
from policies.zoo.basis import Floats, Tensors
from policies.zoo.choose import careful_utility, pessimistic
from policies.zoo.distilled import BASIS, DistilledModel
from policies.zoo.guard import Guard
from policies.zoo.landmark_basis import Look
from policies.zoo.offsets import Offsets
from policies.zoo.one_query import OneQuery
from policies.zoo.posterior import Posterior
from policies.zoo.predictive import PredictivePolicy
from policies.zoo.quality import Expectations, Levels, QualityModel
from policies.zoo.roster import Roster
from policies.zoo.thompson import Exploring, follow_doubt, normal_points
from policies.zoo.tokens import TokenModel


@dataclass(frozen=True, slots=True)
class Recall:
    """What the prior alone says of n queries: what a late outcome is compared with.

    Attributes:
        quality: Expected scores without offsets, shape (n, m).
        cells: Cell of each query, shape (n,).
    """

    quality: Reals
    cells: NDArray[np.int32]


class DefaultPolicy(PredictivePolicy):
    """Prior + offsets; takes the eligible arm of highest predicted utility, or follows doubt where it may explore."""

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
        self._posterior, self._exploring = self.offsets.posterior(), Exploring(share=0.0)
        self._tested: DefaultPolicy = self
        self._points = self._factor = np.zeros((0, 0))  # made where it explores
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
            cells=self.offsets.cells,
            posterior=self._posterior,
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
        levels, share = self.levels, kept[:, None]
        spending = self.tokens.spending_of(look.features, kept=kept)
        cell = self.offsets.cells[look.nearest]
        known = share * levels.residual_sd**2 / (1.0 + self._prior.evidence(look))[:, None]
        unknown = (1.0 - share) * levels.spread_sd**2
        return Expectations(
            quality=np.clip(self._trusted(look, kept) + self._posterior.mean[cell], 0.0, 1.0),
            quality_sd=np.sqrt(known + unknown + self._posterior.variance[cell]),
            output_tokens=spending.output_tokens,
            usd=spending.usd,
            seconds=spending.seconds,
            familiarity=kept,
            far=far,
            cells=cell,
        )

    def recall(self, embeddings: Floats, lexical: Floats) -> Recall:
        """What the prior alone says of ``embeddings`` (n, dim) and ``lexical`` (n, n_features)."""
        look = self._prior.basis.look(embeddings, lexical)
        kept = np.ones(len(look.distance)) if self.guard is None else self.guard.familiarity(look.distance)
        return Recall(self._trusted(look, kept), self.offsets.cells[look.nearest])

    def with_offsets(
        self,
        offsets: Offsets,
        *,
        posterior: Posterior | None = None,
        exploring: Exploring | None = None,
        version: str | None = None,
    ) -> Self:
        """The same prior with other offsets; only what is looked up is made anew.

        Args:
            posterior: Of the scope to serve, None for everybody's.
            exploring: None: as this policy explores, which after loading is not at all.
            version: Of what serves then; None keeps it, for a policy that no log tells of.

        Raises:
            ArtifactError: The offsets are not of this policy's arms and landmarks.
        """
        shape, own = (offsets.n_arms, len(offsets.cells)), (self.offsets.n_arms, len(self.offsets.cells))
        if shape != own:
            raise ArtifactError(
                f"offsets of {shape[0]} arms and {shape[1]} landmarks, the policy has {own[0]} and {own[1]}"
            )
        served = copy(self)
        served.offsets, served._posterior = offsets, posterior or offsets.posterior()
        served._one = self._one.with_posterior(offsets.cells, served._posterior)
        served._exploring = self._exploring if exploring is None else exploring
        if served._exploring.share > 0.0:
            served._factor = served._posterior.factor
            served._points = self._points if self._points.size else normal_points(offsets.n_arms)
        served.version = self.version if version is None else version
        return served

    def score(self, context: Context, arms: Sequence[ArmFacts], trade_off: TradeOff) -> Scores:
        """One-hot on the arm of highest utility, unless it explores: then, near it, the probability of being best.

        Raises:
            ValueError: The embedding has another length than the artifact's encoder gives.
        """
        if trade_off.quality_floor > 0.0 and self._keeper is not None:
            # What was promised is the policy that was tested: before it learned from traffic, and without exploring.
            return PredictivePolicy.score(self._tested, context, arms, trade_off)
        if self._exploring.share == 0.0:
            return super().score(context, arms, trade_off)
        choice, expected = self.columns.of(arms), self._expect_one(context)
        predictions = self._predictions(choice, expected, context)
        scores = self._best(predictions, arms, trade_off)
        if expected.cells is None:
            return scores
        # An arm that was never run has no posterior to draw from: anchors come first.
        barred = np.array([arm.name in self._exploring.barred for arm in arms])
        if choice.strangers is not None:
            barred |= choice.strangers
        dist = follow_doubt(
            careful_utility(predictions, trade_off),
            self._factor[expected.cells[0]][choice.columns],
            pessimistic(predictions.usd),
            exploring=self._exploring,
            barred=barred,
            points=self._points,
        )
        return replace(scores, dist=dist, reason=f"{scores.reason}; explores") if dist.max() < 1.0 else scores

    def _expect_one(self, context: Context) -> Expectations:
        if context.embedding.shape == (self.embedding_dim,):
            return self._one.expect(context.embedding, context.features)
        return super()._expect_one(context)

    def _trusted(self, look: Look, kept: Reals) -> Reals:
        """Quality by the prior, shrunk to the arms' means where a query is unlike the training ones, shape (n, m)."""
        trained = self._prior.quality_of(look)
        quality = self.model.enrol(trained) if isinstance(self.model, Roster) else trained
        shrunk: Reals = self.levels.means + kept[:, None] * (quality - self.levels.means)
        return shrunk


def _prior_of(model: QualityModel) -> DistilledModel:
    prior = model.base if isinstance(model, Roster) else model
    if not isinstance(prior, DistilledModel):
        raise ArtifactError(f"a default policy serves a distilled model, not {type(prior).__name__}; train it again")
    return prior


def _shared(tensors: Tensors) -> dict[str, NDArray[Any]]:
    """``tensors`` with the basis also under the names by which cost model and guard look for theirs."""
    basis = {name: values for name, values in tensors.items() if name.startswith(f"{BASIS}.")}
    tokens = {name.replace(BASIS, "tokens.basis"): values for name, values in basis.items()}
    parts = ("centre", "projection", "landmarks", "metric") if "guard.bounds" in tensors else ()
    guard = {f"guard.{part}": basis[f"{BASIS}.{part}"] for part in parts if f"{BASIS}.{part}" in basis}
    return dict(tensors) | tokens | guard


def _none_seen(n_landmarks: int, levels: Levels) -> Offsets:
    m = len(levels.means)
    return Offsets.fresh(
        np.zeros(n_landmarks, np.int32), prior_sd=np.zeros(m), noise_sd=np.maximum(levels.residual_sd, 1e-3)
    )
