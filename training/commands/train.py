"""``gearshift train``: from outcomes to an artifact that the gateway can serve."""

from pathlib import Path
from typing import Annotated, Any

import typer

from training.commands.progress import progress_bars
from training.commands.train_anchors import anchors
from training.commands.train_log import log
from training.commands.train_simulate import simulate
from training.commands.train_zoo import DATA_HELP, PRICES_HELP, add_to, names_of

command = typer.Typer(help="Fit a policy from recorded outcomes.", no_args_is_help=True)


@command.callback()
def train() -> None:
    """Fit a policy from recorded outcomes and write it as an artifact."""


@command.command()
def linear(
    data: Annotated[Path, typer.Option(help=DATA_HELP)],
    out: Annotated[Path, typer.Option(help="Folder to write the artifact to.")],
    pools: Annotated[Path | None, typer.Option(help="JSON file that names pools of arms with prices.")] = None,
    pool: Annotated[str | None, typer.Option(help="Pool to fit.")] = None,
    arms: Annotated[str | None, typer.Option(help="Arms of the records, by comma; all if not given.")] = None,
    prices: Annotated[Path | None, typer.Option(help=PRICES_HELP)] = None,
    half: Annotated[int | None, typer.Option(min=0, max=1, help="Fit on this stable half of the prompts only.")] = None,
    encoder: Annotated[str, typer.Option(help="Encoder of the gateway that will serve it.")] = "minilm",
    source: Annotated[str | None, typer.Option(help="Weights of the encoder: folder or hub id.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of landmarks and folds.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Fit ridge per arm on a pool's outcomes, judge it on held-out folds, and write an artifact."""
    from policies.encoders.base import EncoderError
    from policies.errors import PolicyError
    from policies.pools import PoolError
    from training.records.record import RecordError
    from training.train_linear import TrainLinear, train_linear

    task = TrainLinear(
        data_dir=data,
        pools_file=pools,
        pool=pool,
        out=out,
        half=half,
        encoder=encoder,
        source=source,
        seed=seed,
        arms=names_of(arms),
        prices_file=prices,
    )
    try:
        with progress_bars() as tell:
            report, result = train_linear(task, progress=tell)
    except (EncoderError, PolicyError, PoolError, RecordError) as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from problem
    if as_json:
        _print_json(result)
        return
    from training.replay_report import print_report

    print_report(report)
    typer.echo(f"wrote {out} ({result['version']}); serve it with policy: {{name: linear, artifact: {out}}}")


@command.command()
def encoder(
    prompts: Annotated[Path, typer.Option(help="Prompts: .txt, .jsonl, .csv, .parquet, or a data directory.")],
    out: Annotated[Path, typer.Option(help="Folder to write the encoder to.")],
    teacher: Annotated[
        str, typer.Option(help="minilm, minilm-fp32, a sentence-transformers folder or id, or a .npy matrix.")
    ] = "minilm",
    pools: Annotated[Path | None, typer.Option(help="JSON file of pools, for a data directory.")] = None,
    pool: Annotated[str | None, typer.Option(help="Pool of the data directory.")] = None,
    outcomes: Annotated[bool, typer.Option(help="Fine-tune on the pool's outcomes after that.")] = False,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the prompts.")] = 4,
    rewordings: Annotated[int, typer.Option(min=0, help="Times each prompt is heard in other words besides.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of order, dropout and rewordings.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Fit the static encoder to a teacher's embeddings of your own prompts; labels only by --outcomes."""
    from policies.encoders.base import EncoderError
    from policies.pools import PoolError
    from training.encoder.fit_outcomes import OutcomeSettings
    from training.encoder.fit_static import StaticSettings
    from training.encoder.train_encoder import TrainEncoder, train_encoder
    from training.encoder.weights import EncoderFitError

    settings = StaticSettings(epochs=epochs, rewordings=rewordings, seed=seed)
    task = TrainEncoder(
        prompts=prompts, out=out, teacher=teacher, pools_file=pools, pool=pool, settings=settings,
        outcomes=OutcomeSettings(seed=seed) if outcomes else None,
    )  # fmt: skip
    try:
        with progress_bars() as tell:
            result = train_encoder(task, progress=tell)
    except ImportError as problem:
        typer.echo(f"error: no module {problem.name!r}; run: pip install 'gearshift[encoder]'", err=True)
        raise typer.Exit(1) from problem
    except (EncoderError, EncoderFitError, PoolError) as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from problem
    if as_json:
        _print_json(result)
        return
    judged = result["held_out"]
    told = f"cosine to the teacher on {judged['n']:.0f} prompts set aside: {judged['cosine']:.3f}"
    typer.echo(f"{told} (distilled: {judged['cosine_distilled']:.3f})")
    other = f"{judged['cosine_reworded']:.3f} (distilled: {judged['cosine_reworded_distilled']:.3f})"
    typer.echo(f"the same prompts in other words, to the teacher's embedding of the originals: {other}")
    typer.echo(f"wrote {out} ({result['encoder_id']}); serve it with {result['serve']}")


def _print_json(result: dict[str, Any]) -> None:
    import orjson

    typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())


add_to(command)
command.command()(anchors)
command.command()(simulate)
command.command()(log)
