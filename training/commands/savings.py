"""``gearshift savings``: what routing saved against a declared baseline, on the gateway's own log."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

command = typer.Typer(help="Estimate what routing saved against a baseline.", add_completion=False)


class By(StrEnum):
    tenant = "tenant"
    day = "day"


@command.command()
def savings(
    log: Annotated[Path, typer.Option(help="Data directory of a gateway: the folder above archive/.")],
    baseline: Annotated[
        str, typer.Option(help="An arm of the log, a mixture as in 0.7*ARM,0.3*ARM, or dearest: by what answers cost.")
    ],
    metric: Annotated[
        str | None, typer.Option(help="Feedback that is the quality, 0..1; default: the first there is.")
    ] = None,
    by: Annotated[By | None, typer.Option(help="Also by tenant or by day (UTC).")] = None,
    since: Annotated[float | None, typer.Option(help="Only requests from this POSIX time on.")] = None,
    until: Annotated[float | None, typer.Option(help="Only requests before this POSIX time.")] = None,
    own_usd: Annotated[
        float, typer.Option(min=0.0, help="What the router cost beside what its log knows, taken off what is saved.")
    ] = 0.0,
    requests: Annotated[
        Path | None, typer.Option(help="CSV file for what each request cost and what was predicted of the baseline.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for savings.html, .json and .png.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of replicates.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Estimate USD saved and the quality beside the baseline's; exit code 1 where the log says too little of it."""
    import math

    from training.ope.rounds import EvaluationError
    from training.savings.task import SavingsTask

    task = SavingsTask(
        log, baseline, metric, since, math.inf if until is None else until, None if by is None else by.value, own_usd,
        seed,
    )  # fmt: skip
    try:
        found = _run(task)
    except ImportError as problem:
        typer.echo(f"error: no module {problem.name!r}; run: pip install 'gearshift[train]'", err=True)
        raise typer.Exit(1) from problem
    except EvaluationError as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from problem
    _write(found, report=report, requests=requests)
    _print(found, as_json=as_json)
    if found.whole.refused is not None:
        raise typer.Exit(1)


def _run(task: Any) -> Any:
    from training.commands.progress import progress_bars
    from training.savings.task import run

    with progress_bars() as tell:
        return run(task, progress=tell)


def _write(found: Any, *, report: Path | None, requests: Path | None) -> None:
    if report is not None:
        from training.savings.write import write_savings

        typer.echo(f"wrote {write_savings(found, report)}", err=True)
    if requests is not None:
        from training.savings.write import write_requests

        typer.echo(f"wrote {write_requests(found, requests):,} requests to {requests}", err=True)


def _print(found: Any, *, as_json: bool) -> None:
    if as_json:
        from training.savings.write import as_json as dumped

        typer.echo(dumped(found).decode())
        return
    from rich.console import Console

    from training.savings.show import lines_of, table_of

    Console().print(table_of(found))
    for line in lines_of(found):
        typer.echo(line)
