"""Whether small changes to a prompt change the arm: percent of prompts decided alike, perturbation by perturbation.

Measured at the ``balanced`` trade-off, which is the hardest place to stay put: a correct answer is worth what the last
edge of the hull of single arms asks for one more (``fold_report.natural_trade_offs`` of the training rows, the first).
Source of the idea: RouterArena, arXiv 2510.00202 (there with paraphrases of a language model).
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from policies.context import Context
from policies.policy import ArmFacts, Policy
from policies.tables import OutcomeTable
from policies.tradeoff import TradeOff
from training.fold_report import natural_trade_offs
from training.offline import arm_facts, contexts_of

Floats = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Floats]
Perturbation = Callable[[str, np.random.Generator], str]

MAX_PROMPTS = 500


def balanced_trade_off(train: OutcomeTable) -> TradeOff:
    """The trade-off at which the choice between the arms is hardest on these rows."""
    return TradeOff(quality_per_usd=1.0 / max(natural_trade_offs(train)[0], 1e-12))


def same_arm_pct(
    policy: Policy,
    table: OutcomeTable,
    *,
    embed: Embed,
    trade_off: TradeOff,
    perturbations: Mapping[str, Perturbation],
    seed: int = 0,
) -> dict[str, float]:
    """Percent of the table's prompts (the first 500) whose most probable arm stays the same, by perturbation.

    The changed prompts are embedded and their features computed anew, as a gateway would. Draws depend on seed,
    perturbation and position alone.
    """
    sample = table.rows(np.arange(len(table)) < MAX_PROMPTS)
    arms = arm_facts(sample)
    before = _arms_chosen(policy, contexts_of(sample, embed(sample.prompts)), arms, trade_off)
    alike = {}
    for name, changed in changed_prompts(table, perturbations, seed=seed).items():
        contexts = contexts_of(replace(sample, prompts=changed), embed(changed))
        after = _arms_chosen(policy, contexts, arms, trade_off)
        alike[name] = 100.0 * float(np.mean(np.array(before) == np.array(after)))
    return alike


def changed_prompts(
    table: OutcomeTable, perturbations: Mapping[str, Perturbation], *, seed: int = 0
) -> dict[str, tuple[str, ...]]:
    """The table's first 500 prompts as each perturbation changes them."""
    found = {}
    for name, perturb in perturbations.items():
        tag = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
        found[name] = tuple(
            perturb(prompt, np.random.default_rng([seed, tag, row]))
            for row, prompt in enumerate(table.prompts[:MAX_PROMPTS])
        )
    return found


def _arms_chosen(
    policy: Policy, contexts: Sequence[Context], arms: Sequence[ArmFacts], trade_off: TradeOff
) -> list[int]:
    return [int(policy.score(context, arms, trade_off).dist.argmax()) for context in contexts]
