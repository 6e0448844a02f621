"""``gearshift train knn`` and its like: one verb for each policy of the zoo, all of the same shape."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from training.replay_report import ReplayReport
    from training.zoo.train import TrainZoo

DATA_HELP = "Outcomes: a folder of `gearshift collect`, CSV, JSONL, a gateway's log; with --pools, a folder of sets."
ZOO = {
    "default": "the default policy: a teacher blended, calibrated and shrunk on held-out rows, then distilled",
    "global_means": "the arms' mean scores",
    "cluster": "mean scores by k-means cell",
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
        half: Annotated[
            int | None, typer.Option(min=0, max=1, help="Fit on this stable half of the prompts only.")
        ] = None,
        encoder: Annotated[str, typer.Option(help="Encoder of the gateway that will serve it.")] = "minilm",
        source: Annotated[str | None, typer.Option(help="Weights of the encoder: folder or hub id.")] = None,
        seed: Annotated[int, typer.Option(help="Seed of the fit and its folds.")] = 0,
        as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    ) -> None:
        from training.zoo.train import TrainZoo

        task = TrainZoo(
            policy, data, pools, pool, out, half=half, encoder=encoder, source=source, seed=seed, arms=names_of(arms)
        )
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
    served = f"policy: {{name: {task.policy}, artifact: {task.out}}}"
    typer.echo(f"wrote {task.out} ({result['version']}); serve it with {served}")


def _trained(task: "TrainZoo") -> "tuple[ReplayReport, dict[str, Any]]":
    from policies.encoders.base import EncoderError
    from policies.errors import PolicyError
    from policies.pools import PoolError
    from training.commands.progress import progress_bars
    from training.records.record import RecordError
    from training.zoo.train import train_zoo

    try:
        with progress_bars() as tell:
            return train_zoo(task, progress=tell)
    except (EncoderError, PolicyError, PoolError, RecordError) as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from problem
