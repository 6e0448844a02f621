"""The cap: what was spent, what is reserved, and the most a call can cost."""

import math
from dataclasses import dataclass
from itertools import combinations

from policies.prices import NANO
from training.collect.errors import CollectError
from training.collect.prompts import Messages

# The gateway bills a completion up to this much over its bound as reported, and no more (router/http/usage.py).
OVER_BOUND, SLACK_TOKENS = 1.5, 64
# What the gateway adds to the bound where an endpoint counts thinking in it (router/modes.py).
THINKING_TOKENS = {"off": 0, "minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "": 2048}
FRAME_TOKENS = 1024  # a mode's system text and the chat template's own tokens
MEDIA_TOKENS = 4096  # an image given by address


class Purse:
    """Integer nano-USD under a cap: reserved before a call, spent after it."""

    def __init__(self, cap_usd: float, *, spent_usd: float = 0.0) -> None:
        """Raises CollectError: the cap is no amount."""
        if not cap_usd >= 0.0:
            raise CollectError(f"--max-usd: expected an amount of USD, or inf for no cap, got {cap_usd}")
        self._cap = None if math.isinf(cap_usd) else math.floor(cap_usd * NANO)
        self._spent, self._reserved = _nano(spent_usd), 0

    @property
    def spent_usd(self) -> float:
        return self._spent / NANO

    @property
    def spent_nano_usd(self) -> int:
        return self._spent

    @property
    def capped(self) -> bool:
        return self._cap is not None

    @property
    def left_usd(self) -> float:
        """What may still be reserved."""
        return math.inf if self._cap is None else (self._cap - self._spent - self._reserved) / NANO

    def reserve(self, usd: float) -> bool:
        """Set ``usd`` aside if the cap allows it."""
        if self._cap is not None and self._spent + self._reserved + _nano(usd) > self._cap:
            return False
        self._reserved += _nano(usd)
        return True

    def release(self, usd: float) -> None:
        """Give back what `reserve` set aside; what was spent of it is told by `spend`."""
        self._reserved -= _nano(usd)

    def spend(self, usd: float) -> None:
        self._spent += _nano(usd)


@dataclass(frozen=True, slots=True)
class Bill:
    """What an answer was charged; ``fresh`` input tokens are those that were not read from a cache."""

    input_tokens: int
    fresh: int
    output_tokens: int
    usd: float

    @property
    def ratio(self) -> float:
        return self.output_tokens / self.input_tokens


@dataclass(slots=True)
class _Rate:
    """What an arm's bills say of its prices: the two that differ most, and the least USD per token of either kind."""

    leanest: Bill
    fattest: Bill
    per_input: float = math.inf
    per_output: float = math.inf
    excess: float = 1.0


class Rates:
    """The most each arm can charge, learned from its bills.

    Prices are taken as linear in tokens: fresh·a + output·b ≤ USD ≤ input·a + output·b + 1 nano-USD, with unknown
    prices a, b ≥ 0. The bound of a call is the largest cost that any such prices allow. Where no prices fit, each
    token is charged at the least USD per token ever seen.
    """

    def __init__(self) -> None:
        self._by_arm: dict[str, _Rate] = {}

    def learn(self, arm: str, bill: Bill) -> None:
        """Take in a bill; one without tokens of both kinds says nothing."""
        if not bill.fresh or not bill.output_tokens:
            return
        rate = self._by_arm.setdefault(arm, _Rate(leanest=bill, fattest=bill))
        rate.per_input = min(rate.per_input, bill.usd / bill.fresh)
        rate.per_output = min(rate.per_output, bill.usd / bill.output_tokens)
        rate.leanest = min(rate.leanest, bill, key=lambda each: each.ratio)
        rate.fattest = max(rate.fattest, bill, key=lambda each: each.ratio)

    def exceeded(self, arm: str, *, bound_usd: float, usd: float) -> None:
        """A bill went over its bound, so the prices are not linear: all further bounds grow by as much."""
        if arm in self._by_arm and 0.0 < bound_usd < usd:
            self._by_arm[arm].excess = max(self._by_arm[arm].excess, usd / bound_usd)

    def knows(self, arm: str) -> bool:
        return arm in self._by_arm

    def bound_usd(self, arm: str, *, input_tokens: int, output_tokens: int) -> float:
        """The most a call of so many tokens can cost; infinite for an arm without a bill."""
        rate = self._by_arm.get(arm)
        if rate is None:
            return math.inf
        most = _dearest(rate, input_tokens, output_tokens)
        return rate.excess * most * (1.0 + 1e-6) + 1.0 / NANO


def _dearest(rate: _Rate, input_tokens: int, output_tokens: int) -> float:
    """Largest cost under all prices that fit the bills: a linear program in two unknowns, by its corners."""
    limits = [(1.0, 0.0, rate.per_input), (0.0, 1.0, rate.per_output), (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0)]
    for bill in (rate.leanest, rate.fattest):
        limits.append((float(bill.fresh), float(bill.output_tokens), bill.usd))
        limits.append((-float(bill.input_tokens), -float(bill.output_tokens), 1.0 / NANO - bill.usd))
    corners = [_crossing(one, other) for one, other in combinations(limits, 2)]
    fitting = [
        corner
        for corner in corners
        if corner is not None
        and all(a * corner[0] + b * corner[1] <= most + 1e-12 + 1e-9 * abs(most) for a, b, most in limits)
    ]
    if not fitting:
        return rate.per_input * input_tokens + rate.per_output * output_tokens
    return max(a * input_tokens + b * output_tokens for a, b in fitting)


def _crossing(one: tuple[float, float, float], other: tuple[float, float, float]) -> tuple[float, float] | None:
    """Where two lines a·x + b·y = c meet; None for parallel ones."""
    below = one[0] * other[1] - one[1] * other[0]
    if below == 0.0:
        return None
    return (one[2] * other[1] - one[1] * other[2]) / below, (one[0] * other[2] - one[2] * other[0]) / below


def most_input_tokens(messages: Messages) -> int:
    """No tokenizer makes more tokens of a text than it has bytes."""
    total = FRAME_TOKENS
    for message in messages:
        content = message.get("content")
        parts = content if isinstance(content, list) else [content]
        total += sum(map(_most_tokens, parts)) + _most_tokens(str(message.get("tool_calls") or ""))
    return total


def most_output_tokens(arm_mode: str, effort: str, max_tokens: int) -> int:
    """The most tokens an answer is billed for: its bound, thinking that comes on top, and what runs over."""
    budget = max(int(effort), 1024) if effort.isdecimal() else THINKING_TOKENS[effort]
    thinking = 0 if arm_mode == "instant" else budget
    return math.ceil((max_tokens + thinking) * OVER_BOUND) + SLACK_TOKENS


def _most_tokens(part: object) -> int:
    if isinstance(part, str):
        return len(part.encode("utf-8", "surrogatepass"))
    if isinstance(part, dict):
        text = part.get("text")
        return MEDIA_TOKENS if not isinstance(text, str) else len(text.encode("utf-8", "surrogatepass"))
    return 0


def _nano(usd: float) -> int:
    # A whisker below the next integer: 0.1 USD must not become 100000001 nano-USD.
    return math.ceil(usd * NANO - 1e-6)
