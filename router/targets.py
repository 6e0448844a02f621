"""What a request's `model` asks for: the router (with which trade-off and mode), a real model, or one arm."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from policies.arms import MODES, Arm, ArmSyntaxError, parse_arm
from policies.policy import ArmFacts
from router.errors import NotFound

# RouteLLM's spelling, "router-<name>-<threshold>": its clients are routed unchanged (github.com/lm-sys/RouteLLM).
_ROUTELLM = re.compile(r"router-[A-Za-z0-9_]+-\d*\.?\d+")


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for.

    Attributes:
        forced: The arm the client named (by model or arm), or None for a routed request.
        as_sent: The client named a model, not an arm: its body goes out as it is, without our mode parameters.
        trade_off: Name of the trade-off the virtual model carries, empty for the tenant's.
        mode: Mode the virtual model restricts to, empty for all.
    """

    forced: Arm | None = None
    as_sent: bool = False
    trade_off: str = ""
    mode: str = ""


def virtual_models(trade_offs: Iterable[str], modes: Iterable[str]) -> list[str]:
    """Names under which the router itself can be asked."""
    return ["auto", *(f"auto:{name}" for name in trade_offs), *(f"auto:{mode}" for mode in modes)]


def resolve(
    model: str, *, arms: Mapping[str, ArmFacts], models: Mapping[str, str], trade_offs: Iterable[str]
) -> Target:
    """Read ``model`` of a request.

    Args:
        arms: Every arm by name.
        models: Registered model -> the name of the arm that stands for it when only the model is named.
        trade_offs: Names a virtual model may carry.

    Raises:
        NotFound: No virtual model, registered model or arm has this name.
    """
    if model == "auto" or _ROUTELLM.fullmatch(model):
        return Target()
    if model.startswith("auto:"):
        word = model[5:]
        if word in MODES:
            return Target(mode=word)
        if word in trade_offs:
            return Target(trade_off=word)
    elif model in models:
        return Target(forced=arms[models[model]].arm, as_sent=True)
    elif model in arms:
        return Target(forced=arms[model].arm)
    else:
        try:
            canonical = parse_arm(model, models).name
        except ArmSyntaxError:
            canonical = ""
        if canonical in arms:
            return Target(forced=arms[canonical].arm)
    raise NotFound(
        f"no model, arm or virtual model is called {model[:80]!r}; GET /v1/models lists them",
        param="model",
        code="model_not_found",
    )
