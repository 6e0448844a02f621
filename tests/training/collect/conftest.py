"""Fixtures of collections; `fake_gateway.py` beside this file is the gateway they ask."""

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

# Tests are imported by path (importmode=importlib), so the folder of their shared module is named here.
sys.path.insert(0, str(Path(__file__).parent))

from fake_gateway import FakeGateway, serving

from training.collect.gateway import Gateway
from training.collect.journal import Journal, Past
from training.collect.prompts import load_tasks
from training.collect.run import Ending, Plan, collect


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeGateway]:
    async with serving(FakeGateway()) as gateway:
        yield gateway


@dataclass
class Collector:
    """Runs a collection of a prompts file into a folder, as the command does, without sleeping."""

    folder: Path
    fake: FakeGateway
    waits: list[float] = field(default_factory=list)

    def prompts(self, count: int, **more: object) -> Path:
        """A file of ``count`` questions whose answer is 4."""
        lines = [
            {"id": f"q{at}", "prompt": f"What is {at} + {4 - at}?", "reference": "4", "check": "numeric", **more}
            for at in range(count)
        ]
        file = self.folder / "prompts.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return file

    async def run(self, prompts: Path, *, max_usd: float = 1.0, **more: Any) -> Ending:
        tasks = load_tasks(prompts, check=None, judge=more.get("judge"), conditions={})
        more.setdefault("max_tokens", 64)
        plan = Plan(tasks, self.folder / "out", max_usd, **more)
        with Journal(plan.out) as journal:
            async with Gateway(self.fake.url, timeout_s=10.0, sleep=self._sleep) as gateway:
                return await collect(plan, gateway, journal, tell=lambda done, of, usd: None)

    def past(self) -> Past:
        with Journal(self.folder / "out") as journal:
            return journal.past()

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.fixture
def collector(tmp_path: Path, fake: FakeGateway) -> Collector:
    return Collector(tmp_path, fake)
