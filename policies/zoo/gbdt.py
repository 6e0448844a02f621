"""Gradient-boosted trees per arm, walked in numpy: serving needs no boosting library.

All trees of all arms lie in flat arrays and are walked together, one level per step.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Basis, Floats, Tensors, check_shapes
from policies.zoo.predictive import PredictivePolicy
from policies.zoo.sigmoid import sigmoid

Integers = NDArray[np.int32]

ALL_ARMS = -1  # the arm of a tree that all arms have in common
_CHUNK = 512  # queries walked at a time, to bound memory


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees as flat arrays of nodes; a leaf is its own child on both sides.

    Attributes:
        feature / left / right: Index of the feature and of both children, shape (n_nodes,).
        threshold: A value ≤ it goes left, float64, shape (n_nodes,).
        value: Of a leaf, 0 for an inner node, shape (n_nodes,).
        roots / arms: First node of each tree and the arm it is of or ``ALL_ARMS``, shape (n_trees,).
        depth: Most steps from a root to a leaf, shape (1,).
    """

    feature: Integers
    left: Integers
    right: Integers
    threshold: Reals
    value: Reals
    roots: Integers
    arms: Integers
    depth: Integers

    def sums(self, features: Reals, *, n_arms: int) -> Reals:
        """Sum of the reached leaves by arm, shape (n, n_arms)."""
        rows = np.arange(len(features))[:, None]
        nodes = np.broadcast_to(self.roots, (len(features), len(self.roots)))
        for _ in range(int(self.depth[0])):
            left = features[rows, self.feature[nodes]] <= self.threshold[nodes]
            nodes = np.where(left, self.left[nodes], self.right[nodes])
        common = (self.arms == ALL_ARMS)[:, None]
        membership = np.equal.outer(self.arms, np.arange(n_arms)) | common  # (n_trees, n_arms)
        return np.asarray(self.value[nodes] @ membership.astype(np.float64))

    def check(self, *, n_features: int, n_arms: int) -> None:
        """Raises:
        ValueError: The arrays are not a forest over ``n_features`` for ``n_arms``.
        """
        n, trees = max(len(self.feature), 1), len(self.roots)
        nodes = {part: (getattr(self, part).shape, (n,)) for part in ("feature", "left", "right", "threshold", "value")}
        check_shapes(nodes | {"arms": (self.arms.shape, (trees,)), "depth": (self.depth.shape, (1,))})
        bounds = {"feature": n_features, "left": n, "right": n, "roots": n, "arms": n_arms, "depth": n + 1}
        for part, bound in bounds.items():
            values, least = getattr(self, part), ALL_ARMS if part == "arms" else 0
            if values.size and not (values.min() >= least and values.max() < bound):
                raise ValueError(f"gbdt.{part} points outside its range {least} to {bound - 1}")


_PARTS = ("feature", "left", "right", "threshold", "value", "roots", "arms", "depth")
_FLOAT = ("threshold", "value")


@dataclass(frozen=True, slots=True)
class GbdtModel:
    """Log-odds as a sum of trees over the outputs of a basis.

    Attributes:
        intercepts: Log-odds of each arm before any tree, shape (m,).
    """

    basis: Basis
    forest: Forest
    intercepts: Reals

    @property
    def n_arms(self) -> int:
        return int(self.intercepts.shape[0])

    @property
    def dim(self) -> int:
        return self.basis.dim

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Probability of success, shape (n, m)."""
        features, m = self.basis(embeddings, lexical), self.n_arms
        parts = [self.forest.sums(features[at : at + _CHUNK], n_arms=m) for at in range(0, len(features), _CHUNK)]
        return sigmoid(self.intercepts + (np.concatenate(parts) if parts else np.zeros((0, m))))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As ``gbdt.*``; thresholds and leaves keep float64, in which they were learned."""
        parts = {f"gbdt.{part}": getattr(self.forest, part) for part in _PARTS}
        return parts | self.basis.tensors("gbdt.basis") | {"gbdt.intercepts": self.intercepts}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "GbdtModel":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together, or a node points outside the forest.
        """
        basis, intercepts = Basis.from_tensors(tensors, "gbdt.basis"), tensors["gbdt.intercepts"].astype(np.float64)
        parts: dict[str, Any] = {
            part: tensors[f"gbdt.{part}"].astype(np.float64 if part in _FLOAT else np.int32) for part in _PARTS
        }
        forest = Forest(**parts)
        check_shapes({"gbdt.intercepts": (intercepts.shape, (intercepts.size,))})
        forest.check(n_features=basis.n_outputs, n_arms=intercepts.size)
        return cls(basis, forest, intercepts)

    @classmethod
    def example(cls, *, n_arms: int, dim: int) -> "GbdtModel":
        """One tree per arm that asks for the sign of the embedding's first number."""
        own = np.arange(3 * n_arms, dtype=np.int32)
        left, right, roots = own.copy(), own.copy(), own[::3].copy()
        left[::3], right[::3] = roots + 1, roots + 2
        forest = Forest(
            feature=np.zeros(3 * n_arms, np.int32),
            left=left,
            right=right,
            threshold=np.zeros(3 * n_arms),
            value=np.tile([0.0, -0.7, 0.7], n_arms),
            roots=roots,
            arms=np.arange(n_arms, dtype=np.int32),
            depth=np.array([1], np.int32),
        )
        return cls(Basis.example(dim=dim), forest, np.linspace(0.0, 1.0, n_arms))


class GbdtPolicy(PredictivePolicy):
    """Gradient-boosted trees per arm."""

    name = "gbdt"
    model_type = GbdtModel
