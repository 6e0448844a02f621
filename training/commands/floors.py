"""``gearshift floors``: what became of an artifact's promised quality floors, on other outcomes and on the traffic."""

from pathlib import Path
from typing import Annotated, Any

import typer

from training.commands.floors_watch import watch
from training.commands.train_zoo import DATA_HELP, PRICES_HELP, names_of

command = typer.Typer(help="Check an artifact's quality floors on other outcomes.", add_completion=False)


@command.callback(invoke_without_command=True)
def floors(
    context: typer.Context,
    data: Annotated[Path | None, typer.Option(help=f"{DATA_HELP} Required.")] = None,
    artifact: Annotated[Path | None, typer.Option(help="Folder written by `gearshift train`. Required.")] = None,
    pools: Annotated[Path | None, typer.Option(help="JSON file that names pools of arms with prices.")] = None,
    pool: Annotated[str | None, typer.Option(help="Pool of the data.")] = None,
    arms: Annotated[str | None, typer.Option(help="Arms of the records, by comma; all if not given.")] = None,
    prices: Annotated[Path | None, typer.Option(help=PRICES_HELP)] = None,
    half: Annotated[int | None, typer.Option(min=0, max=1, help="Only this stable half of the prompts.")] = None,
    encoder: Annotated[str, typer.Option(help="Encoder of the gateway that serves it.")] = "minilm",
    source: Annotated[str | None, typer.Option(help="Weights of the encoder: folder or hub id.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the intervals.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Serve every floor over the outcomes as the gateway would: realised difference, saving and verdict.

    With `watch`: compare sampled traffic with the reference arm, and alarm where a floor is no longer kept.
    """
    if context.invoked_subcommand is not None:
        return
    for name, given in (("--data", data), ("--artifact", artifact)):
        if given is None:
            raise typer.BadParameter("missing", param_hint=name)
    assert data is not None
    assert artifact is not None
    from policies.encoders.base import EncoderError
    from policies.errors import PolicyError
    from policies.pools import PoolError
    from training.commands.progress import progress_bars
    from training.floors.check import CheckFloors, check_floors
    from training.records.record import RecordError

    task = CheckFloors(
        data,
        artifact,
        pools,
        pool,
        half=half,
        arms=names_of(arms),
        prices_file=prices,
        encoder=encoder,
        source=source,
        seed=seed,
    )
    try:
        with progress_bars() as tell:
            result = check_floors(task, progress=tell)
    except (EncoderError, PolicyError, PoolError, RecordError) as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from problem
    if as_json:
        import orjson

        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
        return
    for line in lines_of(result):
        typer.echo(line)


command.command()(watch)


def lines_of(result: dict[str, Any]) -> list[str]:
    """The result for people, one line for each floor."""
    told = f"{result['n_queries']} queries of {result['pool']}, against {result['reference']}"
    lines = [f"{told}; promised with {result['confidence']:.0%} confidence:"]
    for row in result["floors"]:
        served = (
            f"saving {row['saving_pct']:.0f} %" if row["promises"] else "nothing promised, the reference arm serves"
        )
        interval = f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
        lines.append(
            f"  {row['floor']:.0%}: {row['verdict']}, {100 * row['ratio']:.1f} % kept, difference {interval}, {served}"
        )
    return lines
