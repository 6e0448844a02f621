"""``gearshift train knn`` and its like: one verb for each policy of the zoo, all of the same shape."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from training.replay_report import ReplayReport
    from training.zoo.train import TrainZoo

DATA_HELP = "Outcomes: a folder of `gearshift collect`, CSV, JSONL, a gateway's log; with --pools, a folder of sets."
PRICES_HELP = "Prices of the records' arms, JSON or YAML: {arm: {input: …, output: …}}, USD per Mtok."
ENCODER_HELP = (
    "Encoder of the gateway that will serve it; fitted: the static one, fitted to these prompts first. "
    "Without it: fitted for default where there are 200 prompts, else minilm."
)
CALIBRATION_HELP = (
    "Rows never learned from, on which quality floors are tested. Without it: a tenth, at most 1,000, and none where "
    "that is below 300; 0: no floor is promised."
)
ZOO = {
    "default": "the default policy: a teacher blended, calibrated and shrunk on held-out rows, then distilled",
    "global_means": "the arms' mean scores",
    "cluster": "mean scores by k-means cell",
    "topics": "mean scores by the label read off the query",
    "knn": "kernel-weighted nearest neighbours",
    "logistic": "logistic regression per arm",
    "gbdt": "gradient-boosted trees per arm",
    "blend": "a blend of unlike models, weighed by held-out likelihood",
    "mf": "matrix factorisation",
    "irt": "multidimensional item response theory",
    "mlp": "a small neural net",
    "two_tower": "query and arm towers, for arms never seen",
}


def names_of(text: str | None) -> tuple[str, ...]:
    """Names between commas."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def add_to(command: typer.Typer) -> None:
    """Register a verb under the name of each policy."""
    for name, what in ZOO.items():
        command.command(name=name, help=f"Fit {what} on a pool's outcomes and write an artifact.")(_verb(name))


def _verb(policy: str) -> Callable[..., None]:
    def verb(
        data: Annotated[Path, typer.Option(help=DATA_HELP)],
        out: Annotated[Path, typer.Option(help="Folder to write the artifact to.")],
        pools: Annotated[Path | None, typer.Option(help="JSON file that names pools of arms with prices.")] = None,
        pool: Annotated[str | None, typer.Option(help="Pool to fit.")] = None,
        arms: Annotated[str | None, typer.Option(help="Arms of the records, by comma; all if not given.")] = None,
        prices: Annotated[Path | None, typer.Option(help=PRICES_HELP)] = None,
        half: Annotated[
            int | None, typer.Option(min=0, max=1, help="Fit on this stable half of the prompts only.")
        ] = None,
        encoder: Annotated[str | None, typer.Option(help=ENCODER_HELP)] = None,
        source: Annotated[str | None, typer.Option(help="Weights of the encoder: folder or hub id.")] = None,
        seed: Annotated[int, typer.Option(min=0, help="Seed of the fit and its folds.")] = 0,
        calibration_rows: Annotated[int | None, typer.Option(min=0, help=CALIBRATION_HELP)] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    ) -> None:
        from training.zoo.train import TrainZoo

        task = TrainZoo(
            policy, data, pools, pool, out, half=half, encoder=encoder or "", source=source, seed=seed,
            arms=names_of(arms), prices_file=prices, calibration_rows=calibration_rows,
        )  # fmt: skip
        (print_json if as_json else print_table)(task)

    return verb


def print_json(task: "TrainZoo") -> None:
    """Fit, save, and print the summary as JSON."""
    import orjson

    _, result = _trained(task)
    typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())


def print_table(task: "TrainZoo") -> None:
    """Fit, save, and print the held-out report for people."""
    from training.replay_report import print_report

    report, result = _trained(task)
    print_report(report)
    for line in (*about_data(result), *about_floors(result["floors"])):
        typer.echo(line)
    typer.echo(f"wrote {task.out} ({result['version']}); serve it with")
    for line in result["serve"]:
        typer.echo(line)


def about_data(result: Mapping[str, Any]) -> list[str]:
    """What became of the records' queries, and what the report's encoder had seen; nothing for a pool."""
    lines = []
    if "coverage" in result:
        found = result["coverage"]
        by_arm = ", ".join(f"{arm} {n}" for arm, n in sorted(found["by_arm"].items()))
        unscored = f"; {found['n_unscored']} records without a score were left out" if found["n_unscored"] else ""
        lines.append(f"queries: {found['n_kept']} of {found['n_queries']} answered by every arm ({by_arm}){unscored}")
    if "fitted_encoder" in result:
        fitted = result["fitted_encoder"]
        lines.append(f"encoder: fitted to all {fitted['n_prompts']} prompts without their scores, held-out ones too;")
        lines.append(f"  kept in {fitted['encoder']} ({fitted['encoder_id']})")
    return lines


def about_floors(floors: Mapping[str, Any] | None) -> list[str]:
    """What is promised at each floor and confidence; the reference arm alone where nothing is."""
    if floors is None:
        return ["quality floors: none promised; set rows aside with --calibration-rows (300 or more) for that"]
    levels = sorted({cell["confidence"] for cell in floors["cells"]})
    cells = {(cell["floor"], cell["confidence"]): cell for cell in floors["cells"]}
    against = f"against {floors['reference']}, by {floors['n_calibration']} rows set aside"
    lines = [f"quality floors: saving {against}; confidence {', '.join(f'{level:.0%}' for level in levels)}"]
    for floor in sorted({cell["floor"] for cell in floors["cells"]}):
        found = (cells[floor, level] for level in levels)
        lines.append(f"  {floor:.0%}: " + ", ".join(_promise(cell) for cell in found))
    return lines


def _promise(cell: Mapping[str, Any]) -> str:
    return "none (the reference arm)" if cell["last"] is None else f"{cell['saving_pct']:.0f} %"


def _trained(task: "TrainZoo") -> "tuple[ReplayReport, dict[str, Any]]":
    from policies.encoders.base import EncoderError
    from policies.errors import PolicyError
    from policies.pools import PoolError
    from training.commands.progress import progress_bars
    from training.encoder.weights import EncoderFitError
    from training.records.record import RecordError
    from training.zoo.train import train_zoo

    try:
        with progress_bars() as tell:
            return train_zoo(task, progress=tell)
    except ImportError as problem:
        typer.echo(f"error: no module {problem.name!r}; run: pip install 'gearshift[train]'", err=True)
        raise typer.Exit(1) from problem
    except (EncoderError, EncoderFitError, PolicyError, PoolError, RecordError) as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from problem
