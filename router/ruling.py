"""Deciding for one request: forced, sticky, late, single or drawn, and never a made-up choice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from policies.arms import Arm
from policies.context import Context
from policies.decide import Decision, decide
from policies.floors import keeps_floor
from policies.policy import ArmFacts, Policy, Scores
from policies.predictions import Predictions
from policies.tradeoff import TradeOff
from router.ask import Ask, needs_of
from router.eligible import Candidate, Needs, eligible, forbidden, too_dear
from router.errors import ApiError, NoEligibleModel, Unavailable
from router.http.boundary import log_place
from router.perceive import Sight
from router.setup import Setup
from router.targets import Target


@dataclass(frozen=True, slots=True)
class Ruling:
    """The decision in force for a request.

    Attributes:
        kind: One of ``policies.records.KINDS``.
        decision: The draw; for a kind other than ``drawn`` its propensities are one-hot on the arm.
        removed: Arm -> why it was not eligible, including those too slow or below the quality floor.
        able: The arms that may answer, also those below the floor or too slow: a redraw is among them.
    """

    kind: str
    decision: Decision
    removed: dict[str, str]
    able: Sequence[ArmFacts] = ()


def certain(arms: Sequence[ArmFacts], action: int, reason: str) -> Decision:
    """A decision without a draw: probability 1 on ``arms[action]``, and no predictions claimed."""
    dist = np.zeros(len(arms))
    dist[action] = 1.0
    unknown = np.full(len(arms), np.nan)
    predictions = Predictions(quality=unknown, quality_sd=unknown, usd=unknown, seconds=unknown)
    return Decision(arms=tuple(arms), action=action, propensities=dist, scores=Scores(dist, predictions, reason))


def above_floor(
    policy: Policy, context: Context, arms: Sequence[ArmFacts], *, trade_off: TradeOff, reference: str | None
) -> tuple[list[ArmFacts], dict[str, str]]:
    """Keep the arms whose predicted quality reaches the floor, relative to the reference arm (default: the best).

    Where a policy claims no knowledge of quality (NaN) it cannot promise a floor: such arms go unless they are the
    reference. If it knows of none and no reference is eligible, there is nothing to compare and all are kept.
    """
    quality = policy.score(context, arms, trade_off).predictions.quality
    names = [arm.name for arm in arms]
    if reference in names:
        at = names.index(reference)
    elif np.isnan(quality).all():
        return list(arms), {}
    else:
        at = int(np.nanargmax(quality))
    least = trade_off.quality_floor * quality[at]
    kept: list[ArmFacts] = []
    removed: dict[str, str] = {}
    for index, arm in enumerate(arms):
        if index == at or quality[index] >= least:  # never true of a NaN
            kept.append(arm)
        else:
            removed[arm.name] = (
                f"predicted quality is below the floor of {trade_off.quality_floor:g} of the reference arm"
            )
    return kept, removed


def in_time(
    policy: Policy, context: Context, arms: Sequence[ArmFacts], *, trade_off: TradeOff
) -> tuple[list[ArmFacts], dict[str, str]]:
    """Keep the arms expected to answer within the latency target; where none is, the quickest.

    An unknown time is never taken for a short one, but where no time is known there is nothing to compare.
    """
    seconds = policy.score(context, arms, trade_off).predictions.seconds
    if np.isnan(seconds).all():
        return list(arms), {}
    quickest = int(np.nanargmin(seconds))
    kept: list[ArmFacts] = []
    removed: dict[str, str] = {}
    for index, arm in enumerate(arms):
        if index == quickest or seconds[index] <= trade_off.max_s:  # never true of a NaN
            kept.append(arm)
        elif np.isnan(seconds[index]):
            removed[arm.name] = f"its time is unknown and the latency target is {trade_off.max_s:g} s"
        else:
            removed[arm.name] = (
                f"expected to take {seconds[index]:.1f} s, above the latency target of {trade_off.max_s:g} s"
            )
    return kept, removed


def draw(ask: Ask, context: Context, arms: Sequence[ArmFacts], *, removed: dict[str, str], rng: Generator) -> Ruling:
    """Latency target and floor first, then the policy's distribution over what remains, then one draw.

    A policy that promises floors relative to the tenant's reference arm keeps them itself, on average over queries:
    arms taken away here would make it another policy than the one that was tested.
    """
    policy, trade_off, reference = ask.setup.policy, ask.trade_off, ask.caller.config.reference
    able = arms
    if trade_off.max_s < float("inf"):
        arms, slow = in_time(policy, context, arms, trade_off=trade_off)
        removed = removed | slow
    if trade_off.quality_floor > 0.0 and not keeps_floor(policy, reference):
        arms, below = above_floor(policy, context, arms, trade_off=trade_off, reference=reference)
        removed, trade_off = removed | below, replace(trade_off, quality_floor=0.0)
    decision = decide(policy, context, arms, trade_off=trade_off, rng=rng, explore=ask.explore)
    return Ruling("drawn" if len(arms) > 1 else "single", decision, removed, able)


def rule(ask: Ask, sight: Sight, *, rng: Generator, full_modes: Mapping[str, str] | None = None) -> Ruling:
    """Choose the arm of a request.

    Args:
        full_modes: Mode -> why it may not answer now. What is known here is soon old, so where it leaves nothing, and
            for a named arm, the store is asked; a turn that goes on has its mode already.

    Raises:
        NoEligibleModel: No arm may answer; the message says why for each.
        Unavailable: Those that may are not up.
    """
    setup = ask.setup
    needs = needs_of(ask, sight.context.prompt_tokens)
    arms, removed = eligible(setup.candidates, needs, health=setup.deployments.healthy)
    if full_modes and not ask.continues and ask.target.forced is None:
        without = eligible(setup.candidates, replace(needs, full_modes=full_modes), health=setup.deployments.healthy)
        arms, removed = without if without[0] else (arms, removed)
    if ask.target.forced is not None:
        return _forced(ask, ask.target.forced, needs, removed)
    if not arms:
        raise _nobody(setup, needs, removed)
    return rule_among(ask, sight, arms, removed=removed, rng=rng)


def rule_among(ask: Ask, sight: Sight, arms: Sequence[ArmFacts], *, removed: dict[str, str], rng: Generator) -> Ruling:
    """Choose among the arms that may answer: the kept one, the policy's draw, or where it cannot draw the fallback."""
    setup, context = ask.setup, sight.context
    names = [arm.name for arm in arms]
    if ask.continues and ask.before is not None and ask.before.arm in names:
        kept = certain(arms, names.index(ask.before.arm), "a tool result stays on its arm")
        return Ruling("sticky", kept, removed, arms)
    if setup.policy.encoder_id and not context.embedding.size:
        # Not asked for: a tool result was to stay on an arm, and that arm may no longer answer.
        why = "the embedding was late" if sight.late else "the arm of this tool result may not answer"
        return _late(ask, arms, removed, why=why)
    try:
        return draw(ask, context, arms, removed=removed, rng=rng)
    except Exception as error:
        # A policy may be a plug-in: routing that fails costs the choice, never the answer. Only the stack is logged.
        log_place(error)
        return _late(ask, arms, removed, why="the policy failed")


def _nobody(setup: Setup, needs: Needs, removed: dict[str, str]) -> ApiError:
    """400 where the request asks for what no arm can do; 503 where an arm could, and only has to be up again."""
    reasons = "; ".join(f"{arm}: {why}" for arm, why in removed.items())
    able, _ = eligible(setup.candidates, needs, health=lambda model: None)
    if able:
        return Unavailable(f"no arm can answer now: {reasons}", retry_after_s=1)
    return NoEligibleModel(f"no arm may answer this request: {reasons}")


def _late(ask: Ask, arms: Sequence[ArmFacts], removed: dict[str, str], *, why: str) -> Ruling:
    """The declared fallback, or the cheapest eligible arm (arms come cheapest first); never a random one."""
    names = [arm.name for arm in arms]
    at = names.index(ask.setup.fallback) if ask.setup.fallback in names else 0
    return Ruling("late", certain(arms, at, f"{why}: the declared fallback answers"), removed, arms)


def _forced(ask: Ask, arm: Arm, needs: Needs, removed: dict[str, str]) -> Ruling:
    """The arm the client named. What the model cannot do is left to it to say; what the tenant may not, we say."""
    facts = ask.setup.arms[arm.name]
    why = forbidden(Candidate(facts, ask.setup.config.models[arm.model]), needs) or too_dear(facts, needs)
    if why is not None:
        raise NoEligibleModel(f"{arm.name}: {why}", param="model")
    return Ruling("forced", certain([facts], 0, "the request names this model or arm"), removed, [facts])


def observe(ask: Ask, sight: Sight, *, rng: Generator) -> dict[str, object] | None:
    """What the policy would have chosen for pinned traffic of a tenant with ``observe: true``; None otherwise."""
    if ask.target.forced is None or not ask.caller.config.observe:
        return None
    routed = replace(ask, target=Target())
    try:
        ruling = rule(routed, sight, rng=rng)
    except (NoEligibleModel, Unavailable):
        return None
    decision = ruling.decision
    return {
        "kind": ruling.kind,
        "arm": decision.arm.name,
        "arms": [arm.name for arm in decision.arms],
        "propensities": decision.propensities.tolist(),
        "quality": decision.scores.predictions.quality.tolist(),
        "usd": decision.scores.predictions.usd.tolist(),
    }
