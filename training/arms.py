"""Arms join and leave a fitted policy: everything that was learned of the others stays the same to the bit.

A newcomer has the difficulty that all arms share and an offset: first from its descriptor, then from anchors. Works on
every policy that serves a model of quality with a cost model beside it (``policies.zoo.predictive``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.arms import Arm
from policies.artifact import Artifact
from policies.descriptors import ArmDescriptor, describe
from policies.errors import PolicyError
from policies.prices import Price
from policies.registry import policy_type
from policies.zoo.predictive import PredictivePolicy
from policies.zoo.roster import NEWCOMER, Roster, shared_log_odds
from policies.zoo.sigmoid import log_odds, sigmoid
from policies.zoo.two_tower import TwoTowerPolicy
from training.anchors.estimate import Standing
from training.arm_tensors import append_arm, without_arm
from training.zoo.descriptors import fit_arm_features, fit_strength_prior

Floats = NDArray[np.float32]
Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Newcomer:
    """An arm that joins.

    Attributes:
        standing: Its mean quality over the queries that the policy was fitted on (or ones like them), with its doubt.
        output_tokens: Mean tokens of its answers; None: as many as the trained arms' on average.
    """

    arm: Arm
    price: Price | None
    standing: Standing
    output_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Population:
    """Queries that stand for those that were trained on: embeddings (k, dim), lexical (k, n_features), weight (k,)."""

    embeddings: Floats
    lexical: Floats
    weight: Reals


def retire(artifact: Artifact, arm: str) -> Artifact:
    """The artifact without ``arm``; what it knew still makes up the difficulty that newcomers share.

    Quality floors that were promised with the arm are promised no longer.

    Raises:
        PolicyError: The artifact has no such arm, it is the last one, or its policy cannot lose arms.
    """
    policy = _policy(artifact)
    index = _index(policy, arm)
    if len(policy.arm_names) == 1:
        raise PolicyError(f"{arm!r} is the artifact's only arm; a policy without arms cannot choose")
    tensors = without_arm(_with_roster(artifact.tensors, policy), index)
    arms = tuple(entry for entry in artifact.arms if entry["name"] != arm)
    training = _noted(artifact, retired=arm)
    return _checked(replace(artifact, arms=arms, tensors=tensors, version="", training=training, floors={}))


def adopt(artifact: Artifact, newcomer: Newcomer, *, population: Population | None = None) -> Artifact:
    """The artifact with an arm that joins; one that joined before is judged anew.

    With ``population`` the newcomer's mean prediction over it equals its standing's mean quality; without, its offset
    is taken between mean log odds, which is a little off where qualities differ much from query to query.

    Raises:
        PolicyError: The artifact was fitted on this very arm, or its policy cannot take in arms.
    """
    policy, name = _policy(artifact), newcomer.arm.name
    if name in policy.arm_names:
        if not _joined_later(policy, name):
            raise PolicyError(f"the artifact was fitted on {name!r}: what it learned is more than an offset; retire it")
        artifact = retire(artifact, name)
        policy = _policy(artifact)
    offset = _offset(policy, newcomer.standing, population)
    tensors = append_arm(
        _with_roster(artifact.tensors, policy),
        quality=newcomer.standing.quality,
        offset=offset,
        offset_sd=newcomer.standing.sd,
        price=newcomer.price,
        output_tokens=newcomer.output_tokens,
    )
    price = None if newcomer.price is None else asdict(newcomer.price)
    arms = (*artifact.arms, {**asdict(newcomer.arm), "price": price, "revision": ""})
    return _checked(replace(artifact, arms=arms, tensors=tensors, version="", training=_noted(artifact, adopted=name)))


def standing_by_descriptor(
    artifact: Artifact, newcomer: ArmDescriptor, *, known: Mapping[str, Mapping[str, Any]] | None = None
) -> Standing:
    """What to expect of an arm before its first answer; the doubt is the error for trained arms left out in turn.

    ``two_tower`` has its own tower for that; any other policy gets a ridge of its arms' mean quality on what their
    names, prices at training and ``known`` (entries by model name) tell.
    """
    policy = _policy(artifact)
    if isinstance(policy, TwoTowerPolicy):
        mean = policy.towers.strength_by_descriptor([newcomer])
        return Standing(float(mean[0]), float(policy.towers.strength_prior[1]))
    trained = [index for index, name in enumerate(policy.arm_names) if not _joined_later(policy, name)]
    descriptors = [_descriptor(artifact.arms[index], known) for index in trained]
    features = fit_arm_features(descriptors)
    prior = fit_strength_prior(features(descriptors), log_odds(policy.levels.means[trained]))
    return Standing(float(prior.mean(features([newcomer]))[0]), prior.sd)


def _descriptor(entry: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]] | None) -> ArmDescriptor:
    options: Sequence[Sequence[str]] = entry.get("options", ())
    pairs = tuple((str(key), str(value)) for key, value in options)
    arm = Arm(entry["model"], entry["mode"], entry.get("effort", ""), pairs)
    return describe(arm, Price(**entry["price"]) if entry.get("price") else None, known)


def _policy(artifact: Artifact) -> PredictivePolicy:
    kind = policy_type(artifact.policy)
    if not (isinstance(kind, type) and issubclass(kind, PredictivePolicy)):
        raise PolicyError(f"arms cannot join or leave a {artifact.policy!r} policy; train it again with the new arms")
    return kind.from_artifact(artifact)


def _index(policy: PredictivePolicy, arm: str) -> int:
    if arm not in policy.arm_names:
        raise PolicyError(f"the artifact has no arm {arm!r}; it has {', '.join(policy.arm_names)}")
    return policy.arm_names.index(arm)


def _joined_later(policy: PredictivePolicy, name: str) -> bool:
    index = policy.arm_names.index(name)
    return isinstance(policy.model, Roster) and bool(policy.model.columns[index] == NEWCOMER)


def _with_roster(tensors: Mapping[str, NDArray[Any]], policy: PredictivePolicy) -> dict[str, NDArray[Any]]:
    """The artifact's own arrays, never rounded again, with the roster of a policy that has none yet."""
    if isinstance(policy.model, Roster):
        return dict(tensors)
    m = len(policy.arm_names)
    fresh = {"columns": np.arange(m), "offset": np.zeros(m), "offset_sd": np.zeros(m)}
    return dict(tensors) | {f"roster.{part}": values for part, values in fresh.items()}


def _offset(policy: PredictivePolicy, standing: Standing, population: Population | None) -> float:
    """Against the shared log odds, such that the newcomer's mean quality is what it should be."""
    base = policy.model.base if isinstance(policy.model, Roster) else policy.model
    if population is None:
        trained = [i for i, name in enumerate(policy.arm_names) if not _joined_later(policy, name)]
        levels = policy.levels.means[trained] if trained else policy.levels.means
        return standing.log_odds - float(log_odds(levels).mean())
    shared = shared_log_odds(base.quality(population.embeddings, population.lexical))
    low, high = -20.0, 20.0
    for _ in range(60):  # bisection: the mean rises with the offset
        middle = 0.5 * (low + high)
        if float(population.weight @ sigmoid(shared + middle)) < standing.quality:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _noted(artifact: Artifact, **change: str) -> dict[str, Any]:
    """The training record with the change to the roster appended."""
    return {**artifact.training, "roster": [*artifact.training.get("roster", ()), change]}


def _checked(artifact: Artifact) -> Artifact:
    """Refuse here rather than in the gateway what does not belong together."""
    _policy(artifact)
    return artifact
