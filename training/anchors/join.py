"""An arm joins an artifact: by its descriptor alone, or by that and its answers to the anchors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.arms import Arm
from policies.artifact import Artifact
from policies.descriptors import describe
from policies.prices import Price
from training.anchors.estimate import Standing, standing_from_anchors
from training.anchors.outcomes import AnchorOutcomes
from training.arms import Newcomer, Population, adopt, standing_by_descriptor

Known = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Joined:
    """What came of it.

    Attributes:
        artifact: With the arm as its last.
        by_descriptor: The arm's standing before its first answer.
        standing: That which it joined with.
    """

    artifact: Artifact
    by_descriptor: Standing
    standing: Standing


def join_by_descriptor(
    artifact: Artifact, *, arm: Arm, price: Price | None, population: Population, known: Known | None = None
) -> Joined:
    """Take in an arm that has answered nothing yet.

    Args:
        population: Queries over which its mean quality is what its descriptor says.
        known: Entries of descriptors by model name.

    Raises:
        PolicyError: The artifact cannot take in the arm.
    """
    prior = standing_by_descriptor(artifact, describe(arm, price, known), known=known)
    return Joined(adopt(artifact, Newcomer(arm, price, prior), population=population), prior, prior)


def join_by_anchors(
    artifact: Artifact,
    outcomes: AnchorOutcomes,
    *,
    arm: Arm,
    price: Price | None,
    population: Population,
    known: Known | None = None,
) -> Joined:
    """Take in an arm by what it made of the anchors; its descriptor counts as the prior.

    Args:
        population: The answered anchors with their weights.
        known: Entries of descriptors by model name.

    Raises:
        PolicyError: The artifact cannot take in the arm.
    """
    prior = standing_by_descriptor(artifact, describe(arm, price, known), known=known)
    standing = standing_from_anchors(outcomes.exam, outcomes.scores, prior=prior)
    newcomer = Newcomer(arm, price, standing, outcomes.output_tokens)
    return Joined(adopt(artifact, newcomer, population=population), prior, standing)
