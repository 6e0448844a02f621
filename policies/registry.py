"""Finds policies by name: the built-in ones and those of the entry-point group ``gearshift.policies``.

Only the policy that is asked for is imported.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Protocol, cast

from policies.encoders.base import Encoder
from policies.errors import ArtifactError, PolicyError, PolicyMismatch
from policies.policy import ArmFacts, Policy
from policies.settings import DeclaredPolicy, PolicySettings

__all__ = ["ArtifactError", "DeclaredPolicy", "PolicyError", "PolicyMismatch", "load_policy", "registered_policies"]

GROUP = "gearshift.policies"
BUILT_IN = {
    "default": "policies.zoo.default:DefaultPolicy",
    "static": "policies.zoo.static:StaticPolicy",
    "uniform": "policies.zoo.uniform:UniformPolicy",
    "rules": "policies.zoo.rules:RulesPolicy",
    "linear": "policies.zoo.linear:LinearPolicy",
    "global_means": "policies.zoo.means:GlobalMeansPolicy",
    "mf": "policies.zoo.mf:FactorPolicy",
    "irt": "policies.zoo.irt:ResponsePolicy",
    "mlp": "policies.zoo.mlp:NetPolicy",
    "two_tower": "policies.zoo.two_tower:TwoTowerPolicy",
    "topics": "policies.zoo.topics:TopicsPolicy",
    "cluster": "policies.zoo.cluster:ClusterPolicy",
    "knn": "policies.zoo.knn:KnnPolicy",
    "logistic": "policies.zoo.logistic:LogisticPolicy",
    "gbdt": "policies.zoo.gbdt:GbdtPolicy",
    "blend": "policies.zoo.blend:BlendPolicy",
}


class PolicyType(Protocol):
    """What an entry point of the group names: a class that can build its policy."""

    def build(self, settings: PolicySettings, arms: Sequence[ArmFacts], encoder: Encoder | None) -> Policy:
        """Build the policy for the configured ``arms``.

        Raises:
            PolicyError: The settings or the artifact cannot be used.
        """
        ...

    def example(self, arms: Sequence[ArmFacts]) -> Policy:
        """A small instance over ``arms``, for the conformance test."""
        ...


def registered_policies() -> tuple[str, ...]:
    """Names of every policy that can be loaded, sorted; imports none."""
    return tuple(sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))}))


def policy_type(name: str) -> PolicyType:
    """Import one policy.

    Raises:
        PolicyError: Nothing of that name is registered.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return cast(PolicyType, getattr(import_module(module), attribute))
    for entry in entry_points(group=GROUP, name=name):
        return cast(PolicyType, entry.load())
    known = ", ".join(registered_policies())
    raise PolicyError(f"policy.name: no policy is named {name!r}; use one of {known}, or install its plug-in")


def load_policy(settings: PolicySettings, arms: Sequence[ArmFacts], encoder: Encoder | None) -> Policy:
    """Build the configured policy.

    Args:
        settings: The configuration's ``policy`` section.
        arms: Every configured arm.
        encoder: The encoder that will serve; None if there is none.

    Raises:
        PolicyError: It cannot be built; PolicyMismatch and ArtifactError are its kinds.
    """
    return policy_type(settings.name).build(settings, arms, encoder)
