"""Fits ``gbdt``: LightGBM per arm on principal directions and lexical features, then flattens the trees.

First trees of what all arms share (the mean score: how hard the query is), then trees per arm from there, because what
sets arms apart is much noisier and needs fewer. Cross-entropy with soft labels, few leaves, strong shrinkage; the
numbers of trees go by held-out loss and may be none. LightGBM runs on one thread with fixed seeds: same rows, same
bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.zoo.gbdt import ALL_ARMS, Forest, GbdtModel
from policies.zoo.sigmoid import log_odds, sigmoid
from training.inputs import Reals
from training.threads import one_thread
from training.zoo.basis import fit_basis
from training.zoo.logistic import row_entropy
from training.zoo.task import FitTask, Learned, folds_of

N_DIMS = 32
MOST_SHARED, MOST_OWN, _STRIDE = 240, 120, 10
_N_FOLDS = 4  # one of them is held out, the others fit
_PATIENCE = 3  # strides without a better held-out loss after which no more trees are tried
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


@one_thread("lightgbm")
def fit(task: FitTask) -> Learned:
    """Choose the numbers of trees on a held-out quarter, then fit as many on everything."""
    basis = fit_basis(task.inputs, n_dims=N_DIMS)
    features, scores = basis(task.inputs.embeddings, task.inputs.lexical), task.inputs.scores
    held = folds_of(len(scores), _N_FOLDS, seed=task.seed) == 0
    rounds = _rounds(features, scores, held, seed=task.seed)
    level = scores.mean(axis=1, keepdims=True)
    common = boost(features, level, start_of(level), n_trees=rounds.shared, seed=task.seed)
    starts = start_of(scores) + _shift(common, features, n_trees=rounds.shared)
    own = boost(features, scores, starts, n_trees=rounds.own, seed=task.seed)
    facts = asdict(rounds) | {"parameters": dict(_PARAMETERS)}
    return Learned(GbdtModel(basis, flatten(own, common=common), start_of(scores)), facts)


@dataclass(frozen=True, slots=True)
class Rounds:
    """Numbers of trees with the held-out cross-entropy that chose them.

    Attributes:
        shared: Trees of what all arms share, how hard the query is.
        own: Further trees of each arm.
        cross_entropy: Held out, of the arms' means, after the shared trees, and after all; empty if nothing was.
    """

    shared: int = 0
    own: int = 0
    cross_entropy: tuple[float, ...] = ()


def start_of(scores: Reals) -> Reals:
    """Log-odds of each column's mean, shape (m,)."""
    return log_odds(np.clip(scores.mean(axis=0), _EDGE, 1.0 - _EDGE))


def boost(features: Reals, scores: Reals, starts: Reals, *, n_trees: int, seed: int) -> list[Any]:
    """A LightGBM booster per column of ``scores``; its raw score is added to ``starts``, (m,) or (n, m)."""
    boosters = _planted(features, scores, starts, seed=seed) if n_trees else []
    for booster in boosters:
        _grow(booster, n_trees)
    return boosters


def _planted(features: Reals, scores: Reals, starts: Reals, *, seed: int) -> list[Any]:
    """Boosters without trees, one per column; the features are binned once for all."""
    import lightgbm

    parameters, begin = _PARAMETERS | {"seed": seed}, np.broadcast_to(starts, scores.shape)
    boosters: list[Any] = []
    binned: Any = None
    for column in range(scores.shape[1]):
        label, start = scores[:, column], np.ascontiguousarray(begin[:, column])
        data = lightgbm.Dataset(features, label=label, init_score=start, reference=binned, params=parameters)
        boosters.append(lightgbm.Booster(parameters, data.construct()))
        binned = data
    return boosters


def _grow(booster: Any, n_trees: int) -> None:
    for _ in range(n_trees):
        booster.update()


def _rounds(features: Reals, scores: Reals, held: NDArray[np.bool_], *, seed: int) -> Rounds:
    """Enough trees of either kind, by the loss of the rows ``held`` out."""
    if held.all() or not held.any():
        return Rounds()
    seen, unseen, fitted = features[~held], features[held], scores[~held]
    level = fitted.mean(axis=1, keepdims=True)
    common = _planted(seen, level, start_of(level), seed=seed)
    mean = scores[held].mean(axis=1, keepdims=True)
    losses = _losses(common, unseen, mean, start_of(level), most=MOST_SHARED)
    n_shared = _fewest(losses) * _STRIDE
    starts = [start_of(fitted) + _shift(common, rows, n_trees=n_shared) for rows in (seen, unseen)]
    own = _planted(seen, fitted, starts[0], seed=seed)
    after = _losses(own, unseen, scores[held], starts[1], most=MOST_OWN)
    means, n_own = _losses([], unseen, scores[held], start_of(fitted), most=0)[0], _fewest(after)
    return Rounds(n_shared, n_own * _STRIDE, tuple(float(each.mean()) for each in (means, after[0], after[n_own])))


def _fewest(losses: Reals) -> int:
    """The first row of ``losses``, shape (k, n), not above the best by more than its paired standard error.

    Source: the one-standard-error rule (Breiman et al., 1984): on unseen queries more trees have nothing to show.
    """
    excess = losses - losses[int(losses.mean(axis=1).argmin())]
    allowed = excess.mean(axis=1) <= excess.std(axis=1) / losses.shape[1] ** 0.5
    return int(np.flatnonzero(allowed)[0])


def _shift(boosters: Sequence[Any], features: Reals, *, n_trees: int) -> Reals:
    """What the first ``n_trees`` shared trees add to every arm's log-odds, shape (n, 1)."""
    if not boosters or not n_trees:
        return np.zeros((len(features), 1))
    return np.asarray(boosters[0].predict(features, raw_score=True, num_iteration=n_trees))[:, None]


def _losses(boosters: Sequence[Any], features: Reals, scores: Reals, starts: Reals, *, most: int) -> Reals:
    """Cross-entropy of each row before any tree and after each further ``_STRIDE`` of every booster, shape (k, n).

    The boosters grow on the way, to ``most`` trees each, or until three strides together have brought nothing.
    """
    raw = np.array(np.broadcast_to(starts, scores.shape))
    losses = [row_entropy(scores, sigmoid(raw))]
    means = [float(losses[0].mean())]
    for step in range(0, most, _STRIDE):
        for column, booster in enumerate(boosters):
            _grow(booster, _STRIDE)
            raw[:, column] += booster.predict(features, raw_score=True, start_iteration=step, num_iteration=_STRIDE)
        losses.append(row_entropy(scores, sigmoid(raw)))
        means.append(float(losses[-1].mean()))
        if min(means) < min(means[-_PATIENCE:]):
            break
    return np.array(losses)


def flatten(boosters: Sequence[Any], *, common: Sequence[Any] = ()) -> Forest:
    """The trees of one LightGBM booster per arm, after those that all arms have in common, as flat arrays."""
    nodes, roots, arms, depth = Nodes(), [], [], 0
    for arm, booster in [*((ALL_ARMS, booster) for booster in common), *enumerate(boosters)]:
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
