"""A small gateway for tests: OpenAI-shaped answers with usage and cost, faults on demand, every request on record."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from training.collect.calls import PROBES

PROBED = {probe[0]["content"] for probe in PROBES}
PRICES = {"cheap/instant": (1.0, 4.0), "dear/instant": (10.0, 40.0), "dear/reasoning:low": (10.0, 40.0)}  # USD per Mtok


@dataclass
class FakeGateway:
    """Answers as a test sets it up.

    Attributes:
        prices: Arm -> USD per million tokens in and out; an arm without one is billed without a cost.
        texts: Arm -> what it says, from the question's text.
        tokens: Completion tokens of an answer to a question.
        fault: What to answer instead: a response, or None to go on; gets the arm and the number of its request, price
            probes not counted.
        asked: (arm, question) of every chat request that reached a model.
    """

    prices: dict[str, tuple[float, float]] = field(default_factory=lambda: dict(PRICES))
    texts: dict[str, Callable[[str], str]] = field(default_factory=dict)
    tokens: Callable[[str], int] = len
    fault: Callable[[str, int], web.Response | None] = lambda arm, number: None
    arms: tuple[str, ...] = tuple(PRICES)
    asked: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    numbers: Counter[str] = field(default_factory=Counter)
    billed_usd: float = 0.0
    most_at_once: int = 0
    _now: int = 0
    url: str = ""

    async def chat(self, request: web.Request) -> web.Response:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await asyncio.sleep(0)  # lets the other requests in
            body = await request.json()
            return self._answer(body)
        finally:
            self._now -= 1

    def _answer(self, body: dict[str, Any]) -> web.Response:
        arm, question = body["model"], body["messages"][-1]["content"]
        self.bodies.append(body)
        if question not in PROBED:
            self.numbers[arm] += 1
            fault = self.fault(arm, self.numbers[arm])
            if fault is not None:
                return fault
        self.asked.append((arm, question))
        given, made = 8 + len(question) // 4, min(self.tokens(question), body["max_tokens"])
        usage: dict[str, Any] = {"prompt_tokens": given, "completion_tokens": made}
        headers = {"x-gearshift-arm": arm}
        if arm in self.prices:
            usd = math.ceil(given * self.prices[arm][0] * 1e3 + made * self.prices[arm][1] * 1e3 - 1e-6) / 1e9
            self.billed_usd += usd
            usage["cost"], headers["x-gearshift-cost-usd"] = usd, f"{usd:.9f}"
        text = self.texts.get(arm, lambda question: "The answer is 4.")(question)
        answer = {"id": f"chatcmpl-{len(self.bodies)}", "choices": [{"message": {"content": text}}], "usage": usage}
        return web.json_response(answer, headers=headers)

    async def models(self, request: web.Request) -> web.Response:
        cards = [{"id": "auto", "gearshift": {"kind": "virtual"}}]
        cards += [{"id": arm, "gearshift": {"kind": "arm"}} for arm in self.arms]
        return web.json_response({"object": "list", "data": cards})

    def questions(self, arm: str) -> list[str]:
        """What the arm was asked, price probes left out."""
        return [question for name, question in self.asked if name == arm and question not in PROBED]


@asynccontextmanager
async def serving(gateway: FakeGateway) -> AsyncIterator[FakeGateway]:
    """The gateway on a free port of the loopback."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", gateway.chat)
    app.router.add_get("/v1/models", gateway.models)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    gateway.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield gateway
    finally:
        await runner.cleanup()
