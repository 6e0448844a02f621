"""Microseconds of one `score` of the linear policy at the size that training gives: `python scripts/time_score.py`."""

import sys
import timeit

import numpy as np

from policies.arms import Arm
from policies.context import Context
from policies.features import FEATURE_NAMES
from policies.policy import ArmFacts
from policies.prices import Price
from policies.tradeoff import TradeOff
from policies.zoo.feature_map import FeatureMap
from policies.zoo.linear import LinearPolicy
from policies.zoo.ridge import LinearWeights

N_DIM, N_PROJECTED, N_LANDMARKS = 384, 64, 256
N_QUERIES = 200


def sized_policy(n_arms: int, rng: np.random.Generator) -> LinearPolicy:
    """Random weights of the default sizes for arms m0, m1 …"""
    n_lexical = len(FEATURE_NAMES)
    d = N_LANDMARKS + n_lexical

    def noise(*shape: int) -> np.ndarray:
        return rng.normal(scale=0.05, size=shape).astype(np.float32)

    feature_map = FeatureMap(
        centre=noise(N_DIM),
        projection=np.linalg.qr(rng.normal(size=(N_DIM, N_PROJECTED)))[0].astype(np.float32),
        landmarks=noise(N_LANDMARKS, N_PROJECTED),
        gamma=2.0,
        lexical_mean=np.zeros(n_lexical, np.float32),
        lexical_sd=np.ones(n_lexical, np.float32),
        lexical_weight=0.05,
        near=0.9,
        far=1.2,
    )
    ones = np.ones(n_arms, np.float32)
    weights = LinearWeights(
        weights=noise(d, 2 * n_arms),
        means=np.concatenate([0.5 * ones, 5 * ones]),
        phi_mean=noise(d),
        covariance=np.eye(d, dtype=np.float32) * np.float32(0.01),
        noise_sd=0.4 * ones,
        spread_sd=0.5 * ones,
        n_rows=4500.0,
        smear=ones,
        log_tokens_max=9 * ones,
        input_ratio=ones,
    )
    names = [f"m{at}/instant" for at in range(n_arms)]
    return LinearPolicy(feature_map, weights, arms=names, encoder_id="", version="")


def main() -> None:
    """Print the least of five rounds' means, for 2, 8 and 24 arms."""
    rng = np.random.default_rng(0)
    for n_arms in (2, 8, 24):
        policy = sized_policy(n_arms, rng)
        arms = tuple(ArmFacts(Arm(f"m{at}", "instant"), price=Price(10**8, 10**9 + at)) for at in range(n_arms))
        vectors = rng.normal(size=(N_QUERIES, N_DIM)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        features = np.zeros(len(FEATURE_NAMES), np.float32)
        contexts = [Context(vector, features, prompt_tokens=100) for vector in vectors]
        trade_off = TradeOff(quality_per_usd=100.0)

        def once(policy: LinearPolicy = policy, contexts: list[Context] = contexts, arms: tuple[ArmFacts, ...] = arms,
                 trade_off: TradeOff = trade_off) -> None:  # fmt: skip
            for context in contexts:
                policy.score(context, arms, trade_off)

        least = min(timeit.repeat(once, number=5, repeat=5)) / (5 * N_QUERIES)
        sys.stdout.write(f"{n_arms:3} arms: {1e6 * least:.1f} µs\n")


if __name__ == "__main__":
    main()
