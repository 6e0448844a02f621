"""``gearshift evaluate``: what other policies would have earned on the gateway's own log."""

from pathlib import Path
from typing import Annotated, Any

import typer

command = typer.Typer(help="Evaluate policies on a gateway's log.", add_completion=False)


@command.command()
def evaluate(
    log: Annotated[Path, typer.Option(help="Data directory of a gateway: the folder above archive/.")],
    policy: Annotated[
        list[str], typer.Option(help="An artifact's folder, an arm of the log, uniform or logging; repeat for more.")
    ],
    metric: Annotated[
        str | None, typer.Option(help="Feedback that is the quality, 0..1; default: the first there is.")
    ] = None,
    since: Annotated[float | None, typer.Option(help="Only requests from this POSIX time on.")] = None,
    usd_per_correct_answer: Annotated[
        float | None, typer.Option(min=1e-9, help="Trade-off of policies and utility, instead of the logged ones.")
    ] = None,
    explore: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Exploration that a gateway would mix into an artifact's choices.")
    ] = 0.0,
    prices: Annotated[
        Path | None, typer.Option(help="Prices of arms, JSON or YAML, instead of those an artifact was trained at.")
    ] = None,
    floor: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Test quality against this share of --reference's.")
    ] = 0.0,
    reference: Annotated[str, typer.Option(help="Arm that --floor is relative to.")] = "",
    clip: Annotated[float | None, typer.Option(min=1.0, help="Largest weight; unbiased without.")] = None,
    missing: Annotated[
        str,
        typer.Option(help="Rounds nobody judged: ignore, impute (by the model) or censor (the newest too)."),
    ] = "ignore",
    feedback_within: Annotated[
        float, typer.Option(min=0.0, help="Seconds in which nearly all feedback comes, for --missing censor.")
    ] = 0.0,
    report: Annotated[Path | None, typer.Option(help="Folder for evaluation.html, .json and forest plots.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of replicates and clusters.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Estimate value, USD and seconds of each policy; exit code 1 where the log says too little of one."""
    from policies.errors import PolicyError
    from training.ope.missing import HOW, Missing
    from training.ope.rounds import EvaluationError
    from training.ope.task import EvaluateTask
    from training.records.record import RecordError

    if missing not in HOW or (missing == "censor") != (feedback_within > 0.0):
        raise typer.BadParameter("--missing is ignore, impute, or censor with --feedback-within")
    declared = Missing(missing, feedback_within)  # type: ignore[arg-type]
    task = EvaluateTask(
        log, tuple(policy), metric, since, usd_per_correct_answer, explore, prices, floor, reference, clip, seed,
        missing=declared,
    )  # fmt: skip
    try:
        evaluation = _evaluated(task)
    except ImportError as problem:
        typer.echo(f"error: no module {problem.name!r}; run: pip install 'gearshift[train]'", err=True)
        raise typer.Exit(1) from problem
    except (EvaluationError, PolicyError, RecordError) as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from problem
    if report is not None:
        from training.ope.write import write_evaluation

        typer.echo(f"wrote {write_evaluation(evaluation, report)}", err=True)
    _print(evaluation, as_json=as_json)
    if any(verdict.refused is not None for verdict in evaluation.policies.values()):
        raise typer.Exit(1)


def _evaluated(task: Any) -> Any:
    from training.commands.progress import progress_bars
    from training.ope.task import run

    with progress_bars() as tell:
        return run(task, progress=tell)


def _print(evaluation: Any, *, as_json: bool) -> None:
    if as_json:
        from training.ope.write import as_json as dumped

        typer.echo(dumped(evaluation).decode())
        return
    from rich.console import Console

    from training.ope.show import lines_of, table_of

    Console().print(table_of(evaluation))
    for line in lines_of(evaluation):
        typer.echo(line)
