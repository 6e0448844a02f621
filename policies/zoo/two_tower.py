"""``two_tower``: a query's vector against an arm's, the arm's partly from its descriptor, so a new arm has one too."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from policies.context import Context
from policies.descriptors import ArmDescriptor, describe_facts
from policies.policy import ArmFacts
from policies.predictions import Reals
from policies.zoo.arm_features import ArmFeatures
from policies.zoo.basis import Basis, Floats, Tensors, check_shapes
from policies.zoo.predictive import PredictivePolicy
from policies.zoo.quality import Expectations
from policies.zoo.roster import Roster
from policies.zoo.sigmoid import sigmoid

_PARTS = ("query", "query_offset", "difficulty", "arm", "strength", "tower", "strength_weights", "strength_prior")
_FACTS = 6  # of a descriptor without published scores


@dataclass(frozen=True, slots=True)
class TwoTowerModel:
    """σ(h(x) · v_m + s_m − β·z) with h(x) = tanh(zQ + q).

    Attributes:
        features: Descriptor -> F numbers φ.
        query / query_offset: Q, shape (n_outputs of the basis, k), and q, shape (k,).
        difficulty: β, shape (n_outputs of the basis,).
        arm / strength: v and s of the trained arms, shapes (m, k) and (m,).
        tower: From φ to the v of an arm never seen, shape (F, k).
        strength_weights: From φ to its expected s, shape (F,).
        strength_prior: Intercept of that, and its standard deviation in logits, shape (2,).
    """

    basis: Basis
    features: ArmFeatures
    query: Reals
    query_offset: Reals
    difficulty: Reals
    arm: Reals
    strength: Reals
    tower: Reals
    strength_weights: Reals
    strength_prior: Reals

    @property
    def n_arms(self) -> int:
        return int(self.strength.shape[0])

    @property
    def dim(self) -> int:
        return self.basis.dim

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Expected score, shape (n, m)."""
        return self._quality(embeddings, lexical, self.arm, self.strength)

    def quality_by_descriptor(
        self, embeddings: Floats, lexical: Floats, descriptors: Sequence[ArmDescriptor], texts: Reals | None = None
    ) -> Reals:
        """Expected score of arms never seen, shape (n, a); ``texts`` are their embedded texts, shape (a, dim)."""
        phi = self.features(descriptors, texts)
        strength = phi @ self.strength_weights + self.strength_prior[0]
        return self._quality(embeddings, lexical, phi @ self.tower, strength)

    def strength_by_descriptor(self, descriptors: Sequence[ArmDescriptor], texts: Reals | None = None) -> Reals:
        """Expected log odds of a right answer to a query of which nothing is known, shape (a,)."""
        strength: Reals = self.features(descriptors, texts) @ self.strength_weights + self.strength_prior[0]
        return strength

    def _quality(self, embeddings: Floats, lexical: Floats, arm: Reals, strength: Reals) -> Reals:
        z = self.basis(embeddings, lexical)
        hidden = np.tanh(z @ self.query + self.query_offset)
        return sigmoid(hidden @ arm.T + strength - (z @ self.difficulty)[:, None])

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As arrays named ``two_tower.*``."""
        parts = {f"two_tower.{part}": getattr(self, part).astype(np.float32) for part in _PARTS}
        return self.basis.tensors("two_tower.basis") | self.features.tensors("two_tower.features") | parts

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "TwoTowerModel":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together.
        """
        basis = Basis.from_tensors(tensors, "two_tower.basis")
        features = ArmFeatures.from_tensors(tensors, "two_tower.features")
        model = cls(basis, features, *(tensors[f"two_tower.{part}"].astype(np.float64) for part in _PARTS))
        d, k, m, f = basis.n_outputs, model.query_offset.size, model.strength.size, features.n_outputs
        wanted = ((d, k), (k,), (d,), (m, k), (m,), (f, k), (f,), (2,))
        pairs = zip(_PARTS, wanted, strict=True)
        check_shapes({f"two_tower.{part}": (getattr(model, part).shape, shape) for part, shape in pairs})
        return model

    @classmethod
    def example(cls, *, n_arms: int, dim: int) -> "TwoTowerModel":
        """Random towers of width 2; a dearer arm is expected to be better."""
        rng, basis = np.random.default_rng(0), Basis.example(dim=dim)
        features = ArmFeatures((), np.zeros(_FACTS), np.ones(_FACTS), np.zeros(0), np.zeros((0, 0)))
        weights = np.zeros(features.n_outputs)
        weights[1] = 0.2
        return cls(
            basis=basis,
            features=features,
            query=rng.normal(scale=0.3, size=(basis.n_outputs, 2)),
            query_offset=np.zeros(2),
            difficulty=rng.normal(scale=0.1, size=basis.n_outputs),
            arm=rng.normal(size=(n_arms, 2)),
            strength=np.linspace(-0.5, 0.5, n_arms),
            tower=rng.normal(scale=0.1, size=(features.n_outputs, 2)),
            strength_weights=weights,
            strength_prior=np.array([0.0, 0.5]),
        )


class TwoTowerPolicy(PredictivePolicy):
    """Quality by two towers; an arm that was not trained is judged by what the configuration tells of it."""

    name = "two_tower"
    model_type = TwoTowerModel

    @property
    def towers(self) -> TwoTowerModel:
        """The model as it was fitted, whoever joined or left since."""
        return cast(TwoTowerModel, self.model.base if isinstance(self.model, Roster) else self.model)

    def quality_of_strangers(
        self, expected: Expectations, context: Context, strangers: Sequence[ArmFacts]
    ) -> tuple[Reals, Reals]:
        """By descriptor, shrunk to the descriptor's mean where the query is far; each (n_strangers,)."""
        descriptors = [describe_facts(arm) for arm in strangers]
        quality = sigmoid(self.towers.strength_by_descriptor(descriptors))
        if context.embedding.size:
            near = self.towers.quality_by_descriptor(context.embedding[None, :], context.features[None, :], descriptors)
            quality += float(expected.familiarity[0]) * (near[0] - quality)
        # The widest slope of the logistic would overstate the doubt near 0 and 1; its slope here is the delta method's.
        return quality, float(self.towers.strength_prior[1]) * np.maximum(quality * (1.0 - quality), 0.05)
