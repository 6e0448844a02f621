"""The whole way of ``gearshift evaluate``: read the artifacts, open the log, evaluate."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from policies.tradeoff import TradeOff
from training.ope.evaluate import Evaluation, Options, evaluate
from training.ope.log import Progress, open_rounds
from training.ope.missing import Missing
from training.ope.open_target import named, target_of
from training.ope.rounds import EvaluationError
from training.records.prices import read_prices


@dataclass(frozen=True, slots=True)
class EvaluateTask:
    """What to evaluate on which log.

    Attributes:
        log: A gateway's data directory.
        policies: Folders of artifacts, arms of the log, ``uniform`` or ``logging``.
        metric / since: As for ``open_rounds``.
        usd_per_correct_answer: Trade-off of targets and utility; None takes each round's own.
        explore: As for ``PolicyTarget``.
        clip: Largest weight; None for none.
        missing: What becomes of rounds without a judgement.
    """

    log: Path
    policies: tuple[str, ...]
    metric: str | None = None
    since: float | None = None
    usd_per_correct_answer: float | None = None
    explore: float = 0.0
    prices_file: Path | None = None
    floor: float = 0.0
    reference: str = ""
    clip: float | None = None
    seed: int = 0
    missing: Missing = field(default_factory=Missing)


def run(task: EvaluateTask, *, progress: Progress | None = None) -> Evaluation:
    """Evaluate.

    Raises:
        EvaluationError: The log or a name cannot be used.
        PolicyError: An artifact cannot be read.
        RecordError: The prices cannot be read.
    """
    asked = named(task.policies)
    encoders = [each.artifact.encoder_id for each in asked if each.artifact is not None]
    asked_for = None if task.usd_per_correct_answer is None else TradeOff(1.0 / task.usd_per_correct_answer)
    log = open_rounds(
        task.log, encoder_id=encoders[0] if encoders else "", metric=task.metric, since=task.since, missing=task.missing
    )
    if task.floor > 0.0 and task.reference not in log.arms:
        raise EvaluationError(f"--floor needs --reference, an arm of the log: {', '.join(log.arms)}")
    prices = {} if task.prices_file is None else read_prices(task.prices_file)
    targets = [target_of(each, log.arms, prices=prices, explore=task.explore, trade_off=asked_for) for each in asked]
    options = Options(
        clip=np.inf if task.clip is None else task.clip,
        floor=task.floor,
        reference=task.reference,
        seed=task.seed,
        trade_off=asked_for,
    )
    return evaluate(log, targets, options, progress=progress)
