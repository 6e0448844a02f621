"""A request is scored by fused arithmetic: it must say what the batch path says, to rounding."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policies.arms import Arm
from policies.context import Context
from policies.errors import ArtifactError
from policies.features import FEATURE_NAMES
from policies.policy import ArmFacts
from policies.prices import Price
from policies.tradeoff import TradeOff
from policies.zoo.default import DefaultPolicy
from policies.zoo.distilled import DistilledModel
from policies.zoo.guard import Guard
from policies.zoo.landmark_basis import LandmarkBasis
from policies.zoo.offsets import Offsets
from policies.zoo.quality import Levels
from policies.zoo.roster import NEWCOMER, Roster
from policies.zoo.tokens import TokenModel

DIM, K, N_LANDMARKS, WIDTH, M, N_CELLS = 24, 6, 40, 17, 5, 7
N_LEXICAL = len(FEATURE_NAMES)
ARMS = [ArmFacts(Arm(f"m{i}", "instant"), price=Price(10**8, (i + 1) * 10**8)) for i in range(M)]
PARTS = ("quality", "quality_sd", "output_tokens", "usd", "seconds", "familiarity")


def made(*, n_base: int = M, **changed: object) -> DefaultPolicy:
    """A policy whose every part matters: offsets that saw answers, a guard that shrinks, times, hidden units."""
    rng = np.random.default_rng(0)
    basis = LandmarkBasis(
        centre=rng.normal(scale=0.1, size=DIM),
        projection=np.linalg.qr(rng.normal(size=(DIM, K)))[0],
        landmarks=rng.normal(scale=0.3, size=(N_LANDMARKS, K)),
        lexical_mean=rng.normal(size=N_LEXICAL),
        lexical_sd=rng.uniform(0.5, 2.0, size=N_LEXICAL),
        hidden=rng.normal(scale=0.2, size=(K + N_LEXICAL, WIDTH)),
        hidden_offset=rng.normal(size=WIDTH),
        head=rng.normal(scale=0.3, size=(K + N_LEXICAL + WIDTH, 4 + M)),
        head_offset=rng.normal(size=4 + M),
        numbers=np.array([2.0, 0.07, 3.0, 4.0]),
        metric=rng.uniform(0.2, 3.0, size=K + 1),
    )
    d = basis.n_outputs
    mass, centre = rng.uniform(1, 9, size=N_LANDMARKS), rng.normal(size=d)
    weights, token_weights = rng.normal(scale=0.1, size=(d, n_base)), rng.normal(scale=0.05, size=(d, 2 * M))
    tokens = replace(
        TokenModel.example(n_arms=M, dim=DIM), basis=basis, weights=token_weights, centre=rng.normal(size=d),
        smear=rng.uniform(1, 2, size=2 * M), latency=rng.uniform(0.01, 1, size=(M, 2)),
    )  # fmt: skip
    parts: dict[str, object] = {
        "model": DistilledModel(basis, weights, centre, rng.uniform(0.3, 0.8, size=n_base), mass),
        "guard": Guard(basis.centre, basis.projection, basis.landmarks, basis.metric, np.array([0.9, 1.3, 1.4])),
        "offsets": Offsets(
            cells=rng.integers(0, N_CELLS, N_LANDMARKS).astype(np.int32),
            sums=rng.normal(size=(1, M, N_CELLS)),
            counts=rng.uniform(0, 9, size=(1, M, N_CELLS)),
            prior_sd=np.array([[0.1, 0.0, 0.05, 0.2, 0.1]]),
            noise_sd=rng.uniform(0.2, 0.5, size=M),
            arm_sd=rng.uniform(0.0, 0.1, size=(1, M)),
            doubt_sd=np.array([0.0, 0.3, 0.0, 0.0, 0.0]),
            shared=np.array([0.5, 0.7]),
        ),
    } | changed
    levels = Levels(rng.uniform(0.3, 0.8, size=M), rng.uniform(0.3, 0.5, size=M), rng.uniform(0.2, 0.4, size=M))
    return DefaultPolicy(
        parts["model"], tokens, parts["guard"], levels, arms=[arm.name for arm in ARMS], encoder_id="x",  # type: ignore[arg-type]
        offsets=parts["offsets"],  # type: ignore[arg-type]
    )  # fmt: skip


def queries(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    embeddings = rng.normal(scale=0.25, size=(n, DIM)).astype(np.float32)
    return embeddings, rng.normal(scale=2.0, size=(n, N_LEXICAL)).astype(np.float32)


def enrolled() -> DefaultPolicy:
    """One arm left and another joined since the fit."""
    columns = np.array([0, 2, NEWCOMER, 3, 4], dtype=np.int64)
    offset = np.array([0.0, 0.0, 0.3, 0.0, 0.0])
    return made(model=Roster(made().model, columns, offset, np.abs(offset)))


@pytest.mark.parametrize(
    "policy", [made(), made(guard=None), made(offsets=None), enrolled()],
    ids=["whole", "no guard", "nothing seen", "another roster"],
)  # fmt: skip
def test_one_query_says_what_the_batch_says(policy: DefaultPolicy) -> None:
    embeddings, lexical = queries()
    batch = policy.expect(embeddings, lexical)
    for row in range(len(embeddings)):
        one = policy._expect_one(Context(embeddings[row], lexical[row], prompt_tokens=50))
        for part in PARTS:
            assert getattr(one, part)[0] == pytest.approx(getattr(batch, part)[row], rel=1e-6, abs=1e-6)
        assert one.far[0] == batch.far[row]


def test_the_queries_above_are_near_and_far_and_between() -> None:
    expected = made().expect(*queries())
    assert 0 < expected.far.sum() < len(expected.far)
    assert ((expected.familiarity > 0.05) & (expected.familiarity < 0.95)).any()
    assert (expected.familiarity == 1.0).any()


def test_scoring_a_query_changes_nothing_for_the_next() -> None:
    policy, (embeddings, lexical) = made(), queries(2)
    first, other = (Context(embeddings[row], lexical[row], prompt_tokens=50) for row in range(2))
    trade_off = TradeOff(quality_per_usd=10.0)
    before = policy.score(first, ARMS, trade_off).predictions
    kept = before.quality.copy(), before.usd.copy()
    policy.score(other, ARMS, trade_off)
    again = policy.score(first, ARMS, trade_off).predictions
    assert (before.quality == kept[0]).all()
    assert (before.usd == kept[1]).all()
    assert (again.quality == kept[0]).all()
    assert (again.usd == kept[1]).all()


def test_a_query_upon_a_landmark_is_at_distance_nil() -> None:
    policy = made()
    basis = policy._prior.basis
    upon = (basis.centre + basis.projection @ basis.landmarks[3]).astype(np.float32)
    one = policy._expect_one(Context(upon, np.zeros(N_LEXICAL, np.float32), prompt_tokens=50))
    assert one.familiarity[0] == 1.0
    assert np.isfinite(one.quality).all()


def test_a_loaded_policy_is_built_once() -> None:
    class Counted(DefaultPolicy):
        n_built = 0

        def __init__(self, *parts: Any, **named: Any) -> None:
            super().__init__(*parts, **named)
            Counted.n_built += 1

    policy = made()
    loaded = Counted.from_tensors(policy.to_tensors(), arms=policy.arm_names, encoder_id="x")
    assert Counted.n_built == 1
    assert loaded.expect(*queries()).quality == pytest.approx(policy.expect(*queries()).quality, abs=1e-6)


@pytest.mark.parametrize(
    ("part", "values"),
    [("offsets.cells", None), ("offsets.sums", np.zeros((1, M + 1, N_CELLS))), ("distilled.mass", np.zeros(3))],
)
def test_a_part_that_is_missing_or_of_another_shape_is_told(part: str, values: np.ndarray | None) -> None:
    policy = made()
    tensors = {name: given for name, given in policy.to_tensors().items() if name != part}
    tensors |= {} if values is None else {part: values}
    with pytest.raises(ArtifactError, match=rf"lacks weights of a default policy \(.*{part[:8]}.*train it again"):
        DefaultPolicy.from_tensors(tensors, arms=policy.arm_names, encoder_id="x")
