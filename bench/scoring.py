"""What a decision costs once the embedding is there: single calls of `score`, by policies of the size that serves.

Weights are random, which changes no time: 512 landmarks, 512 hidden units, heads of 14 topics and of three members of
the teacher for each arm, embeddings of 384 numbers, one thread.
`python -m bench.scoring` prints the figures as JSON; the benchmark runs it by itself on the gateway's core.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter_ns

import numpy as np

from policies.arms import Arm
from policies.context import Context
from policies.features import FEATURE_NAMES, lexical_features
from policies.policy import ArmFacts, Policy
from policies.prices import Price
from policies.tradeoff import TradeOff
from policies.zoo.default import DefaultPolicy
from policies.zoo.distilled import DistilledModel
from policies.zoo.feature_map import FeatureMap
from policies.zoo.guard import Guard
from policies.zoo.landmark_basis import LandmarkBasis
from policies.zoo.linear import LinearPolicy
from policies.zoo.quality import Levels
from policies.zoo.ridge import LinearWeights
from policies.zoo.tokens import TokenModel

ARMS = (8, 100)
_DIM, _DIRECTIONS, _LANDMARKS, _UNITS, _LEXICAL = 384, 128, 512, 512, len(FEATURE_NAMES)
_TOPICS = 14
_QUERIES = 200
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def scoring_us(*, core: int, calls: int = 2000) -> dict[str, float]:
    """Median microseconds of one `score` by policy and number of arms, such as ``default_8_us``, bound to a core."""
    argv = ["taskset", "-c", str(core), sys.executable, "-m", "bench.scoring", str(calls)]
    one_thread = os.environ | dict.fromkeys(_THREADS, "1")
    done = subprocess.run(argv, env=one_thread, stdout=subprocess.PIPE, check=True, timeout=120)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def measured(calls: int) -> dict[str, float]:
    """The same in this process."""
    contexts = queries()
    figures = {}
    for n_arms in ARMS:
        arms = priced_arms(n_arms)
        for policy in (default_policy(arms), linear_policy(arms)):
            figures[f"{policy.name}_{n_arms}_us"] = _median_us(policy, contexts, arms, calls)
    return figures


def _median_us(policy: Policy, contexts: Sequence[Context], arms: Sequence[ArmFacts], calls: int) -> float:
    trade_off, taken = TradeOff(quality_per_usd=10.0), []
    timed = [contexts[i % len(contexts)] for i in range(calls)]
    for context in [*contexts, *timed]:  # once through all to warm up
        begun = perf_counter_ns()
        policy.score(context, arms, trade_off)
        taken.append(perf_counter_ns() - begun)
    return float(np.median(taken[len(contexts) :])) / 1e3


def queries() -> list[Context]:
    """Contexts of embeddings drawn on the unit sphere."""
    vectors = np.random.default_rng(1).normal(size=(_QUERIES, _DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [f"Explain why {i} times {7 * i} is what it is." for i in range(_QUERIES)]
    return [Context(vector, lexical_features(text), 12) for vector, text in zip(vectors, texts, strict=True)]


def priced_arms(n: int) -> list[ArmFacts]:
    """Arms with prices of their own."""
    return [ArmFacts(Arm(f"m{i}", "instant"), price=Price(10**8 * (i + 1), 4 * 10**8 * (i + 1))) for i in range(n)]


def default_policy(arms: Sequence[ArmFacts]) -> DefaultPolicy:
    """A `default` of full size with random weights."""
    rng, m = np.random.default_rng(0), len(arms)
    zeros, ones, heads = np.zeros(_LEXICAL), np.ones(_LEXICAL), _TOPICS + 3 * m
    basis = LandmarkBasis(
        centre=rng.normal(scale=0.01, size=_DIM),
        projection=np.linalg.qr(rng.normal(size=(_DIM, _DIRECTIONS)))[0],
        landmarks=rng.normal(scale=0.1, size=(_LANDMARKS, _DIRECTIONS)),
        lexical_mean=zeros,
        lexical_sd=ones,
        hidden=rng.normal(scale=0.1, size=(_DIRECTIONS + _LEXICAL, _UNITS)),
        hidden_offset=np.zeros(_UNITS),
        head=rng.normal(scale=0.1, size=(_DIRECTIONS + _LEXICAL + _UNITS, heads)),
        head_offset=np.zeros(heads),
        numbers=np.array([2.0, 0.05, 8.0, _TOPICS]),
        metric=np.ones(_DIRECTIONS + 1),
    )
    d = basis.n_outputs
    of_quality, of_spending = (rng.normal(scale=0.01, size=(d, n)) for n in (m, 2 * m))
    model = DistilledModel(basis, of_quality, np.zeros(d), np.full(m, 0.6), np.full(_LANDMARKS, 5.0))
    plain = TokenModel.example(n_arms=m, dim=_DIM)
    tokens = replace(plain, basis=basis, weights=of_spending, centre=np.zeros(d))
    guard = Guard(basis.centre, basis.projection, basis.landmarks, basis.metric, np.array([0.5, 2.0, 2.0]))
    levels = Levels(np.full(m, 0.6), np.full(m, 0.5), np.full(m, 0.4))
    return DefaultPolicy(model, tokens, guard, levels, arms=[arm.name for arm in arms], encoder_id="bench")


def linear_policy(arms: Sequence[ArmFacts]) -> LinearPolicy:
    """A `linear` of the same size, for comparison."""
    rng, m, d = np.random.default_rng(0), len(arms), _LANDMARKS + _LEXICAL
    single = np.float32
    feature_map = FeatureMap(
        centre=rng.normal(scale=0.01, size=_DIM).astype(single),
        projection=np.linalg.qr(rng.normal(size=(_DIM, _DIRECTIONS)))[0].astype(single),
        landmarks=rng.normal(scale=0.1, size=(_LANDMARKS, _DIRECTIONS)).astype(single),
        gamma=2.0,
        lexical_mean=np.zeros(_LEXICAL, single),
        lexical_sd=np.ones(_LEXICAL, single),
        lexical_weight=0.05,
        near=0.5,
        far=2.0,
    )
    ridge = LinearWeights(
        weights=rng.normal(scale=0.01, size=(d, 2 * m)).astype(single),
        means=np.repeat(np.array([0.6, 5.0], single), m),
        phi_mean=np.zeros(d, single),
        covariance=np.eye(d, dtype=single) * single(0.01),
        noise_sd=np.full(m, 0.4, single),
        spread_sd=np.full(m, 0.5, single),
        n_rows=5000.0,
        smear=np.ones(m, single),
        log_tokens_max=np.full(m, 9.0, single),
        input_ratio=np.ones(m, single),
    )
    return LinearPolicy(feature_map, ridge, arms=[arm.name for arm in arms], encoder_id="bench", version="bench")


if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)))
