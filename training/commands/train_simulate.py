"""``gearshift train simulate``: what learning while serving gains, on streams whose truth is known."""

from pathlib import Path
from typing import Annotated, Any

import typer

from policies.prices import NANO

_SCENARIO = "still, drift, price, outage, newcomer, delayed, missing, noisy, poisoned or tenants."
_PLAYERS = (
    "By comma: default, prior, default_thompson, linucb, thompson, ucb, paretobandit, paretobandit_warm; with the "
    "scenario newcomer also default_anchors, default_at_once, default_stranger."
)
_USUAL = "default,prior,linucb,thompson,ucb"
_COLUMNS = ("mean_reward", "regret", "regret_full", "last_third", "adapted_after", "alarm_after", "false_alarms")
_ADOPTED = (
    *("adopted_after", "n_anchors", "anchors_nano_usd", "trial_nano_usd", "error_joined", "error_end", "share"),
    *("reward_before", "reward_after", "reward_net"),
)


def simulate(
    data: Annotated[Path, typer.Option(help="Directory of outcome sets.")],
    pools: Annotated[Path, typer.Option(help="JSON file that names pools of arms with prices.")],
    pool: Annotated[str, typer.Option(help="Pool to play.")],
    scenario: Annotated[str, typer.Option(help=_SCENARIO)] = "still",
    arm: Annotated[str, typer.Option(help="Arm that the scenario changes; the best fixed one if not given.")] = "",
    players: Annotated[str, typer.Option(help=_PLAYERS)] = _USUAL,
    warm: Annotated[int, typer.Option(min=50, help="Fully labelled rows to fit the default policy on.")] = 1000,
    orders: Annotated[int, typer.Option(min=1, help="Streams, of different rows and orders.")] = 5,
    rows: Annotated[int | None, typer.Option(min=1, help="Requests of a stream at most.")] = None,
    explore: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Floor of every arm's probability, times arms.")
    ] = 0.0,
    anchors: Annotated[int, typer.Option(min=10, max=2000, help="Prompts a newcomer is to answer first.")] = 100,
    anchors_usd: Annotated[float, typer.Option(min=0.0, help="Most that those answers may cost.")] = 1.0,
    trial_usd: Annotated[float, typer.Option(min=0.0, help="Most that exploring it may cost afterwards.")] = 1.0,
    explore_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of requests that may follow doubt where an arm is new.")
    ] = 0.1,
    picture: Annotated[Path | None, typer.Option(help="PNG file for the cumulative regret.")] = None,
    encoder: Annotated[str, typer.Option(help="Encoder of the default policy.")] = "minilm",
    source: Annotated[str | None, typer.Option(help="Weights of the encoder: folder or hub id.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first order.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Play streams over a pool: the default policy as it learns, against bandits; regret, alarms, adaptation."""
    from dataclasses import replace

    from policies.encoders.base import EncoderError
    from policies.encoders.load import load_encoder
    from policies.pools import PoolError
    from training.commands.progress import progress_bars
    from training.simulate.adopting import AdoptionPlan
    from training.simulate.scenario import scenarios
    from training.simulate.task import Simulate, simulate

    known = scenarios()
    if scenario not in known:
        raise typer.BadParameter(f"no scenario {scenario!r}; use one of {', '.join(known)}")
    named = tuple(name.strip() for name in players.split(",") if name.strip())
    try:
        usual = AdoptionPlan()
        plan = AdoptionPlan(anchors, anchors_usd, trial_usd, replace(usual.exploring, share=explore_share))
        task = Simulate(
            data, pools, pool, replace(known[scenario], arm=arm), n_warm=warm, n_orders=orders, seed=seed,
            players=named, explore=explore, rows=rows, adoption=plan,
        )  # fmt: skip
        with progress_bars() as tell:
            result = simulate(task, encoder=load_encoder(encoder, source=source), progress=tell)
    except (EncoderError, ImportError, PoolError, ValueError) as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from problem
    if picture is not None:
        _draw(result, picture)
    _show(result, as_json=as_json)


def _draw(result: dict[str, Any], file: Path) -> None:
    from training.report.drawing import look, png
    from training.simulate.picture import regret_picture

    with look():
        file.write_bytes(png(regret_picture(result)))


def _show(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        import orjson

        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
        return
    from rich.console import Console
    from rich.table import Table

    told = Table(
        title=f"{result['pool']}, scenario {result['scenario']['name']}, means of {len(result['orders'])} orders"
    )
    for name in ("policy", *(column.replace("_", " ") for column in _COLUMNS)):
        told.add_column(name, justify="left" if name == "policy" else "right")
    for name, numbers in result["policies"].items():
        told.add_row(name, *(_figure(numbers[column], column) for column in _COLUMNS))
    Console().print(told)
    if result["adoptions"]:
        _show_adoptions(result)


def _show_adoptions(result: dict[str, Any]) -> None:
    """What taking the new arm in took, and in each order what happened."""
    from rich.console import Console
    from rich.table import Table

    told, console = Table(title="the new arm, means of the orders"), Console()
    for name in ("", *result["adoptions"]):
        told.add_column(name, justify="right" if name else "left")
    for column in _ADOPTED:
        figures = (_adoption_figure(numbers[column]["mean"], column) for numbers in result["adoptions"].values())
        told.add_row(column.replace("_", " ").replace("nano usd", "USD"), *figures)
    console.print(told)
    for order in result["orders"]:
        for name, adoption in order["adoptions"].items():
            console.print(f"order {order['seed']}, {name}: {adoption['told']}", highlight=False, soft_wrap=True)


def _adoption_figure(mean: float | None, column: str) -> str:
    if mean is None:
        return "–"
    if column in ("adopted_after", "n_anchors"):
        return f"{mean:.0f}"
    return f"{mean / NANO:.6f}" if column.endswith("nano_usd") else f"{mean:.4f}"


def _figure(number: dict[str, Any], column: str) -> str:
    if number["mean"] is None:
        return "–"
    if column in ("mean_reward", "last_third"):
        return f"{number['mean']:.4f}"
    spread = "" if number["sd"] is None else f" ± {number['sd']:.0f}"
    return f"{number['mean']:.0f}{spread}" if column != "false_alarms" else f"{number['mean']:.1f}"
