"""The whole way of ``gearshift train log``: fit on the older rounds, judge on the newer ones, fit on all, save."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from policies.artifact import load_artifact, save_artifact
from policies.encoders.base import Encoder
from policies.policy import ArmFacts
from policies.tradeoff import TradeOff
from training.logged.fit import CAUTION, LogFit, fit_on_log
from training.logged.measure import measure
from training.logged.noise import Noise
from training.logged.teacher import fit_teacher
from training.ope.evaluate import Evaluation, Options, evaluate
from training.ope.log import LoggedRounds, Progress, Tally, open_rounds
from training.ope.rounds import EvaluationError
from training.ope.targets import PolicyTarget
from training.records.prices import read_prices
from training.zoo.save import artifact_of

NAME = "trained"


@dataclass(frozen=True, slots=True)
class TrainLog:
    """What to fit on which log, and where to.

    Attributes:
        log: A gateway's data directory.
        metric / since: As for ``open_rounds``.
        noisy: Metrics that stand in where ``metric`` said nothing, weighted by the noise that is learned of each.
        caution: As for ``fit_on_log``.
        held_out: Share of the rounds, the newest, on which a fit on the others is judged; 0 judges nothing.
        usd_per_correct_answer: Trade-off of that judgement; None takes each round's own.
    """

    log: Path
    out: Path
    metric: str | None = None
    noisy: tuple[str, ...] = ()
    since: float | None = None
    prices_file: Path | None = None
    caution: float = CAUTION
    held_out: float = 0.25
    usd_per_correct_answer: float | None = None
    seed: int = 0


def train_log(task: TrainLog, *, encoder: Encoder, progress: Progress) -> tuple[Evaluation | None, dict[str, Any]]:
    """Run the task and write its artifact; returns the judgement of the held-out rounds and a summary of JSON values.

    Raises:
        EvaluationError: The log cannot be read, teaches too little or was embedded by another encoder, or there is
            nothing to measure the noisy metrics against.
        PolicyError: The artifact cannot be written there.
        RecordError: The prices cannot be read.
    """
    log = open_rounds(task.log, metric=task.metric, since=task.since)
    if log.encoder_id != encoder.encoder_id:
        raise EvaluationError(
            f"{task.log}: most rounds were embedded by {log.encoder_id}, not by {encoder.encoder_id}; "
            "name the gateway's encoder with --encoder and --source"
        )
    prices = {} if task.prices_file is None else read_prices(task.prices_file)

    def fit(part: LoggedRounds, tally: Tally | None = None) -> LogFit:
        noise = _noise(part, task, progress)
        teacher = fit_teacher(part.labels(tally, progress=progress, sources=noise), seed=task.seed)
        found = fit_on_log(teacher, encoder_id=encoder.encoder_id, prices=prices, caution=task.caution, seed=task.seed)
        return found if noise is None else replace(found, facts=found.facts | {"noise": noise.plain()})

    judged, evaluation = _held_out(log, task, fit)
    tally = Tally()
    final = fit(log, tally)
    data = {
        "source": "log",
        "n_rows": tally.n_rows,
        "n_rounds": tally.n_rounds,
        "excluded": dict(tally.excluded),
        "first_at": float(log.began.min()),
        "last_at": float(log.began.max()),
    }
    artifact = artifact_of(final.policy, final.task, facts=final.facts, data=data, evaluation=evaluation)
    saved = load_artifact(save_artifact(artifact, task.out, encoder=encoder), encoder=encoder)
    summary = {"artifact": str(task.out), "version": saved.version, "arms": list(log.arms), "data": data}
    return judged, summary | {"facts": final.facts, "evaluation": evaluation}


def _noise(part: LoggedRounds, task: TrainLog, progress: Progress) -> Noise | None:
    """Learned of the very rounds that are fitted to, so that what is held out stays unseen."""
    if not task.noisy:
        return None
    if task.metric is None:
        raise EvaluationError(
            "--noisy-metric: others are measured against one metric that is the quality; name it with --metric"
        )
    said = part.judgements(task.noisy, progress=progress)
    return measure(said, reference=task.metric, metrics=task.noisy, arms=part.arms)


def _held_out(log: LoggedRounds, task: TrainLog, fit: Any) -> tuple[Evaluation | None, dict[str, Any]]:
    """The judgement of the held-out rounds, and the same or why there is none as JSON values.

    A part of a log may be too little, or too new to be judged, where all of it is enough to learn from.
    """
    if task.held_out == 0.0:
        return None, {}
    try:
        judged = _judged(log, task, fit)
    except EvaluationError as problem:
        return None, {"held_out_refused": str(problem)}
    return judged, {"held_out_rounds": judged.plain()}


def _judged(log: LoggedRounds, task: TrainLog, fit: Any) -> Evaluation:
    """The fit on the older rounds, judged on the newer ones by the metric that is the quality, and by no other."""
    cut = float(np.quantile(log.began, 1.0 - task.held_out))
    older, newer = replace(log, until=cut), replace(log, since=cut)
    part: LogFit = fit(older)
    facts = {arm.name: ArmFacts(arm, price) for arm, price in zip(part.task.arms, part.task.prices, strict=True)}
    asked = None if task.usd_per_correct_answer is None else TradeOff(1.0 / task.usd_per_correct_answer)
    target = PolicyTarget(NAME, part.policy, facts, trade_off=asked)
    return evaluate(newer, [target], Options(trade_off=asked, seed=task.seed))
