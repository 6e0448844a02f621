"""``gearshift floors watch``: an alarm where a promised quality floor no longer holds, by sampled reference calls."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

ALARM = 3  # exit status: cron tells it from 1, where something could not be done


def watch(
    log: Annotated[Path, typer.Option(help="Data directory of a gateway: the folder above archive/.")],
    artifact: Annotated[Path, typer.Option(help="Folder of the artifact that serves; another one begins anew.")],
    out: Annotated[Path, typer.Option(help="Folder of the pairs; an earlier run's is gone on with.")],
    max_usd: Annotated[float, typer.Option(min=0.0, help="Most this folder may cost in all; inf for no cap.")],
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the decisions to ask again.")] = 0.02,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample.")] = 0,
    judge: Annotated[str | None, typer.Option(help="Arm that grades where the check is judge.")] = None,
    check: Annotated[str, typer.Option(help="Grader of both answers; the log knows no right answers.")] = "judge",
    check_options: Annotated[str, typer.Option(help="Settings of the check, a JSON object.")] = "{}",
    metric: Annotated[
        str | None, typer.Option(help="Feedback by this very grader, 0..1: a score of the served answer.")
    ] = None,
    false_alarm: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="Most chance of an alarm in 500 pairs while the floor holds.")
    ] = 0.05,
    base_url: Annotated[str, typer.Option(envvar="GEARSHIFT_URL")] = "http://127.0.0.1:4000/v1",
    api_key_env: Annotated[str, typer.Option(help="Environment variable with your key.")] = "GEARSHIFT_API_KEY",
    max_tokens: Annotated[int, typer.Option(min=1, help="Bound of each answer.")] = 4096,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Calls under way at once.")] = 4,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1.0, help="Seconds to wait for an answer.")] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Ask sampled queries of the reference arm too, compare, and alarm (exit status 3) where a floor is not kept."""
    import asyncio
    import os

    from policies.errors import PolicyError
    from training.collect.errors import CollectError
    from training.collect.gateway import Gateway
    from training.commands.progress import progress_bars
    from training.floors.watch import WatchFloors, watch_floors
    from training.ope.rounds import EvaluationError

    task = WatchFloors(
        log, artifact, out, max_usd, share=share, seed=seed, check=check, check_options=_object(check_options),
        judge=judge, metric=metric, false_alarm=false_alarm, max_tokens=max_tokens, concurrency=concurrency,
    )  # fmt: skip
    try:
        gateway = Gateway(base_url, api_key=os.environ.get(api_key_env), timeout_s=timeout_s)
        with progress_bars() as tell:
            result = asyncio.run(watch_floors(task, gateway, progress=tell))
    except (CollectError, EvaluationError, PolicyError) as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from problem
    _print(result, as_json=as_json)
    if any(row["alarmed_at_pair"] is not None for row in result["floors"]):
        raise typer.Exit(ALARM)
    if result["unheard"] or any(row["waiting"] for row in result["floors"]):
        raise typer.Exit(1)


def _object(text: str) -> dict[str, Any]:
    import orjson

    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise typer.BadParameter("expected a JSON object", param_hint="--check-options")
    return value


def _print(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        import orjson

        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    else:
        from rich.console import Console

        Console().print(table_of(result))
    for line in lines_of(result):
        typer.echo(line, err=as_json)


def table_of(result: dict[str, Any]) -> "Table":
    """One row for each floor."""
    from rich.table import Table

    table = Table(title=f"artifact {result['version']} against {result['reference']}")
    for heading in ("floor", "pairs", "policy", "reference", "kept, 95 %", "capital", "alarm"):
        table.add_column(heading)
    for row in result["floors"]:
        alarm = "" if row["alarmed_at_pair"] is None else f"pair {row['alarmed_at_pair']}"
        means = (_told(row[name], "{:.3f}") for name in ("score", "reference_score"))
        capital = f"{row['watch']['capital']:.2f} of {1.0 / row['watch']['false_alarm']:g}"
        table.add_row(f"{row['floor']:.4g}", str(row["pairs"]), *means, _kept(row), capital, alarm)
    return table


def _kept(row: dict[str, Any]) -> str:
    if row["low"] is None:
        return _told(row["ratio"], "{:.1%}")
    return f"{row['ratio']:.1%} ({row['low']:.1%}–{row['high']:.1%})"


def _told(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def lines_of(result: dict[str, Any]) -> list[str]:
    """What was read, what it cost, what is missing, and what to do on alarm."""
    read, rows = result["read"], result["floors"]
    known = f", {read['known']} drawn before" if read["known"] else ""
    left_out = "".join(f", {count} left out: {why}" for why, count in sorted(read["left_out"].items()))
    lines = [
        f"{read['under_floor']} decisions under a floor read, {read['drawn']} newly drawn{known}{left_out}",
        f"spent {result['spent_usd']:.6f} USD"
        + (f", and {result['held_usd']:.6f} held for calls without a bill" if result["held_usd"] else ""),
        *(f"note: {note}" for note in result["notes"]),
        *(f"{arm} was not asked further: {why}" for arm, why in result["gone"].items()),
    ]
    if failed := sum(row["failed"] for row in rows):
        lines.append(f"{failed} pairs without a score are left out: an answer or its judgement failed")
    if waiting := sum(row["waiting"] for row in rows):
        lines.append(f"{waiting} pairs wait for answers; {_next(result)}")
    if result["unheard"]:
        lines.append(f"nothing of this traffic is heard: {result['unheard']}")
    return [*lines, *(_alarm(row, result) for row in rows if row["alarmed_at_pair"] is not None)]


def _next(result: dict[str, Any]) -> str:
    if result["stopped"] == "cap":
        return "stopped at the cap; the same command with a higher --max-usd goes on where this ended"
    told = f"stopped: {result['stopped']}; " if result["stopped"] else ""
    return f"{told}the same command asks them again"


def _alarm(row: dict[str, Any], result: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(row["alarmed_at"], UTC).isoformat(sep=" ", timespec="minutes").removesuffix("+00:00")
    told = f"ALARM: the floor of {row['floor']:.4g} is not kept, by pair {row['alarmed_at_pair']} of {at} UTC."
    kept = _told(row["ratio"], f"; over all pairs it kept {{:.1%}} of {result['reference']}'s quality")
    where = f"Artifact {result['version']} serves it{kept}."
    serve = f"Serve the reference arm (policy: {{name: static, arm: {result['reference']}}})"
    return f"{told} {where} {serve}, set rows of the new traffic aside, and train again"
