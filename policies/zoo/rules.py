"""Declared rules, for when nothing is learned yet: the first that fires and has an eligible arm decides."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import orjson

from policies.context import Context
from policies.encoders.base import Encoder
from policies.errors import PolicyError
from policies.policy import ArmFacts, Scores
from policies.predictions import Reals
from policies.settings import DeclaredRule, PolicySettings, RuleSettings
from policies.tradeoff import TradeOff
from policies.zoo.choose import certain, cheapest
from policies.zoo.conditions import Holds, condition
from policies.zoo.known import unlearned

_REASONING = ("*/reasoning*", "*/instant*")
DEFAULT_RULES: tuple[DeclaredRule, ...] = (
    DeclaredRule({"is_math": True}, _REASONING, "mathematics or a proof needs working out"),
    DeclaredRule({"is_code": True}, _REASONING, "code needs working out"),
    DeclaredRule({"is_multi_step": True}, _REASONING, "several steps are asked for"),
    DeclaredRule({"min_prompt_tokens": 1500}, _REASONING, "the prompt is long"),
    DeclaredRule({}, ("*/instant*", "*"), "short and simple"),
)


@dataclass(frozen=True, slots=True)
class _Rule:
    conditions: tuple[Holds, ...]
    prefer: tuple[str, ...]
    because: str


class RulesPolicy:
    """Rules in order; arms that one pattern matches alike are tried from the cheapest."""

    name = "rules"
    encoder_id = ""

    def __init__(self, rules: Sequence[RuleSettings] = DEFAULT_RULES) -> None:
        """Read the rules.

        Raises:
            PolicyError: A condition is unknown or a rule prefers nothing; the message has the rule's number.
        """
        self._rules = tuple(_read(rule, number=number) for number, rule in enumerate(rules))
        text = orjson.dumps([[dict(rule.when), list(rule.prefer)] for rule in rules], option=orjson.OPT_SORT_KEYS)
        self.version = hashlib.sha256(text).hexdigest()[:12]

    @classmethod
    def build(cls, settings: PolicySettings, arms: Sequence[ArmFacts], encoder: Encoder | None) -> "RulesPolicy":
        """Build from ``policy.rules``; without any, the shipped ones."""
        return cls(settings.rules or DEFAULT_RULES)

    @classmethod
    def example(cls, arms: Sequence[ArmFacts]) -> "RulesPolicy":
        """The shipped rules."""
        return cls()

    def score(self, context: Context, arms: Sequence[ArmFacts], trade_off: TradeOff) -> Scores:
        """Probability 1 on the first rule's first eligible arm; the cheapest arm if no rule has one."""
        predictions = unlearned(context, arms)
        for rule in self._rules:
            if not all(holds(context) for holds in rule.conditions):
                continue
            action = _preferred(rule.prefer, arms, predictions.usd)
            if action is not None:
                return Scores(certain(len(arms), action), predictions, f"rule: {rule.because}")
        action = cheapest(arms, predictions.usd)
        return Scores(certain(len(arms), action), predictions, "no rule names an eligible arm: the cheapest one")


def _preferred(patterns: Sequence[str], arms: Sequence[ArmFacts], usd: Reals) -> int | None:
    for pattern in patterns:
        matching = [index for index, arm in enumerate(arms) if fnmatchcase(arm.name, pattern)]
        if matching:
            return cheapest(arms, usd, matching)
    return None


def _read(rule: RuleSettings, *, number: int) -> _Rule:
    if not rule.prefer:
        raise PolicyError(f"policy.rules[{number}].prefer: name at least one arm pattern, e.g. '*/reasoning*'")
    try:
        conditions = tuple(condition(key, value) for key, value in rule.when.items())
    except PolicyError as problem:
        raise PolicyError(f"policy.rules[{number}].when: {problem}") from problem
    return _Rule(conditions, tuple(rule.prefer), rule.because or f"rule {number}")
