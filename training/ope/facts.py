"""The pass over the log that keeps a few numbers per round: from here on every estimate is arithmetic in memory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from policies.tradeoff import TradeOff
from training.landmarks import half_distances, k_means
from training.ope.draws import Draws
from training.ope.estimators import Terms
from training.ope.expected import CrossFit
from training.ope.rounds import EvaluationError, Floats, Integers, Reals, Rounds
from training.ope.support import Weights, weights_of
from training.ope.targets import Target

MEASURES = ("quality", "usd", "seconds", "utility")
N_CLUSTERS = 16
_SAMPLE = 5_000


@dataclass(frozen=True, slots=True)
class Seen:
    """One target policy in the log's rounds.

    Attributes:
        direct: Expected quality, USD, seconds and utility of what it would do, shape (n, 4).
    """

    weights: Weights
    direct: Floats


@dataclass(frozen=True, slots=True)
class Facts:
    """What the estimators need of n rounds; kept in single precision, summed in double.

    Attributes:
        outcome: Quality, USD, seconds and utility as they came, shape (n, 4).
        fitted: What was expected of the drawn arm, shape (n, 4).
        tenant / cluster: Groups of the rounds, shape (n,); a tenant is its place in ``tenants``.
        spread: Width of the range of a quality as it came; above 1 where some were imputed.
        best / even: Mean expected utility of the best arm and of an eligible one at random.
        cells: Rounds of each cluster and arm, shape (n_clusters, m).
        seen: By name of the target policy.
    """

    outcome: Floats
    fitted: Floats
    tenant: NDArray[np.int32]
    cluster: NDArray[np.int8]
    tenants: tuple[str, ...]
    spread: float
    best: float
    even: float
    cells: Integers
    draws: Draws
    seen: dict[str, Seen]

    def __len__(self) -> int:
        return len(self.outcome)

    def came(self, measure: int) -> Reals:
        """One measure as it came, by its place in ``MEASURES``, shape (n,)."""
        return self.outcome[:, measure].astype(np.float64)

    def terms(self, name: str, measure: int, *, clip: float) -> Terms:
        """Of one target and one measure."""
        seen = self.seen[name]
        fitted, direct = (each[:, measure].astype(np.float64) for each in (self.fitted, seen.direct))
        return Terms(seen.weights.clipped(clip), self.came(measure), fitted, direct)


def gather(
    chunks: Iterable[Rounds],
    targets: Sequence[Target],
    model: CrossFit,
    *,
    seed: int,
    trade_off: TradeOff | None = None,
) -> Facts:
    """One pass over the log.

    Args:
        trade_off: Of the utility, instead of each round's own.

    Raises:
        EvaluationError: There is no round.
    """
    centres = np.empty((0, 0))
    kept: list[_Part] = []
    seen: dict[str, list[Seen]] = {target.name: [] for target in targets}
    draws, cells, first, worth = Draws.empty(0), np.zeros((0, 0), dtype=np.int64), 0, np.zeros(2)
    tenants: dict[str, int] = {}
    for each in chunks:
        rounds = each if trade_off is None else each.under(trade_off)
        features = model.scale(rounds.embeddings, rounds.features)
        if not kept:
            sample = features[:_SAMPLE, 1:]
            centres = k_means(sample, min(N_CLUSTERS, len(sample)), seed=seed)
            draws, cells = Draws.empty(len(rounds.arms)), np.zeros((len(centres), len(rounds.arms)), dtype=np.int64)
        expected = with_utility(model.expect(features, first=first), rounds.trade_off[:, None, :])  # (n, m, 4)
        fitted = expected[np.arange(len(rounds)), rounds.action]
        part = _Part(
            outcome=with_utility(imputed(rounds, fitted, judged=model.judged), rounds.trade_off).astype(np.float32),
            fitted=fitted.astype(np.float32),
            tenant=_codes(rounds.tenant, tenants),
            cluster=half_distances(features[:, 1:], centres).argmin(axis=1).astype(np.int8),
        )
        kept.append(part)
        draws.add(rounds)
        np.add.at(cells, (part.cluster, rounds.action), 1)
        worth += _worth(rounds, expected[:, :, 3])
        for target in targets:
            wanted = target.distribution(rounds)
            direct = np.einsum("nm,nmk->nk", wanted, expected).astype(np.float32)
            seen[target.name].append(Seen(weights_of(rounds, wanted), direct))
        first += len(rounds)
    if not kept:
        raise EvaluationError("the log holds no round to evaluate on; see what was excluded")
    joined = {each.name: np.concatenate([getattr(part, each.name) for part in kept]) for each in fields(_Part)}
    best, even = (worth / first).tolist()
    found = {name: _joined(parts) for name, parts in seen.items()}
    return Facts(
        **joined,
        tenants=tuple(tenants),
        # Of q̂ + (q − q̂) / share with q and q̂ in 0..1.
        spread=2.0 / float(model.judged.min(initial=1.0)) - 1.0,
        best=best,
        even=even,
        cells=cells,
        draws=draws,
        seen=found,
    )


def imputed(rounds: Rounds, fitted: Reals, *, judged: Reals) -> Reals:
    """Quality, USD and seconds as they came, shape (n, 3); where nobody judged, quality is what was expected.

    What a judged round was better or worse than expected counts for the unjudged ones of its arm too: means are then
    right whatever the model, and their intervals know how few were judged. Source: Robins, Rotnitzky and Zhao,
    "Estimation of Regression Coefficients When Some Regressors Are Not Always Observed", JASA 1994.

    Args:
        fitted: What models that had not seen the rounds expect of the drawn arms, shape (n, ≥ 1), quality first.
        judged: Share of each arm's rounds that were judged, shape (m,).
    """
    outcomes, expected = rounds.outcomes(), fitted[:, 0]
    beyond = (rounds.quality - expected) / judged[rounds.action]
    outcomes[:, 0] = expected + np.where(np.isnan(rounds.quality), 0.0, beyond)
    return outcomes


@dataclass(frozen=True, slots=True)
class _Part:
    outcome: Floats
    fitted: Floats
    tenant: NDArray[np.int32]
    cluster: NDArray[np.int8]


def _codes(names: NDArray[np.str_], known: dict[str, int]) -> NDArray[np.int32]:
    """Place of each name in ``known``, to which new ones are added, shape (n,)."""
    distinct, place = np.unique(names, return_inverse=True)
    codes = [known.setdefault(str(name), len(known)) for name in distinct]
    return np.array(codes, dtype=np.int32)[place]


def _worth(rounds: Rounds, utility: Reals) -> Reals:
    """Expected utility of the best eligible arm and of one at random, summed over rounds, shape (2,)."""
    best = np.where(rounds.eligible, utility, -np.inf).max(axis=1)
    even = np.where(rounds.eligible, utility, 0.0).sum(axis=1) / rounds.eligible.sum(axis=1)
    return np.array([best.sum(), even.sum()])


def _joined(parts: Sequence[Seen]) -> Seen:
    names = [each.name for each in fields(Weights)]
    weights = Weights(**{name: np.concatenate([getattr(part.weights, name) for part in parts]) for name in names})
    return Seen(weights, np.concatenate([part.direct for part in parts]))


def with_utility(outcomes: Reals, trade_off: Reals) -> Reals:
    """Quality, USD, seconds (…, 3) with utility beside them, shape (…, 4); what has no price may stay unknown."""
    quality, usd, seconds = outcomes[..., 0], outcomes[..., 1], outcomes[..., 2]
    per_usd, per_s = trade_off[..., 0], trade_off[..., 1]
    paid = np.where(per_usd > 0.0, per_usd * usd, 0.0)
    waiting = np.where(per_s > 0.0, per_s * seconds, 0.0)
    return np.concatenate([outcomes, (quality - paid - waiting)[..., None]], axis=-1)
