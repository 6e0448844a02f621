"""Where an artifact of the zoo keeps one number per arm, and how a column joins or leaves without touching others."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.prices import NANO, TOKENS_PER_PRICE, Price
from policies.zoo.roster import NEWCOMER

Tensors = dict[str, NDArray[Any]]

PER_ARM = (
    *("levels.means", "levels.spread_sd", "levels.residual_sd"),
    *("roster.columns", "roster.offset", "roster.offset_sd", "tokens.input_ratio", "tokens.latency"),
)
# Only of ``default``; the first have scopes first, then arms. An older artifact lacks arm_sd and doubt_sd.
OFFSETS = ("offsets.sums", "offsets.counts", "offsets.prior_sd", "offsets.arm_sd")
OFFSETS_PER_ARM = ("offsets.noise_sd", "offsets.doubt_sd")
TWO_PER_ARM = ("tokens.weights", "tokens.means", "tokens.smear", "tokens.log_max")  # all arms' tokens, then their USD
_TYPICAL_INPUT_TOKENS = 300.0  # of a query, for the cost to expect of an arm that was never billed
_LEAST_USD = 1e-9  # log of a free request


def without_arm(tensors: Mapping[str, NDArray[Any]], index: int) -> Tensors:
    """Every array, less what belongs to arm ``index``."""
    m = len(tensors["roster.columns"])
    fewer = {name: np.delete(tensors[name], index, axis=0) for name in PER_ARM}
    fewer |= {name: np.delete(tensors[name], (index, m + index), axis=-1) for name in TWO_PER_ARM}
    if OFFSETS[0] in tensors:
        fewer |= {name: np.delete(tensors[name], index, axis=1) for name in OFFSETS if name in tensors}
        fewer |= {name: np.delete(tensors[name], index, axis=0) for name in OFFSETS_PER_ARM if name in tensors}
    return dict(tensors) | fewer


def append_arm(
    tensors: Mapping[str, NDArray[Any]],
    *,
    quality: float,
    offset: float,
    offset_sd: float,
    price: Price | None,
    output_tokens: float | None,
) -> Tensors:
    """Every array, with a last arm: what is not told of it is the other arms' mean."""
    spread = float(np.sqrt(quality * (1.0 - quality)))
    explained = float((tensors["levels.residual_sd"] / np.maximum(tensors["levels.spread_sd"], 1e-6)).mean())
    fresh: dict[str, Any] = {
        "levels.means": quality,
        "levels.spread_sd": spread,
        "levels.residual_sd": spread * min(explained, 1.0),
        "roster.columns": NEWCOMER,
        "roster.offset": offset,
        "roster.offset_sd": offset_sd,
        "tokens.input_ratio": tensors["tokens.input_ratio"].mean(),
        "tokens.latency": np.full(2, np.nan),
    }
    more = {name: _appended(tensors[name], fresh[name]) for name in PER_ARM}
    more |= _unseen(tensors, noise_sd=spread, doubt_sd=offset_sd * spread**2)
    return dict(tensors) | more | _spending(tensors, price=price, output_tokens=output_tokens)


def _unseen(tensors: Mapping[str, NDArray[Any]], *, noise_sd: float, doubt_sd: float) -> Tensors:
    """The offsets with a last arm of which nothing was seen and which varies between cells as the others do.

    Args:
        doubt_sd: Of its mean quality: its standing's, by which the first answers are weighed.
    """
    if OFFSETS[0] not in tensors:
        return {}
    nothing = {name: np.zeros_like(tensors[name][:, :1]) for name in ("offsets.sums", "offsets.counts")}
    for name in ("offsets.prior_sd", "offsets.arm_sd"):
        if name in tensors:
            nothing[name] = tensors[name].mean(axis=1, keepdims=True)
    more = {name: np.concatenate([tensors[name], last], axis=1) for name, last in nothing.items()}
    fresh = {"offsets.noise_sd": max(noise_sd, 1e-3), "offsets.doubt_sd": doubt_sd}
    return more | {name: _appended(tensors[name], fresh[name]) for name in OFFSETS_PER_ARM if name in tensors}


def _appended(values: NDArray[Any], last: Any) -> NDArray[Any]:
    return np.concatenate([values, np.asarray(last, dtype=values.dtype).reshape(1, *values.shape[1:])])


def _spending(tensors: Mapping[str, NDArray[Any]], *, price: Price | None, output_tokens: float | None) -> Tensors:
    """The cost model with a last arm, which varies with the query as the others do on average."""
    m = len(tensors["tokens.input_ratio"])
    blocks = {name: (tensors[name][..., :m], tensors[name][..., m:]) for name in TWO_PER_ARM}
    last = {name: [block.mean(axis=-1, keepdims=True) for block in pair] for name, pair in blocks.items()}
    last["tokens.log_max"] = [block.max(axis=-1, keepdims=True) for block in blocks["tokens.log_max"]]
    smear = float(last["tokens.smear"][0][0])
    tokens = float(np.exp(last["tokens.means"][0][0]) * smear) if output_tokens is None else max(output_tokens, 1.0)
    last["tokens.means"][0][:] = np.log(tokens / smear)
    if price is not None:
        nano_usd = _TYPICAL_INPUT_TOKENS * price.input + tokens * price.output
        usd = max(nano_usd / TOKENS_PER_PRICE / NANO, _LEAST_USD)
        last["tokens.means"][1][:] = np.log(usd / float(last["tokens.smear"][1][0]))
    for side in range(2):  # a longer answer than any before must not be cut to the longest seen
        np.maximum(last["tokens.log_max"][side], last["tokens.means"][side] + 2.0, out=last["tokens.log_max"][side])
    joined = {name: (blocks[name][0], last[name][0], blocks[name][1], last[name][1]) for name in TWO_PER_ARM}
    return {name: np.concatenate(parts, axis=-1, dtype=tensors[name].dtype) for name, parts in joined.items()}
