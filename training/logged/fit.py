"""Fits the default policy on a log of one answer per query: its teacher, caution where it knows little, its student."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from policies.prices import Price
from policies.zoo.default import DefaultPolicy
from policies.zoo.known import USD_PER_TOKEN_OF_PRICE
from training.inputs import Inputs, Reals
from training.logged.teacher import LogTeacher
from training.ope.rounds import EvaluationError, Rounds
from training.prior.distil import distil
from training.prior.lessons import Lessons
from training.prior.student_basis import DistilSettings
from training.records.record import arm_fields, arm_of
from training.zoo.task import FitTask

LEAST_ROUNDS = 200  # judged ones; fewer teach no more than means
CAUTION = 0.5


@dataclass(frozen=True, slots=True)
class LogFit:
    """A policy fitted on a log, as an artifact rounds it.

    Attributes:
        task: Its sampled queries, scores NaN where an arm did not answer.
        facts: Rounds of each arm, priors chosen, caution.
    """

    policy: DefaultPolicy
    task: FitTask
    facts: dict[str, Any]


def fit_on_log(
    teacher: LogTeacher,
    *,
    encoder_id: str,
    prices: Mapping[str, Price],
    caution: float = CAUTION,
    seed: int = 0,
    settings: DistilSettings | None = None,
) -> LogFit:
    """Distil what the log taught.

    Args:
        prices: Arm name -> price; the cost of another arm is learned from what was recorded.
        caution: Standard deviations of doubt to take off an arm's quality before arms are compared. What an arm is
            tried on seldom looks best by chance more often than not, so the policy stays near what the log knows.
            Source: A2PR (arXiv 2405.19909), whose policy stays near the log's except where an advantage is shown; here
            the doubt decides how near.

    Raises:
        EvaluationError: Too few rounds, one arm only, or an arm with neither a price nor a recorded cost.
    """
    names = teacher.sample.arms
    _check(teacher, names, prices)
    told, doubt = teacher.says()
    quality = np.clip(told[:, :, 0] - caution * doubt, 0.0, 1.0)
    inputs = _inputs(teacher, told)
    tokens, recorded = (np.exp(told[:, :, i]) * _smear(teacher.sample, told[:, :, i], i) for i in (1, 2))
    known = [prices.get(name) for name in names]
    lessons = Lessons(quality, tokens, _usd(inputs, tokens, recorded, known))
    task = FitTask(inputs, [arm_of(*arm_fields(name)) for name in names], known, encoder_id=encoder_id, seed=seed)
    seconds = _cells(teacher.sample, teacher.sample.seconds)
    exact = distil(task, lessons, settings=settings or DistilSettings(), seconds=seconds)
    policy = DefaultPolicy.from_tensors(exact.to_tensors(), arms=list(names), encoder_id=encoder_id)
    facts = {
        "judged_rounds": {name: int(n) for name, n in zip(names, teacher.counts, strict=True)},
        "caution": caution,
        "priors": {
            what: {"shared": prior.shared, "apart": prior.apart}
            for what, prior in zip(("quality", "log_tokens", "log_usd"), teacher.models[0].priors, strict=True)
        },
        "n_sampled": len(teacher.sample),
    }
    return LogFit(policy, task, facts)


def _check(teacher: LogTeacher, names: tuple[str, ...], prices: Mapping[str, Price]) -> None:
    n = int(round(teacher.worth.sum(), 6))
    if n < LEAST_ROUNDS:
        counted = "" if n == int(teacher.counts.sum()) else ", noisy ones by their weight"
        raise EvaluationError(f"{n} judged rounds{counted}; at least {LEAST_ROUNDS} are needed, better thousands")
    if np.count_nonzero(teacher.counts) < 2:
        only = names[int(teacher.counts.argmax())]
        raise EvaluationError(f"every judged round was answered by {only}; log with exploration > 0, then train")
    strange = [name for name in prices if name not in names]
    if strange:
        raise EvaluationError(f"--prices: no arm {strange[0]!r} in the log; it has {', '.join(names)}")
    unknown = np.isnan(teacher.sample.usd)
    for column, name in enumerate(names):
        if name not in prices and unknown[teacher.sample.action == column].any():
            raise EvaluationError(f"arm {name}: rounds without a known cost; give its price with --prices")


def _inputs(teacher: LogTeacher, told: Reals) -> Inputs:
    sample = teacher.sample
    ratio = np.where(
        teacher.estimated_tokens > 0, teacher.input_tokens / np.maximum(teacher.estimated_tokens, 1.0), 1.0
    )
    log_tokens = told[:, :, 1].copy()
    log_tokens[np.arange(len(sample)), sample.action] = np.log(np.maximum(sample.output_tokens, 1.0))
    return Inputs(
        embeddings=sample.embeddings,
        lexical=sample.features,
        prompt_tokens=sample.prompt_tokens,
        scores=_cells(sample, _as_if_judged(sample, told)),
        log_tokens=log_tokens,
        usd=_cells(sample, sample.usd),
        input_ratio=ratio,
    )


def _as_if_judged(sample: Rounds, told: Reals) -> Reals:
    """Quality, shape (n,), a noisy label drawn in to where it scatters about what was told as a judgement does.

    Residuals tell the policy that serves how far answers scatter; how noisy a source was is none of their business.
    """
    expected = told[np.arange(len(sample)), sample.action, 0]
    drawn_in = expected + np.sqrt(sample.weight) * (sample.quality - expected)
    return np.where(sample.weight < 1.0, drawn_in, sample.quality)


def _cells(sample: Rounds, values: Reals) -> Reals:
    """``values`` (n,) in the column of the arm that answered, NaN elsewhere, shape (n, m)."""
    cells = np.full((len(sample), len(sample.arms)), np.nan)
    cells[np.arange(len(sample)), sample.action] = values
    return cells


def _smear(sample: Rounds, told: Reals, which: int) -> Reals:
    """What the exponential of a mean log must be multiplied with to give the mean, shape (m,); 1 where nothing tells.

    Source: Duan, "Smearing Estimate", JASA 1983, as a ratio of sums.
    """
    found = sample.output_tokens if which == 1 else np.where(np.isnan(sample.usd), 0.0, sample.usd)
    guessed = np.exp(told[np.arange(len(sample)), sample.action])
    m = len(sample.arms)
    sums = np.bincount(sample.action, weights=found, minlength=m)
    guesses = np.bincount(sample.action, weights=guessed, minlength=m)
    return np.where((sums > 0) & (guesses > 0), sums / np.maximum(guesses, 1e-300), 1.0)


def _usd(inputs: Inputs, tokens: Reals, recorded: Reals, prices: list[Price | None]) -> Reals:
    usd = recorded.copy()
    for column, price in enumerate(prices):
        if price is not None:
            billed = inputs.prompt_tokens * inputs.input_ratio[column]
            usd[:, column] = (billed * price.input + tokens[:, column] * price.output) * USD_PER_TOKEN_OF_PRICE
    return usd
