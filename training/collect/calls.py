"""Paid calls: each one is bounded before it starts, and written down before and after it."""

import time
from collections.abc import Iterable

from training.collect.errors import GatewayDown, UnknownCost
from training.collect.gateway import Gateway, Reply
from training.collect.journal import Journal, Past
from training.collect.judge import MAX_TOKENS as JUDGE_TOKENS
from training.collect.judge import judge_messages
from training.collect.prompts import JUDGE, Messages, Task
from training.collect.spend import Bill, Purse, Rates, most_input_tokens, most_output_tokens
from training.records.record import arm_fields

# Much output for little input, and the other way round: together they tell the two prices apart.
PROBES: tuple[Messages, ...] = (
    [{"role": "user", "content": "Count from one to ten."}],
    [{"role": "user", "content": "Say only OK. Ignore this:" + " lorem ipsum" * 50}],
)
PROBE_TOKENS = 16
NO_ROOM = "the cap leaves no room for its first calls"
_TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens")
_UNSENT = {"status": "unsent", "usd": None, "billable": False, **dict.fromkeys(_TOKENS)}


class PaidCalls:
    """Calls through a gateway that a purse pays and a journal remembers."""

    def __init__(self, gateway: Gateway, journal: Journal, *, past: Past, max_usd: float) -> None:
        self.purse = Purse(max_usd, spent_usd=past.spent_usd + past.held_usd)
        self._gateway, self._journal, self._rates = gateway, journal, Rates()
        for bill in past.bills:
            self._learn(bill["arm"], bill)
        self._last = time.time_ns()  # call ids only have to differ within the journal

    async def learn_prices(self, arms: Iterable[str]) -> dict[str, str]:
        """Ask each arm without a bill for a word, one after the other: its bills bound what a real call can cost.

        Returns:
            Arms whose prices stay unknown, with the reason; none without a cap.
        """
        gone: dict[str, str] = {}
        unknown = sorted(arm for arm in set(arms) if not self._rates.knows(arm)) if self.purse.capped else []
        for probe in PROBES if unknown else ():
            expected = await self._gateway.predicted_usd(probe, max_tokens=PROBE_TOKENS)
            for arm in unknown:
                why = "" if arm in gone else await self._probe(arm, probe, expected_usd=expected.get(arm, 0.0))
                if why:
                    gone[arm] = why
        return gone

    async def _probe(self, arm: str, messages: Messages, *, expected_usd: float) -> str:
        """A word of an arm, alone: until prices are known nothing else may be under way. Why it failed, else empty."""
        if self.purse.left_usd <= 0.0 or expected_usd > self.purse.left_usd:
            return NO_ROOM
        reply = await self.call(arm, messages, what="probe", bound_usd=expected_usd, max_tokens=PROBE_TOKENS)
        if self._rates.knows(arm):
            return ""
        why = "the gateway told no token counts" if reply.status == "ok" else reply.status
        return f"its price could not be learned: {why}"

    async def call(self, arm: str, messages: Messages, *, what: str, bound_usd: float, **more: object) -> Reply:
        """One paid call, written down before and after. Raises UnknownCost under a cap."""
        self._last += 1
        call, capped = f"c{self._last}", self.purse.capped
        self._journal.append({"kind": "start", "call": call, "arm": arm, "bound_usd": bound_usd if capped else 0.0})
        try:
            reply = await self._gateway.ask(arm, messages, **more)
        except GatewayDown:  # nothing reached it, so nothing is owed
            self._journal.append({"kind": "end", "call": call, "arm": arm, "what": what, **_UNSENT})
            raise
        bill = {key: getattr(reply, key) for key in ("status", "usd", "billable", *_TOKENS)}
        self._journal.append({"kind": "end", "call": call, "arm": arm, "what": what, **bill})
        self.purse.spend(bound_usd if reply.usd is None and reply.billable and capped else reply.usd or 0.0)
        self._learn(arm, bill)
        if reply.usd is not None and capped and what != "probe":
            self._rates.exceeded(arm, bound_usd=bound_usd, usd=reply.usd)
        if reply.usd is None and reply.status == "ok" and capped:
            raise UnknownCost(
                f"the gateway told no cost for arm {arm}, so --max-usd cannot be kept; set models.<name>.price in its "
                "configuration ({input: 0, output: 0} if it is free), or give --max-usd inf"
            )
        return reply

    def bounds(self, task: Task, arm: str, *, judge: str | None, max_tokens: int) -> tuple[float, float]:
        """The most the answer and its judgement can cost; 0 without a cap."""
        if not self.purse.capped:
            return 0.0, 0.0
        answer = self._bound(arm, most_input_tokens(task.messages), max_tokens)
        if task.check != JUDGE or judge is None:
            return answer, 0.0
        said = 8 * max_tokens  # bytes: an answer that long would have eight to a token
        return answer, self._bound(judge, most_input_tokens(judge_messages(task, "")) + said, JUDGE_TOKENS)

    def _bound(self, arm: str, input_tokens: int, max_tokens: int) -> float:
        _, mode, effort, _ = arm_fields(arm)
        output_tokens = most_output_tokens(mode, effort, max_tokens)
        return self._rates.bound_usd(arm, input_tokens=input_tokens, output_tokens=output_tokens)

    def _learn(self, arm: str, bill: dict[str, object]) -> None:
        given, cached, output = (bill[name] for name in _TOKENS)
        usd = bill["usd"]
        if isinstance(given, int) and isinstance(output, int) and isinstance(usd, int | float):
            fresh = max(given - (cached if isinstance(cached, int) else 0), 0)
            self._rates.learn(arm, Bill(given, fresh, output, usd))
