"""Finds rewards by name: the built-in ones and those of the entry-point group ``gearshift.rewards``.

Only the reward that is asked for is imported.
"""

from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from policies.rewards.base import Options, Reward, RewardError, RewardType

GROUP = "gearshift.rewards"
BUILT_IN = {
    "additive": "policies.rewards.additive:Additive",
    "success_gated": "policies.rewards.success_gated:SuccessGated",
    "apo": "policies.rewards.apo:Apo",
    "adaptthink": "policies.rewards.adaptthink:AdaptThink",
}


def registered_rewards() -> tuple[str, ...]:
    """Names of every reward that can be loaded, sorted; imports none."""
    return tuple(sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))}))


def load_reward(name: str, options: Options | None = None) -> Reward:
    """Import one reward and build it.

    Raises:
        RewardError: Nothing of that name is registered, or an option cannot be used.
    """
    return _reward_type(name).build(options or {})


def _reward_type(name: str) -> RewardType:
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return cast(RewardType, getattr(import_module(module), attribute))
    for entry in entry_points(group=GROUP, name=name):
        return cast(RewardType, entry.load())
    known = ", ".join(registered_rewards())
    raise RewardError(f"no reward is named {name!r}; use one of {known}, or install its plug-in")
