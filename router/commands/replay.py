"""`gearshift replay`: recorded prompts through a live gateway, and the recorded score of what it chose as feedback."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from policies.cli import CommandError
from policies.tables import OutcomeTable, load_pool, split_halves
from router.commands.live import DEFAULT_URL, LiveGateway

if TYPE_CHECKING:
    import aiohttp

METRIC = "score"


@dataclass(frozen=True, slots=True)
class Served:
    """One prompt's answer; `error` is empty, or the status and code of what went wrong, and then the rest is void."""

    query_id: str
    request_id: str = ""
    decision_id: str = ""
    arm: str = ""
    score: float = 0.0
    usd: float = 0.0
    propensity: float = 0.0
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """A replay in numbers: means over the answered prompts; shares by arm."""

    n: int
    answered: int
    accuracy: float
    mean_usd: float
    seconds_p50: float
    shares: dict[str, float]
    errors: dict[str, int]


def command(
    data: Annotated[Path, typer.Option(help="Directory with one folder per outcome set")],
    pools: Annotated[Path, typer.Option(help="pools.json")],
    pool: Annotated[str, typer.Option(help="Pool in it")],
    model: Annotated[str, typer.Option(help="What is asked for: auto, auto:cheap, a model or an arm")] = "auto",
    rows: Annotated[Path | None, typer.Option(help="File of query ids, one a line: only these, in its order")] = None,
    half: Annotated[int | None, typer.Option(min=0, max=1, help="One half, by a stable hash of the prompt")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests under way at once")] = 16,
    output: Annotated[Path | None, typer.Option(help="Write one JSON line per prompt here")] = None,
    base_url: Annotated[str, typer.Option(envvar="GEARSHIFT_URL")] = DEFAULT_URL,
    api_key: Annotated[str | None, typer.Option(envvar="GEARSHIFT_API_KEY", help="A key of your tenant")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON")] = False,
) -> None:
    """Drive recorded prompts through a running gateway and post their recorded scores to /v1/feedback."""
    table = load_pool(data, pools, pool)
    chosen = choose(table, ids=_read_ids(rows), half=half, limit=limit)
    if not chosen:
        raise CommandError("no prompt of the pool is left; look at --rows, --half and --limit")
    url = LiveGateway(base_url).url
    served = asyncio.run(drive(table, chosen, url=url, model=model, api_key=api_key, concurrency=concurrency))
    if output is not None:
        output.write_bytes(b"".join(orjson.dumps(asdict(row)) + b"\n" for row in served))
    summary = summarise(served)
    if as_json:
        sys.stdout.write(orjson.dumps(asdict(summary)).decode() + "\n")
    else:
        show(summary, title=f"{pool}, model {model}")
    if not summary.answered:
        raise CommandError(f"no prompt was answered: {summary.errors}")


def choose(table: OutcomeTable, *, ids: Sequence[str] | None, half: int | None, limit: int | None) -> list[int]:
    """Rows of the table to replay, in the order of ``ids``, else of the table; ids that it has not are passed over."""
    sides, at = split_halves(table.prompts), {query_id: row for row, query_id in enumerate(table.query_ids)}
    wanted = table.query_ids if ids is None else [query_id for query_id in dict.fromkeys(ids) if query_id in at]
    kept = [at[query_id] for query_id in wanted if half is None or sides[at[query_id]] == bool(half)]
    return kept[:limit]


async def drive(
    table: OutcomeTable, chosen: Sequence[int], *, url: str, model: str, api_key: str | None, concurrency: int
) -> list[Served]:
    """Ask every chosen prompt once and give feedback on it; results in the order of `chosen`."""
    import aiohttp
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    results: dict[int, Served] = {}
    todo = iter(chosen)
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("replay", total=len(chosen))
        connector = aiohttp.TCPConnector(limit=concurrency)
        async with aiohttp.ClientSession(url, headers=headers, connector=connector) as session:

            async def worker(rows: Iterator[int]) -> None:
                for row in rows:
                    results[row] = await ask(session, table, row, model=model)
                    progress.advance(bar)

            await asyncio.gather(*(worker(todo) for _ in range(concurrency)))
    return [results[row] for row in chosen]


async def ask(session: "aiohttp.ClientSession", table: OutcomeTable, row: int, *, model: str) -> Served:
    """One prompt through the gateway, and the recorded score of the arm that served it back to it.

    The query id goes along as `user`, for the replay upstream, and as the client's request id, for the log.
    """
    import aiohttp

    query_id, started = table.query_ids[row], time.perf_counter()
    body = {"model": model, "messages": [{"role": "user", "content": table.prompts[row]}], "user": query_id}
    own = {"x-client-request-id": query_id}
    try:
        async with session.post("/v1/chat/completions", json=body, headers=own) as response:
            answer = orjson.loads(await response.read())
            headers, status = response.headers, response.status
        if status != 200:
            return Served(query_id, error=f"{status} {answer['error'].get('code')}")
        arm = headers.get("x-gearshift-arm", "")
        if arm not in table.arm_names:
            return Served(query_id, error=f"served by {arm or 'an unnamed arm'}, which the pool has not")
        score = float(table.scores[row, table.arm_names.index(arm)])
        seconds = time.perf_counter() - started
        feedback = {"request_id": answer["id"], "metric": METRIC, "value": score}
        async with session.post("/v1/feedback", json=feedback) as response:
            if response.status != 200:
                return Served(query_id, error=f"feedback {response.status}")
    except (aiohttp.ClientError, OSError, ValueError, KeyError, AttributeError) as error:
        return Served(query_id, error=type(error).__name__)
    return Served(
        query_id=query_id,
        request_id=answer["id"],
        decision_id=headers.get("x-gearshift-decision-id", ""),
        arm=arm,
        score=score,
        usd=_usd(answer, headers),
        propensity=float(headers.get("x-gearshift-propensity") or 0.0),
        seconds=seconds,
    )


def summarise(served: Sequence[Served]) -> Summary:
    """Means, shares and errors of a replay."""
    good = [row for row in served if not row.error]
    count = max(len(good), 1)
    arms = Counter(row.arm for row in good)
    times = sorted(row.seconds for row in good)
    return Summary(
        n=len(served),
        answered=len(good),
        accuracy=sum(row.score for row in good) / count,
        mean_usd=sum(row.usd for row in good) / count,
        seconds_p50=times[len(times) // 2] if times else 0.0,
        shares={arm: number / count for arm, number in arms.most_common()},
        errors=dict(Counter(row.error for row in served if row.error)),
    )


def show(summary: Summary, *, title: str) -> None:
    """The summary as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "value", title=title)
    table.add_row("prompts", f"{summary.answered} of {summary.n}")
    table.add_row("accuracy", f"{summary.accuracy:.4f}")
    table.add_row("mean USD", f"{summary.mean_usd:.8f}")
    table.add_row("median seconds", f"{summary.seconds_p50:.4f}")
    for arm, share in summary.shares.items():
        table.add_row(arm, f"{share:.1%}")
    for error, count in summary.errors.items():
        table.add_row(f"error: {error}", str(count))
    Console().print(table)


def _usd(answer: dict[str, Any], headers: Any) -> float:
    cost = (answer.get("usage") or {}).get("cost")
    return float(cost if cost is not None else headers.get("x-gearshift-cost-usd") or 0.0)


def _read_ids(rows: Path | None) -> list[str] | None:
    return None if rows is None else [line.strip() for line in rows.read_text().splitlines() if line.strip()]
