"""Fits ``gbdt``: LightGBM per arm on principal directions and lexical features, then flattens the trees.

Cross-entropy with soft labels, few leaves, strong shrinkage; the number of trees, one for all arms, goes by held-out
loss and may be none. LightGBM runs on one thread with fixed seeds: same rows, same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.zoo.gbdt import Forest, GbdtModel
from policies.zoo.sigmoid import log_odds, sigmoid
from training.inputs import Reals
from training.zoo.basis import fit_basis
from training.zoo.logistic import cross_entropy
from training.zoo.task import FitTask, Learned, folds_of

N_DIMS = 32
MOST_TREES, _STRIDE = 240, 10
_N_FOLDS = 4  # one of them is held out, the others fit
_EDGE = 1e-3
_PARAMETERS: dict[str, Any] = {
    "objective": "cross_entropy",
    "learning_rate": 0.05,
    "num_leaves": 12,
    "max_depth": 5,
    "min_data_in_leaf": 40,
    "lambda_l2": 10.0,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "max_bin": 63,
    "boost_from_average": False,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


def fit(task: FitTask) -> Learned:
    """Choose the number of trees on a held-out quarter, then fit that many on everything."""
    basis = fit_basis(task.inputs, n_dims=N_DIMS)
    features, scores = basis(task.inputs.embeddings, task.inputs.lexical), task.inputs.scores
    held = folds_of(len(scores), _N_FOLDS, seed=task.seed) == 0
    n_trees, losses = _enough_trees(features, scores, held, seed=task.seed)
    boosters = boost(features, scores, n_trees=n_trees, seed=task.seed) if n_trees else []
    forest = flatten(boosters)
    facts = {"n_trees_per_arm": n_trees, "held_out_cross_entropy": losses, "parameters": dict(_PARAMETERS)}
    return Learned(GbdtModel(basis, forest, start_of(scores)), facts)


def start_of(scores: Reals) -> Reals:
    """Log-odds of each arm's mean score, shape (m,)."""
    return log_odds(np.clip(scores.mean(axis=0), _EDGE, 1.0 - _EDGE))


def boost(features: Reals, scores: Reals, *, n_trees: int, seed: int) -> list[Any]:
    """A LightGBM booster per arm; its raw score is added to ``start_of``."""
    import lightgbm

    parameters, n_rows = _PARAMETERS | {"seed": seed}, len(features)
    data = lightgbm.Dataset(features, label=scores[:, 0], params=parameters, free_raw_data=False).construct()
    boosters = []
    for arm, start in enumerate(start_of(scores)):
        data.set_label(scores[:, arm])  # binned once for all arms
        data.set_init_score(np.full(n_rows, start))
        boosters.append(lightgbm.train(parameters, data, num_boost_round=n_trees))
    return boosters


def _enough_trees(features: Reals, scores: Reals, held: NDArray[np.bool_], *, seed: int) -> tuple[int, list[float]]:
    """The number of trees of least held-out loss, and that loss beside the one of no tree."""
    if held.all() or not held.any():
        return 0, []
    boosters = boost(features[~held], scores[~held], n_trees=MOST_TREES, seed=seed)
    raw = np.tile(start_of(scores[~held]), (int(held.sum()), 1))
    losses = [cross_entropy(scores[held], sigmoid(raw))]
    for step in range(0, MOST_TREES, _STRIDE):
        for arm, booster in enumerate(boosters):
            raw[:, arm] += booster.predict(features[held], raw_score=True, start_iteration=step, num_iteration=_STRIDE)
        losses.append(cross_entropy(scores[held], sigmoid(raw)))
    best = int(np.argmin(losses))
    return best * _STRIDE, [losses[best], losses[0]]


def flatten(boosters: Sequence[Any]) -> Forest:
    """The trees of one LightGBM booster per arm as flat arrays."""
    nodes, roots, arms, depth = Nodes(), [], [], 0
    for arm, booster in enumerate(boosters):
        for tree in booster.dump_model()["tree_info"]:
            root, levels = nodes.add(tree["tree_structure"])
            roots.append(root)
            arms.append(arm)
            depth = max(depth, levels)
    if not roots:
        nodes.leaf(0.0)  # an empty array would have no shape to check
    return Forest(
        feature=np.array(nodes.feature, np.int32),
        left=np.array(nodes.left, np.int32),
        right=np.array(nodes.right, np.int32),
        threshold=np.array(nodes.threshold),
        value=np.array(nodes.value),
        roots=np.array(roots, np.int32),
        arms=np.array(arms, np.int32),
        depth=np.array([depth], np.int32),
    )


@dataclass(slots=True)
class Nodes:
    """Nodes of a forest as they are added."""

    feature: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)

    def add(self, node: Mapping[str, Any]) -> tuple[int, int]:
        """Add a node of LightGBM's JSON with all below it; its index, and the steps to its deepest leaf."""
        if "split_feature" not in node:
            return self.leaf(float(node["leaf_value"])), 0
        if node["decision_type"] != "<=":
            raise ValueError(f"a tree splits by {node['decision_type']!r}; only numeric splits (<=) can be served")
        own = self.leaf(0.0)
        left, left_steps = self.add(node["left_child"])
        right, right_steps = self.add(node["right_child"])
        self.feature[own], self.threshold[own] = int(node["split_feature"]), float(node["threshold"])
        self.left[own], self.right[own] = left, right
        return own, 1 + max(left_steps, right_steps)

    def leaf(self, value: float) -> int:
        """Add a leaf; its index."""
        own = len(self.feature)
        for values, each in ((self.feature, 0), (self.left, own), (self.right, own)):
            values.append(each)
        self.threshold.append(0.0)
        self.value.append(value)
        return own
