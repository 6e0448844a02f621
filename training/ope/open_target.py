"""What a name on the command line stands for: an artifact's folder, an arm of the log, ``uniform`` or ``logging``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from policies.artifact import MANIFEST, Artifact, read_artifact
from policies.policy import ArmFacts, Policy
from policies.prices import Price
from policies.registry import policy_type
from policies.tradeoff import TradeOff
from training.ope.rounds import EvaluationError
from training.ope.targets import FixedArm, LoggingPolicy, PolicyTarget, Target, Uniform
from training.records.record import arm_fields, arm_of


@dataclass(frozen=True, slots=True)
class Named:
    """A policy as it was named, its artifact read where it has one."""

    name: str
    artifact: Artifact | None


def named(names: Sequence[str]) -> list[Named]:
    """Read the artifacts among ``names``.

    Raises:
        EvaluationError: They were fitted with different encoders.
        ArtifactError, PolicyMismatch: One cannot be read.
    """
    found = [Named(name, _artifact(name)) for name in names]
    encoders = {each.artifact.encoder_id: each.name for each in found if each.artifact is not None}
    if len(encoders) > 1:
        told = "; ".join(f"{name} needs {encoder}" for encoder, name in sorted(encoders.items()))
        raise EvaluationError(
            f"a round has one embedding, and these need different encoders: {told}; evaluate them apart"
        )
    return found


def _artifact(name: str) -> Artifact | None:
    return read_artifact(name) if (Path(name) / MANIFEST).exists() else None


def target_of(
    each: Named,
    arms: Sequence[str],
    *,
    prices: Mapping[str, Price],
    explore: float = 0.0,
    trade_off: TradeOff | None = None,
) -> Target:
    """The target policy, for a log over ``arms``.

    Args:
        prices: Arm name -> price, before those that an artifact was trained at.

    Raises:
        EvaluationError: The name is no folder of an artifact, no arm of the log and no policy of that name.
    """
    if each.artifact is None:
        if each.name in ("logging", "uniform"):
            return LoggingPolicy() if each.name == "logging" else Uniform()
        if each.name in arms:
            return FixedArm(each.name)
        raise EvaluationError(
            f"{each.name!r} is no artifact's folder, no arm of the log ({', '.join(arms)}), nor uniform or logging"
        )
    trained = {str(arm["name"]): arm["price"] for arm in each.artifact.arms}
    known = {name: Price(**price) for name, price in trained.items() if price is not None} | dict(prices)
    facts = {name: ArmFacts(arm_of(*arm_fields(name)), price=known.get(name)) for name in arms}
    return PolicyTarget(Path(each.name).name, _served(each.artifact), facts, explore, trade_off)


def _served(artifact: Artifact) -> Policy:
    kind = policy_type(artifact.policy)
    build = getattr(kind, "from_artifact", None)
    if build is None:
        raise EvaluationError(f"policy {artifact.policy!r} serves no artifact")
    policy: Policy = build(artifact)
    return policy
