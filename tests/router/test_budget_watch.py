"""Watching budgets never ends by a failure, and what is told of a budget ends with it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from rig import World, body, tree

from router import budget_watch, worker
from router.alerts import Alerts
from router.metrics import Metrics
from router.store.base import StoreUnavailable
from router.store.ledger import Window
from router.store.valkey import ValkeyStore

BUDGETS = {"acme": {"budgets": [{"per": "month", "usd": 5, "pace": True}]}}


class Failing(Alerts):
    """Raises what it is given, one a look, then nothing."""

    def __init__(self, world: World, *errors: Exception) -> None:
        super().__init__(world._session)
        self._errors, self.n_looks = list(errors), 0

    async def look(self, *_: Any) -> None:
        self.n_looks += 1
        if self._errors:
            raise self._errors.pop(0)


def valkey(world: World) -> ValkeyStore:
    return cast(ValkeyStore, world.store._store)


@pytest.mark.asyncio
async def test_a_look_that_fails_is_told_without_its_words_and_the_next_one_comes(
    valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with World(valkey_url, tmp_path, tree(tenants=BUDGETS)) as world:
        alerts = Failing(world, KeyError("sk-canary"), StoreUnavailable("away"), ValueError("sk-canary"))
        task = asyncio.create_task(budget_watch.watch(world.gateway, valkey(world), alerts, every_s=0.01))
        async with asyncio.timeout(10):
            while alerts.n_looks < 5:  # noqa: ASYNC110 - the watch's own pace
                await asyncio.sleep(0.01)
        assert (await world.chat(body())).status == 200
        assert not task.done()
        task.cancel()
    told = [record.message.partition("\n")[0] for record in caplog.records if "escaped" in record.message]
    assert told == ["KeyError escaped", "ValueError escaped"]
    assert "sk-canary" not in caplog.text


@pytest.mark.asyncio
async def test_series_that_cannot_be_told_once_are_told_the_next_time(
    valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        seen: list[Any] = []

        def set_aside(left: Any) -> None:
            seen.append(left)
            if len(seen) == 1:
                raise KeyError("gone")

        monkeypatch.setattr(world.gateway.metrics, "set_aside", set_aside)
        task = asyncio.create_task(worker._publish(world.gateway, valkey(world), every_s=0.01))
        async with asyncio.timeout(10):
            while len(seen) < 3:  # noqa: ASYNC110 - its own pace
                await asyncio.sleep(0.01)
        task.cancel()
    assert caplog.text.count("KeyError escaped") == 1


SHOWN = """
import os, sys
from pathlib import Path
from router.metrics import Metrics, render
from router.store.balances import Balance
from router.store.ledger import Window

metrics = Metrics()
windows = [Window(name, "day", 10**9, f"tenant '{name}'", paced=True) for name in ("acme", "beta")]

def shown(windows, paced):
    for window in windows:
        metrics.balanced(Balance(window, "l", 0, 1, 0.0, spent=5 * 10**8, reserved=0))
    for window in paced:
        metrics.paced(window, 2.0)
    metrics.keep_budgets(windows, paced=paced)
    lines = render(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])).decode().splitlines()
    print(sorted(line for line in lines if line.startswith("gearshift_budget_") and "refusals" not in line))

shown(windows, windows)
shown(windows[:1], windows[:1])
shown(windows[:1], [])
shown([], [])
shown(windows[1:], [])
"""


def series(name: str, *, paced: bool) -> list[str]:
    labels = f'{{owner="tenant \'{name}\'",per="day"}}'
    told = {"limit_usd": 1.0, "reserved_usd": 0.0, "spent_usd": 0.5} | ({"pace": 2.0} if paced else {})
    return [f"gearshift_budget_{series}{labels} {value}" for series, value in told.items()]


def test_the_series_of_a_budget_end_with_it_and_come_back_with_it(tmp_path: Path) -> None:
    """In a process of its own: prometheus_client asks for the shared folder when it is imported."""
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", SHOWN], env=environ, capture_output=True, text=True, check=True)
    acme, beta = series("acme", paced=True), series("beta", paced=True)
    expected = [acme + beta, acme, series("acme", paced=False), [], series("beta", paced=False)]
    assert done.stdout.splitlines() == [str(sorted(each)) for each in expected]


@pytest.mark.asyncio
async def test_a_look_drops_what_the_configuration_no_longer_has(
    valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(valkey_url, tmp_path, tree(tenants=BUDGETS)) as world:
        kept: list[tuple[list[str], list[str]]] = []

        def keep(_: Metrics, windows: list[Window], *, paced: list[Window]) -> None:
            kept.append(([window.owner for window in windows], [window.owner for window in paced]))

        monkeypatch.setattr(Metrics, "keep_budgets", keep)
        for config in (world.config, world.config.model_copy(update={"tenants": {}})):
            world.gateway.setup = world.setup_of(config)
            await budget_watch.look(world.gateway, valkey(world), Failing(world))
    assert kept == [(["tenant 'acme'"], ["tenant 'acme'"]), ([], [])]
