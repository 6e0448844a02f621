"""Which arms may answer a request, and for each that may not: why."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from policies.policy import ArmFacts
from policies.prices import NANO, Usage, cost_nano_usd
from router.config.caps import is_within
from router.config.schema import ModelConfig


@dataclass(frozen=True, slots=True)
class Needs:
    """What the request demands of an arm; None means no demand, an empty list of models or modes allows none.

    Attributes:
        regions: Where the prompt may go, beside this gateway's own processes; empty: nowhere else.
        priced: The tenant has a budget, from which an unknown price cannot be taken.
        full_modes: Mode -> why it may not answer now: it has its share of the tenant's requests.
    """

    capabilities: tuple[str, ...] = ()
    prompt_tokens: int = 0
    max_tokens: int | None = None
    n: int = 1
    models: Collection[str] | None = None
    modes: Collection[str] | None = None
    regions: Collection[str] | None = None
    max_usd: float = float("inf")
    priced: bool = False
    full_modes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An arm with what eligibility must know of its model."""

    facts: ArmFacts
    model: ModelConfig


def expected_usd(facts: ArmFacts, needs: Needs) -> float | None:
    """USD of `n` answers of the expected length; None if the price is unknown."""
    if facts.price is None:
        return None
    output = facts.output_tokens if needs.max_tokens is None else min(needs.max_tokens, facts.output_tokens)
    usage = Usage(input=needs.prompt_tokens, output=output * needs.n, gpu_us=round(facts.seconds_of(output) * 1e6))
    return cost_nano_usd(usage, facts.price) / NANO


def forbidden(candidate: Candidate, needs: Needs) -> str | None:
    """Why the tenant or the request does not allow this arm, or None."""
    arm = candidate.facts.arm
    if needs.models is not None and arm.model not in needs.models:
        return "model not allowed for this request or tenant"
    if needs.modes is not None and arm.mode not in needs.modes:
        return "mode not allowed for this request or tenant"
    if not is_within(candidate.model, needs.regions):
        where = f"{', '.join(sorted(needs.regions))} or this gateway" if needs.regions else "this gateway"
        return f"the prompt may not leave {where} for this request or tenant, and a deployment is elsewhere"
    return needs.full_modes.get(arm.mode)


def too_dear(facts: ArmFacts, needs: Needs) -> str | None:
    """Why cost cap or budget do not allow this arm, or None. An unknown price is never taken for a low one."""
    if needs.priced and facts.price is None:
        return "the price is unknown and the tenant has a budget; set the model's price"
    if needs.max_usd == float("inf"):
        return None
    usd = expected_usd(facts, needs)
    if usd is None:
        return "the price is unknown and the request has a cost cap"
    if usd > needs.max_usd:
        return f"expected cost {usd:.6f} USD is above the cap {needs.max_usd:g}"
    return None


def obstacle(candidate: Candidate, needs: Needs, *, health: Callable[[str], str | None]) -> str | None:
    """The first reason why this arm may not answer, or None."""
    arm, model = candidate.facts.arm, candidate.model
    not_allowed = forbidden(candidate, needs)
    if not_allowed is not None:
        return not_allowed
    for capability in needs.capabilities:
        if capability not in model.capabilities:
            return f"the model does not declare {capability!r}"
    room = needs.prompt_tokens + (needs.max_tokens or 0)
    if room > model.context_tokens:
        return f"needs about {room} tokens of context, the model has {model.context_tokens}"
    return too_dear(candidate.facts, needs) or health(arm.model)


def eligible(
    candidates: Iterable[Candidate], needs: Needs, *, health: Callable[[str], str | None]
) -> tuple[list[ArmFacts], dict[str, str]]:
    """Split the arms into those that may answer and, by name, why the others may not."""
    arms: list[ArmFacts] = []
    removed: dict[str, str] = {}
    for candidate in candidates:
        reason = obstacle(candidate, needs, health=health)
        if reason is None:
            arms.append(candidate.facts)
        else:
            removed[candidate.facts.name] = reason
    return arms, removed
