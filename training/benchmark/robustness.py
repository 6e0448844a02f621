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
from policies.tables import Mask, OutcomeTable
from policies.tradeoff import TradeOff
from training.fold_report import natural_trade_offs
from training.offline import arm_facts, contexts_of
from training.rewordings import by_content

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
    """Percent of the table's prompts (500 of them) whose most probable arm stays the same, by perturbation.

    The changed prompts are embedded and their features computed anew, as a gateway would. What is drawn hangs on seed,
    perturbation and prompt alone: pools that share prompts share what is to be embedded.
    """
    sample = table.rows(_asked(table, seed=seed))
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
    """The prompts that are asked about, in the table's order, as each perturbation changes them."""
    prompts, found = table.rows(_asked(table, seed=seed)).prompts, {}
    for name, perturb in perturbations.items():
        found[name] = tuple(perturb(prompt, np.random.default_rng(_draws(seed, name, prompt))) for prompt in prompts)
    return found


def _asked(table: OutcomeTable, *, seed: int) -> Mask:
    mask: Mask = np.zeros(len(table), dtype=np.bool_)
    mask[by_content(table.prompts, seed=seed)[:MAX_PROMPTS]] = True
    return mask


def _draws(seed: int, *texts: str) -> list[int]:
    hashes = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts)
    return [seed, *(int.from_bytes(each[:4]) for each in hashes)]


def _arms_chosen(
    policy: Policy, contexts: Sequence[Context], arms: Sequence[ArmFacts], trade_off: TradeOff
) -> list[int]:
    return [int(policy.score(context, arms, trade_off).dist.argmax()) for context in contexts]
