"""A weighted mean of unlike models: the one thing that moves a router past what each of them reaches alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Floats, Tensors, check_shapes
from policies.zoo.predictive import PredictivePolicy
from policies.zoo.quality import QualityModel

MEMBERS = {  # order of the weights; a change of it is a change of format
    "cluster": "policies.zoo.cluster:ClusterModel",
    "knn": "policies.zoo.knn:KnnModel",
    "logistic": "policies.zoo.logistic:LogisticModel",
    "gbdt": "policies.zoo.gbdt:GbdtModel",
    "irt": "policies.zoo.irt:ResponseModel",
}


def member_type(name: str) -> type[QualityModel]:
    """The class of a member's model; only its module is imported."""
    module, _, attribute = MEMBERS[name].partition(":")
    return cast(type[QualityModel], getattr(import_module(module), attribute))


@dataclass(frozen=True, slots=True)
class BlendModel:
    """Quality as the weighted mean of the members' probabilities.

    Attributes:
        members: Models by name, in the order of ``MEMBERS``; at least one.
        weights: Of every name in ``MEMBERS``, 0 for one that is not a member, summing to 1, shape (len(MEMBERS),).
    """

    members: Mapping[str, QualityModel]
    weights: Reals

    @property
    def n_arms(self) -> int:
        return next(iter(self.members.values())).n_arms

    @property
    def dim(self) -> int:
        return next(iter(self.members.values())).dim

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """The members' weighted mean, shape (n, m)."""
        total = np.zeros((len(embeddings), self.n_arms))
        for weight, name in zip(self.weights, MEMBERS, strict=True):
            if name in self.members:
                total += weight * self.members[name].quality(embeddings, lexical)
        return total

    def tensors(self) -> dict[str, NDArray[Any]]:
        """``blend.weights``, and the members' own."""
        tensors: dict[str, NDArray[Any]] = {"blend.weights": self.weights}
        for member in self.members.values():
            tensors |= member.tensors()
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "BlendModel":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together, or the weights are not on the simplex.
        """
        weights = tensors["blend.weights"].astype(np.float64)
        check_shapes({"blend.weights": (weights.shape, (len(MEMBERS),))})
        if not ((weights >= 0).all() and abs(float(weights.sum()) - 1.0) < 1e-6):
            raise ValueError(f"blend.weights must be ≥ 0 and sum to 1, got {weights.tolist()}")
        names = [name for name, weight in zip(MEMBERS, weights, strict=True) if weight > 0]
        members = {name: member_type(name).from_tensors(tensors) for name in names}
        sizes = {(member.n_arms, member.dim) for member in members.values()}
        if len(sizes) != 1:
            raise ValueError(f"the members of the blend differ in (arms, embedding length): {sorted(sizes)}")
        return cls(members, weights)

    @classmethod
    def example(cls, *, n_arms: int, dim: int) -> "BlendModel":
        """Cells and neighbours, half and half."""
        members = {name: member_type(name).example(n_arms=n_arms, dim=dim) for name in ("cluster", "knn")}
        weights = np.array([0.5 if name in members else 0.0 for name in MEMBERS])
        return cls(members, weights)


class BlendPolicy(PredictivePolicy):
    """A weighted mean of unlike models."""

    name = "blend"
    model_type = BlendModel
