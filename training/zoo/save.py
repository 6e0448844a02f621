"""A fitted policy of the zoo as an artifact that the gateway serves."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from policies.artifact import Artifact
from policies.features import FEATURES_ID
from policies.floors import Floors
from policies.zoo.predictive import PredictivePolicy
from training.zoo.task import FitTask


def artifact_of(
    policy: PredictivePolicy,
    task: FitTask,
    *,
    facts: Mapping[str, Any],
    data: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    floors: Floors | None = None,
) -> Artifact:
    """The policy with what repeats its fit.

    Args:
        facts: Of the fit: settings chosen and sizes.
        data: What it was fitted on: source, rows, range.
        evaluation: Measured on held-out data.
        floors: What this very fit promises.
    """
    arms = tuple(
        {**asdict(arm), "price": None if price is None else asdict(price), "revision": ""}
        for arm, price in zip(task.arms, task.prices, strict=True)
    )
    return Artifact(
        policy=policy.name,
        arms=arms,
        encoder_id=policy.encoder_id,
        features_id=FEATURES_ID,
        tensors=policy.to_tensors(),
        data={"n_queries": len(task.inputs)} | dict(data or {}),
        training={"seed": task.seed, "facts": dict(facts)},
        evaluation=dict(evaluation or {}),
        floors={} if floors is None else floors.as_dict(),
    )
