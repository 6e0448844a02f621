"""Streams of requests with every arm's outcome: steady, bursty, with a price cut midway, and drifting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from policies.encoders.load import load_encoder, prepare_encoder
from policies.predictions import Reals
from policies.tables import Integers, load_pool
from training.contender import Sample
from training.contenders.registry import make_contender
from training.embeddings import embed_prompts
from training.inputs import make_inputs

N_PARTS = 24
N_EARLIER = 7  # windows that a gateway remembers the shape of
_SESSION, _SESSION_STEP = 20, 1e-4  # requests of a session, and the share of the window between two of them
_TOKENS_PER_BYTE, _MARGIN = 4, 256  # of the bound: a prompt is counted by its bytes


@dataclass(frozen=True, slots=True)
class World:
    """Queries that nothing was fitted on, with forecasts and outcomes; each array of shape (n, m) but for domains.

    Attributes:
        prompt_tokens: Shape (n,).
        per_mtok: Input and output price of each arm, USD per million tokens, shape (m, 2).
        most_tokens: The output bound of each arm's requests, shape (m,).
    """

    quality: Reals
    usd: Reals
    scores: Reals
    charged: Reals
    domains: tuple[str, ...]
    prompt_tokens: Integers
    per_mtok: Reals
    most_tokens: Reals


@dataclass(frozen=True, slots=True)
class Stream:
    """The requests of one window, in order; arrays of shape (n, m) but for `at`.

    Attributes:
        at: Share of the window at which each comes, shape (n,).
        quality / usd: What the policy predicts; of the prices that hold then.
        scores / charged: What each arm would have brought and cost.
        bound: What a reservation for it takes, USD.
        per_mtok: Mean of input and output price of each arm before and after `cut_at`.
        cut_at: The first request at new prices; None: they stay.
        shape / before: Earlier windows, as a gateway remembers them: traffic by part of the window, and its mean size.
    """

    at: Reals
    quality: Reals
    usd: Reals
    scores: Reals
    charged: Reals
    bound: Reals
    per_mtok: tuple[Reals, Reals]
    cut_at: int | None
    shape: Reals
    before: float

    def __len__(self) -> int:
        return len(self.at)


def load_world(data: Path, pool: str, *, policy: str, encoder_name: str = "static") -> World:
    """Fit the policy on one half of a pool, at random, and forecast the other."""
    table = load_pool(data, data / "pools.json", pool)
    prepare_encoder(encoder_name)
    encoder = load_encoder(encoder_name)
    sample = Sample(table, make_inputs(table, embed_prompts(encoder, table.prompts)))
    fitted_on = np.zeros(len(table), dtype=np.bool_)
    fitted_on[np.random.default_rng(0).permutation(len(table))[: len(table) // 2]] = True
    fitted = make_contender(policy, encoder_id=encoder.encoder_id).fit(sample.rows(fitted_on), seed=0)
    rest = sample.rows(~fitted_on)
    forecast, kept = fitted.forecast(rest), rest.table
    prices = [price for price in kept.prices if price is not None]
    return World(
        forecast.quality,
        forecast.usd,
        kept.scores,
        kept.usd,
        kept.domains,
        kept.prompt_tokens,
        np.array([[price.input, price.output] for price in prices]) / 1e9,
        np.ceil(kept.completion_tokens.max(axis=0) / 256.0) * 256.0,
    )


def steady(world: World, n: int, rng: np.random.Generator) -> Stream:
    """Queries in random order, at random moments."""
    return _stream(world, _order(world, n, rng), np.sort(rng.random(n)), rng, shape=np.ones(N_PARTS))


def bursty(world: World, n: int, rng: np.random.Generator) -> Stream:
    """Sessions of about 20 requests back to back, nine times as many at noon as at midnight, as ever."""
    earlier = [_sessions(n, rng) for _ in range(N_EARLIER)]
    shape = np.histogram(np.concatenate(earlier), N_PARTS, (0.0, 1.0))[0].astype(np.float64)
    return _stream(world, _order(world, n, rng), _sessions(n, rng), rng, shape=shape)


def price_cut(world: World, n: int, rng: np.random.Generator) -> Stream:
    """Steady, and in its middle the dearest arm becomes ten times cheaper, which the price table tells at once."""
    stream, half = steady(world, n, rng), n // 2
    dearest = int(world.charged.mean(axis=0).argmax())
    cut = np.ones(stream.usd.shape)
    cut[half:, dearest] = 0.1
    per_mtok = stream.per_mtok[0].copy()
    per_mtok[dearest] *= 0.1
    return replace(
        stream,
        usd=stream.usd * cut,
        charged=stream.charged * cut,
        bound=stream.bound * cut,
        per_mtok=(stream.per_mtok[0], per_mtok),
        cut_at=half,
    )


def drift(world: World, n: int, rng: np.random.Generator) -> Stream:
    """Topics come one after another, traffic triples, and the dearest arm's answers grow by 60 %, which no one tells.

    Earlier windows were a quarter smaller and flat.
    """
    order = _order(world, n, rng)
    names = rng.permutation(sorted(set(world.domains)))
    place = {name: rank / len(names) for rank, name in enumerate(names)}
    key = np.array([place[name] for name in world.domains])[order] + 0.25 * rng.normal(size=n)
    grid = np.linspace(0.0, 1.0, 2001)
    at = np.sort(np.interp(rng.random(n), 0.5 * grid + 0.5 * grid**2, grid))
    stream = _stream(world, order[np.argsort(key)], at, rng, shape=np.ones(N_PARTS))
    charged, bound, dearest = stream.charged.copy(), stream.bound.copy(), world.charged.mean(axis=0).argmax()
    charged[:, dearest] *= np.linspace(1.0, 1.6, n)
    bound[:, dearest] *= 1.6  # whoever expects longer answers allows them
    return replace(stream, charged=charged, bound=bound, before=0.75 * n)


KINDS: dict[str, Callable[[World, int, np.random.Generator], Stream]] = {
    "steady": steady, "bursty": bursty, "price cut": price_cut, "drift": drift,
}  # fmt: skip


def _order(world: World, n: int, rng: np.random.Generator) -> Integers:
    """Every query as often as any other, give or take one."""
    rounds = -(-n // len(world.scores))
    return np.concatenate([rng.permutation(len(world.scores)) for _ in range(rounds)])[:n]


def _sessions(n: int, rng: np.random.Generator) -> Reals:
    """Moments of n requests."""
    grid = np.linspace(0.0, 1.0, 2001)
    day = grid - 0.8 * np.sin(2.0 * np.pi * grid) / (2.0 * np.pi)
    sizes = rng.geometric(1.0 / _SESSION, size=n)
    starts = np.interp(rng.random(n), day, grid)
    at = [start + np.cumsum(rng.exponential(_SESSION_STEP, size)) for start, size in zip(starts, sizes, strict=True)]
    return np.sort(np.minimum(np.concatenate(at)[:n], 1.0 - 1e-9))


def _stream(world: World, order: Integers, at: Reals, rng: np.random.Generator, *, shape: Reals) -> Stream:
    """Earlier windows had as many requests as this one, give or take 10 %."""
    prompt = world.prompt_tokens[order, None] * _TOKENS_PER_BYTE + _MARGIN
    bound = (prompt * world.per_mtok[:, 0] + world.most_tokens * world.per_mtok[:, 1]) / 1e6
    mean_price = world.per_mtok.mean(axis=1)
    return Stream(
        at=at,
        quality=world.quality[order],
        usd=world.usd[order],
        scores=world.scores[order],
        charged=world.charged[order],
        bound=bound,
        per_mtok=(mean_price, mean_price),
        cut_at=None,
        shape=shape,
        before=len(at) * float(np.exp(0.1 * rng.normal())),
    )
