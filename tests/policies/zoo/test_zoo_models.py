"""Each model of quality against a case small enough to work out by hand."""

import numpy as np
import pytest

from policies.features import FEATURE_NAMES
from policies.zoo.basis import CLIP, Basis
from policies.zoo.blend import MEMBERS, BlendModel
from policies.zoo.cluster import ClusterModel
from policies.zoo.gbdt import ALL_ARMS, Forest, GbdtModel
from policies.zoo.guard import Guard
from policies.zoo.knn import KnnModel, kernel
from policies.zoo.landmark_basis import LandmarkBasis
from policies.zoo.logistic import LogisticModel
from policies.zoo.means import MeansModel
from policies.zoo.tokens import TokenModel
from policies.zoo.topics import TopicModel

N_LEXICAL = len(FEATURE_NAMES)
NO_LEXICAL = np.zeros((1, N_LEXICAL), np.float32)


def at(*start: float, dim: int = 4) -> np.ndarray:
    embedding = np.zeros((1, dim), np.float32)
    embedding[0, : len(start)] = start
    return embedding


def test_a_basis_projects_scales_and_clips() -> None:
    basis = Basis(np.ones(4), 2.0 * np.eye(4, 2), np.zeros(N_LEXICAL), np.ones(N_LEXICAL), np.array([0.1]))
    lexical = NO_LEXICAL.copy()
    lexical[0, :2] = 2.0, 9.0
    outputs = basis(at(2.0, 0.5), lexical)[0]
    assert outputs[:5] == pytest.approx([2.0, -1.0, 0.2, 0.1 * CLIP, 0.0])
    assert basis.n_outputs == len(outputs)


def test_means_do_not_look_at_the_query() -> None:
    model = MeansModel(np.array([0.2, 0.7]), np.array([4]))
    assert model.quality(np.vstack([at(1), at(9)]), np.repeat(NO_LEXICAL, 2, axis=0)).tolist() == [[0.2, 0.7]] * 2


def test_a_query_gets_the_means_of_its_cell() -> None:
    model = ClusterModel(np.array([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]]), np.array([[0.9, 0.1], [0.3, 0.4]]))
    assert model.quality(at(0.2), NO_LEXICAL).tolist() == [[0.9, 0.1]]
    assert model.quality(at(-0.2), NO_LEXICAL).tolist() == [[0.3, 0.4]]


def test_a_query_between_topics_gets_of_each_as_much_as_it_is_likely() -> None:
    basis = Basis(np.zeros(4), np.eye(4, 1), np.zeros(N_LEXICAL), np.ones(N_LEXICAL), np.array([0.0]))
    weights = np.zeros((basis.n_outputs, 2))
    weights[0, 0] = np.log(3.0)
    model = TopicModel(basis, weights, np.zeros(2), np.array([[1.0, 0.0], [0.0, 0.4]]))
    assert model.quality(at(1.0), NO_LEXICAL)[0] == pytest.approx([0.75, 0.1])  # three to one for the first
    assert model.quality(at(0.0), NO_LEXICAL)[0] == pytest.approx([0.5, 0.2])


def line(*, k: float, prior: float, width: float = 1e6) -> KnnModel:
    """Points at 0, 1 and 2 of a line with scores 1, 0 and 1; the arm's mean is 0.25."""
    points = np.vstack([at(0.0), at(1.0), at(2.0)]).astype(np.float16)
    return KnnModel(points, np.array([[1], [0], [1]], np.float16), np.array([0.25]), np.array([k, prior, width]))


def test_neighbours_weigh_by_an_epanechnikov_kernel_whose_bandwidth_is_the_kth_distance() -> None:
    # From 0 the squared distances are 0, 1 and 4: weights 1, 3/4 and 0.
    assert line(k=3, prior=0).quality(at(0.0), NO_LEXICAL)[0, 0] == pytest.approx(1 / 1.75)


def test_the_prior_weighs_as_much_as_it_says() -> None:
    exact = (1 + 2 * 0.25) / (1.75 + 2)
    assert line(k=3, prior=2).quality(at(0.0), NO_LEXICAL)[0, 0] == pytest.approx(exact)


def test_a_crowd_of_strangers_weighs_less_than_the_prior() -> None:
    distant = line(k=3, prior=0.1, width=1.0).quality(at(0.0, 30.0), NO_LEXICAL)
    assert distant[0, 0] == pytest.approx(0.25)


def test_neighbours_at_one_distance_count_alike() -> None:
    assert kernel(np.full((1, 4), 2.0), width=1e6) == pytest.approx(np.ones((1, 4)))
    assert line(k=1, prior=0).quality(at(1.1), NO_LEXICAL)[0, 0] == pytest.approx(0.0)


def test_the_nearest_come_first_and_more_than_there_are_is_all() -> None:
    near, squared = line(k=3, prior=0).neighbours(at(1.8), 9)
    assert near.tolist() == [[2, 1, 0]]
    assert squared[0] == pytest.approx([0.04, 0.64, 3.24], abs=1e-6)


def test_log_odds_are_linear_in_the_basis() -> None:
    basis = Basis.example(dim=4)
    weights = np.zeros((basis.n_outputs, 2))
    weights[0] = 1.0, -2.0
    quality = LogisticModel(basis, weights, np.array([0.0, 0.5])).quality(at(1.0), NO_LEXICAL)[0]
    assert quality == pytest.approx(1 / (1 + np.exp([-1.0, 1.5])))


def forest(**changed: np.ndarray) -> Forest:
    """One tree for arm 1: x₀ ≤ 0.5 ? (x₁ ≤ 0 ? 1 : 2) : 3, and one leaf alone for arm 0."""
    parts = {
        "feature": np.array([0, 1, 0, 0, 0, 0], np.int32),
        "left": np.array([1, 2, 2, 3, 4, 5], np.int32),
        "right": np.array([4, 3, 2, 3, 4, 5], np.int32),
        "threshold": np.array([0.5, 0.0, 0, 0, 0, 0]),
        "value": np.array([0.0, 0.0, 1.0, 2.0, 3.0, -1.0]),
        "roots": np.array([0, 5], np.int32),
        "arms": np.array([1, 0], np.int32),
        "depth": np.array([2], np.int32),
    }
    return Forest(**(parts | changed))  # type: ignore[arg-type]


def test_a_tree_is_walked_to_its_leaf_and_a_bound_goes_left() -> None:
    features = np.array([[0.5, 0.0], [0.5, 0.1], [0.6, 0.0]])
    assert forest().sums(features, n_arms=3).tolist() == [[-1, 1, 0], [-1, 2, 0], [-1, 3, 0]]


def test_a_tree_that_arms_have_in_common_counts_for_each() -> None:
    shared = forest(arms=np.array([ALL_ARMS, 0], np.int32))
    assert shared.sums(np.array([[0.6, 0.0]]), n_arms=2).tolist() == [[2.0, 3.0]]


def test_trees_add_to_the_log_odds() -> None:
    model = GbdtModel(Basis.example(dim=4), forest(), np.array([0.0, 0.5]))
    assert model.quality(at(0.9), NO_LEXICAL)[0] == pytest.approx(1 / (1 + np.exp([1.0, -3.5])))


def test_a_node_that_points_outside_the_forest_is_refused() -> None:
    for part, value in {"left": 9, "feature": 99, "roots": -1, "arms": 2, "depth": 99}.items():
        values = getattr(forest(), part).copy()
        values[0] = value
        with pytest.raises(ValueError, match=f"gbdt.{part} points outside"):
            forest(**{part: values}).check(n_features=5, n_arms=2)


def blend(weights: dict[str, float]) -> BlendModel:
    members = {"cluster": ClusterModel(np.zeros((1, 4)), np.array([[0.2]])), "knn": line(k=3, prior=0)}
    return BlendModel(members, np.array([weights.get(name, 0.0) for name in MEMBERS]))


def test_a_blend_is_the_weighted_mean_of_its_members() -> None:
    quality = blend({"cluster": 0.25, "knn": 0.75}).quality(at(0.0), NO_LEXICAL)
    assert quality[0, 0] == pytest.approx(0.25 * 0.2 + 0.75 / 1.75)


def test_weights_off_the_simplex_are_refused() -> None:
    for weights in ({"cluster": 0.5, "knn": 0.6}, {"cluster": 1.5, "knn": -0.5}):
        with pytest.raises(ValueError, match="sum to 1"):
            BlendModel.from_tensors(blend(weights).tensors())


def test_members_of_different_arms_are_refused() -> None:
    tensors = blend({"cluster": 0.5, "knn": 0.5}).tensors() | {"cluster.means": np.full((1, 3), 0.5)}
    with pytest.raises(ValueError, match="differ in"):
        BlendModel.from_tensors(tensors)


def test_tokens_are_the_smeared_exponential_capped_at_what_was_seen() -> None:
    basis = Basis.example(dim=4)
    weights = np.zeros((basis.n_outputs, 2))
    weights[0] = 1.0, 0.0
    latency, ones = np.array([[0.5, 0.01]]), np.ones(1)
    model = TokenModel(
        basis, weights, np.array([5.0, -7.0]), np.zeros(basis.n_outputs), np.array([1.2, 1.0]), np.array([5.5, 0.0]),
        ones, latency,
    )  # fmt: skip
    spent = model.spending(np.vstack([at(0.2), at(3.0)]), np.repeat(NO_LEXICAL, 2, axis=0), kept=np.ones(2))
    assert spent.output_tokens[:, 0] == pytest.approx(1.2 * np.exp([5.2, 5.5]))
    assert spent.usd[:, 0] == pytest.approx(np.exp([-7.0, -7.0]))
    assert spent.seconds == pytest.approx(0.5 + 0.01 * spent.output_tokens)


def test_distance_weighs_each_direction_and_what_is_dropped() -> None:
    metric = np.array([4.0, 0.25, 9.0])
    guard = Guard(np.zeros(4), np.eye(4, 2), np.zeros((1, 2)), metric, np.array([1.0, 3.0, 4.0]))
    queries = np.vstack([at(1.0), at(0.0, 2.0), at(0.0, 0.0, 0.0, 2.0), at(1.0, 2.0, 2.0)])
    assert guard.distance(queries) == pytest.approx([2.0, 1.0, 6.0, (4.0 + 1.0 + 36.0) ** 0.5])


def test_a_negative_weight_is_refused() -> None:
    tensors = Guard.example(dim=4).tensors()
    with pytest.raises(ValueError, match=r"guard\.metric must hold no negative weight"):
        Guard.from_tensors(tensors | {"guard.metric": np.array([1.0, -1.0, 1.0], np.float32)})


def test_a_basis_refuses_a_negative_weight_too() -> None:
    tensors = LandmarkBasis.example(dim=4).tensors("basis")
    with pytest.raises(ValueError, match=r"basis\.metric must hold no negative weight"):
        LandmarkBasis.from_tensors(tensors | {"basis.metric": np.array([1.0, -1.0, 1.0], np.float32)}, "basis")


def test_familiarity_is_one_up_to_near_and_one_over_e_where_it_fades() -> None:
    guard = Guard(np.zeros(4), np.eye(4, 2), np.zeros((1, 2)), np.ones(3), np.array([1.0, 3.0, 4.0]))
    distance = guard.distance(np.vstack([at(1.0), at(0.0, 0.0, 3.0), at(3.0, 0.0, 4.0)]))
    assert distance == pytest.approx([1.0, 3.0, 5.0])  # what the projection drops counts too
    assert guard.familiarity(distance) == pytest.approx(np.exp([0.0, -1.0, -4.0]))
    assert guard.is_far(distance).tolist() == [False, False, True]
