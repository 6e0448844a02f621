"""What can be learned from one answer per query, on a table where every arm answered: log it, forget the rest, train.

The table's other outcomes judge the result, so no estimate stands between a policy and its value.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from policies.decide import explored
from policies.policy import ArmFacts, Policy
from policies.tables import Mask
from policies.tradeoff import TradeOff
from training.contender import Forecast, Sample
from training.inputs import Reals
from training.logged.fit import LogFit, fit_on_log
from training.logged.teacher import fit_teacher
from training.offline import arm_facts, contexts_of
from training.ope.simulated import SimulatedLog

Progress = Callable[[str, int, int], None]


def logging_distribution(policy: Policy, sample: Sample, *, explore: float, trade_off: TradeOff) -> Reals:
    """Propensities of ``policy`` as a gateway would serve it, shape (n, m)."""
    arms = arm_facts(sample.table)
    contexts = contexts_of(sample.table, sample.inputs.embeddings)
    return np.stack([explored(policy.score(context, arms, trade_off).dist, explore) for context in contexts])


def relearned(sample: Sample, logging: Reals, *, rng: np.random.Generator, n_rounds: int | None = None) -> LogFit:
    """The default policy of one answer for each query, or for ``n_rounds`` of them, drawn by ``logging`` (n, m)."""
    log = SimulatedLog.draw(sample, logging, trade_off=TradeOff(0.0), rng=rng)
    if n_rounds is not None:
        log = SimulatedLog(sample, logging, log.trade_off, log.queries[:n_rounds], log.action[:n_rounds])
    table = sample.table
    prices = {arm.name: price for arm, price in zip(table.arms, table.prices, strict=True) if price is not None}
    return fit_on_log(fit_teacher(log.chunks()), encoder_id="", prices=prices)


@dataclass(frozen=True, slots=True)
class Relearned:
    """Forecasts of every row by a fit on a log of the other folds, and what the logging policy earned there.

    Attributes:
        logging: Its propensities, shape (n, m).
    """

    forecast: Forecast
    logging: Reals

    def gain(self, sample: Sample, trade_off: TradeOff, *, over: Reals) -> tuple[float, float, float]:
        """Mean utility of the forecast's choices less that of ``over`` (n, m), with its 95 % interval over rows."""
        table, per_usd = sample.table, trade_off.quality_per_usd
        utility = table.scores - per_usd * table.usd
        chosen = (self.forecast.quality - per_usd * self.forecast.usd).argmax(axis=1)
        apart = utility[np.arange(len(table)), chosen] - (over * utility).sum(axis=1)
        error = 1.96 * float(apart.std(ddof=1)) / len(apart) ** 0.5
        return float(apart.mean()), float(apart.mean()) - error, float(apart.mean()) + error


def relearn_folds(
    sample: Sample,
    folds: Sequence[tuple[Mask, Mask]],
    policy: Policy,
    *,
    explore: float,
    trade_off: TradeOff,
    seed: int,
    share: float = 1.0,
    progress: Progress = lambda what, done, of: None,
) -> Relearned:
    """Train on a log of each fold's training rows, or a ``share`` of them, and forecast its test rows."""
    n, m = len(sample.table), len(sample.table.arms)
    quality, usd = np.empty((n, m)), np.empty((n, m))
    logging = logging_distribution(policy, sample, explore=explore, trade_off=trade_off)
    for done, (train, test) in enumerate(folds):
        rng = np.random.default_rng([seed, done])
        n_rounds = round(share * int(train.sum()))
        fit = relearned(sample.rows(train), logging[train], rng=rng, n_rounds=n_rounds)
        part = sample.inputs.rows(test)
        expected = fit.policy.expect(part.embeddings, part.lexical)
        quality[test] = expected.quality
        usd[test] = _usd(fit, part.prompt_tokens, expected.output_tokens)
        progress("training on logs", done + 1, len(folds))
    return Relearned(Forecast(quality=quality, usd=usd, far=np.zeros(n, dtype=np.bool_)), logging)


def _usd(fit: LogFit, prompt_tokens: Reals, output_tokens: Reals) -> Reals:
    """As the policy predicts a request's cost: tokens × price."""
    arms = [ArmFacts(arm, price=price) for arm, price in zip(fit.task.arms, fit.task.prices, strict=True)]
    choice = fit.policy.columns.of(arms)
    return np.asarray(
        prompt_tokens[:, None] * choice.usd_per_prompt_token + output_tokens * choice.usd_per_output_token
    )
