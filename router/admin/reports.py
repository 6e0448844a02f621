"""What the admin API tells of tenants' money: budgets, their forecast, and statements, as the commands print them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import redis
from fastapi import Query

from router.commands.budget import shown_budgets
from router.commands.budget_forecast import forecasts
from router.commands.statement import sum_window
from router.commands.statement_formats import Told, plain
from router.config.schema import Config
from router.errors import BadRequest
from router.statement.columns import COLUMNS, DIVISIONS, is_division
from router.statement.period import read_moment, read_period
from router.statement.sums import Statement, sum_up
from router.store.logbook import read_tables
from router.store.place import data_dir, store_url

if TYPE_CHECKING:
    import pyarrow as pa

By = Annotated[list[str] | None, Query(description=f"Any of {', '.join(DIVISIONS)}; repeat to divide further")]
Tenants = Annotated[list[str] | None, Query(description="Only this tenant; repeat for more")]
Moment = Annotated[str | None, Query(description="90s, 15m, 2h, 7d ago, POSIX seconds or ISO 8601")]
Window = Annotated[
    str | None, Query(description="Instead: a budget window, held beside the counters: hour, day, month or its name")
]


class Reports:
    """Handlers over one store and the data directory whose archive has its log."""

    def __init__(self, config: Config, *, client: redis.Redis) -> None:
        self._config, self._client = config, client

    def budgets(self) -> dict[str, Any]:
        return shown_budgets(self._config, self._client)

    def forecast(self) -> dict[str, Any]:
        return forecasts(self._config, self._client)

    def statement(
        self,
        by: By = None,
        tenant: Tenants = None,
        since: Moment = None,
        until: Moment = None,
        window: Window = None,
    ) -> dict[str, Any]:
        found = Statement(_divisions(by))
        seconds, micros = self._client.time()
        now = float(seconds) + float(micros) / 1e6
        if window is None:
            between = (_moment(since, "since", now=now), _moment(until, "until", now=now))
            sum_up(self._entries(between), (found, tenant))
            return plain(Told(found, between, tenant or (), ()))
        if since is not None or until is not None:
            raise BadRequest("window goes with neither since nor until", param="window")
        period = read_period(window, now=now)
        if period is None:
            names = "hour, day, month, 2026-11-30T14, 2026-11-30 or 2026-11"
            raise BadRequest(f"window: expected {names}, got {window[:80]!r}", param="window")
        store = self._config.store
        beside = sum_window(
            self._config, self._client, store_url(store), data_dir(store), found, tenants=tenant, period=period
        )
        return plain(Told(found, (period.since, period.until), tenant or (), beside))

    def _entries(self, between: tuple[float | None, float | None]) -> "Iterator[pa.Table]":
        store = self._config.store
        return read_tables(store_url(store), data_dir(store), since=between[0], until=between[1], columns=COLUMNS)


def _divisions(by: Sequence[str] | None) -> tuple[str, ...]:
    for name in by or ():
        if not is_division(name):
            raise BadRequest(f"by: expected one of {', '.join(DIVISIONS)}, got {name[:80]!r}", param="by")
    return tuple(by or ("tenant",))


def _moment(text: str | None, name: str, *, now: float) -> float | None:
    if text is None:
        return None
    at = read_moment(text, now=now)
    if at is None:
        told = f"{name}: expected 90s, 15m, 2h, 7d, POSIX seconds or ISO 8601, got {text[:80]!r}"
        raise BadRequest(told, param=name)
    return at
