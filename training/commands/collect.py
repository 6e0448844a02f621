"""``gearshift collect``: every arm of a running gateway on your own prompts, under a USD cap."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer


def command(
    prompts: Annotated[Path, typer.Option(help="JSONL: one {id, prompt or messages, reference, check …} a line.")],
    out: Annotated[Path, typer.Option(help="Folder for the outcomes; an earlier run's is gone on with.")],
    max_usd: Annotated[float, typer.Option(min=0.0, help="Most this folder may cost in all; inf for no cap.")],
    base_url: Annotated[str, typer.Option(envvar="GEARSHIFT_URL")] = "http://127.0.0.1:4000/v1",
    api_key_env: Annotated[str, typer.Option(help="Environment variable with your key.")] = "GEARSHIFT_API_KEY",
    arms: Annotated[str | None, typer.Option(help="Arms, separated by commas; all if not given.")] = None,
    check: Annotated[str | None, typer.Option(help="Grader of prompts that name none: numeric, choice …")] = None,
    judge: Annotated[str | None, typer.Option(help="Arm that grades where the check is judge.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Calls under way at once.")] = 4,
    max_tokens: Annotated[int, typer.Option(min=1, help="Bound of each answer.")] = 4096,
    temperature: Annotated[float | None, typer.Option(min=0.0, help="Sent along; else each arm's own.")] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1.0, help="Seconds to wait for an answer.")] = 600.0,
    keep_answers: Annotated[bool, typer.Option("--keep-answers", help="Keep the answers' texts too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Run every arm on every prompt through a gateway, grade the answers, and write a table to learn from."""
    import asyncio
    import os
    from dataclasses import asdict

    import orjson

    from training.collect.gateway import Gateway
    from training.collect.journal import Journal
    from training.collect.outcomes import write_outcomes
    from training.collect.prompts import load_tasks
    from training.collect.run import Ending, Plan, collect
    from training.collect.summary import show, summarise

    conditions = {"max_tokens": max_tokens, "temperature": temperature}
    tasks = load_tasks(prompts, check=check, judge=judge, conditions=conditions)
    names = tuple(filter(None, (name.strip() for name in (arms or "").split(","))))
    plan = Plan(
        tasks,
        out,
        max_usd,
        arms=names,
        judge=judge,
        concurrency=concurrency,
        max_tokens=max_tokens,
        temperature=temperature,
        keep_answers=keep_answers,
    )

    async def run(journal: Journal, tell: Callable[[int, int, float], None]) -> Ending:
        async with Gateway(base_url, api_key=os.environ.get(api_key_env), timeout_s=timeout_s) as gateway:
            return await collect(plan, gateway, journal, tell=tell)

    with Journal(out) as journal:
        try:
            with _progress() as tell:
                ending = asyncio.run(run(journal, tell))
        finally:
            write_outcomes(journal.past(), out)
        summary = summarise(journal.past(), tasks, ending, max_usd=max_usd, out=str(out))
    if as_json:
        typer.echo(orjson.dumps(asdict(summary), option=orjson.OPT_INDENT_2).decode())
    else:
        show(summary)
    if summary.stopped or any(line.missing for line in summary.arms):
        raise typer.Exit(1)


@contextmanager
def _progress() -> Iterator[Callable[[int, int, float], None]]:
    """A function (cells done, of, USD so far) that draws a bar with rate and time left on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("collecting"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        bar = progress.add_task("collect", total=None, note="")

        def tell(done: int, of: int, usd: float) -> None:
            speed = progress.tasks[0].speed
            rate = f"{speed * 60:.0f}/min " if speed else ""
            progress.update(bar, completed=done, total=of, note=f"{rate}{usd:.4f} USD")

        yield tell
