"""``gearshift train log``: the default policy from a gateway's own log of one answer per query."""

from pathlib import Path
from typing import Annotated, Any

import typer


def log(
    log: Annotated[Path, typer.Option(help="Data directory of a gateway: the folder above archive/.")],
    out: Annotated[Path, typer.Option(help="Folder to write the artifact to.")],
    encoder: Annotated[str, typer.Option(help="Encoder of the gateway that wrote the log.")] = "minilm",
    source: Annotated[str | None, typer.Option(help="Weights of the encoder: folder or hub id.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="Feedback that is the quality, 0..1; default: the first there is.")
    ] = None,
    noisy_metric: Annotated[
        list[str] | None,
        typer.Option(help="Feedback that stands in where --metric is missing, weighted by its learned noise; repeat."),
    ] = None,
    since: Annotated[float | None, typer.Option(help="Only requests from this POSIX time on.")] = None,
    prices: Annotated[
        Path | None, typer.Option(help="Prices of arms, JSON or YAML; else costs are learned as recorded.")
    ] = None,
    caution: Annotated[
        float, typer.Option(min=0.0, help="Standard deviations of doubt to take off what an arm seems worth.")
    ] = 0.5,
    held_out: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of newest rounds to judge a fit on the others by; 0: none.")
    ] = 0.25,
    usd_per_correct_answer: Annotated[
        float | None, typer.Option(min=1e-9, help="Trade-off of that judgement, instead of the logged ones.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the fit.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Fit the default policy on a gateway's log, one answer per query; judge it on the newest rounds; write it."""
    from policies.encoders.base import EncoderError
    from policies.encoders.load import load_encoder, prepare_encoder
    from policies.errors import PolicyError
    from training.commands.progress import progress_bars
    from training.logged.task import TrainLog, train_log
    from training.ope.rounds import EvaluationError
    from training.records.record import RecordError

    task = TrainLog(
        log, out, metric=metric, noisy=tuple(noisy_metric or ()), since=since, prices_file=prices, caution=caution,
        held_out=held_out, usd_per_correct_answer=usd_per_correct_answer, seed=seed,
    )  # fmt: skip
    try:
        prepare_encoder(encoder, source=source)
        with progress_bars() as tell:
            judged, result = train_log(task, encoder=load_encoder(encoder, source=source), progress=tell)
    except ImportError as problem:
        typer.echo(f"error: no module {problem.name!r}; run: pip install 'gearshift[train]'", err=True)
        raise typer.Exit(1) from problem
    except (EncoderError, EvaluationError, PolicyError, RecordError) as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from problem
    _show(judged, result, log=log, as_json=as_json)


def _show(judged: Any, result: dict[str, Any], *, log: Path, as_json: bool) -> None:
    if as_json:
        import orjson

        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode())
        return
    if judged is not None:
        from rich.console import Console

        from training.ope.show import lines_of, table_of

        typer.echo("fitted on the older rounds, judged on the newest:")
        Console().print(table_of(judged))
        for line in lines_of(judged):
            typer.echo(line)
    elif "held_out_refused" in result["evaluation"]:
        typer.echo(f"no judgement by the newest rounds: {result['evaluation']['held_out_refused']}")
    if "noise" in result["facts"]:
        from training.logged.noise import lines_of as lines_of_noise

        for line in lines_of_noise(result["facts"]["noise"]):
            typer.echo(line)
    learned = ", ".join(f"{name} {n:,}" for name, n in result["facts"]["judged_rounds"].items())
    typer.echo(f"judged rounds learned from: {learned}")
    typer.echo(f"wrote {result['artifact']} ({result['version']}), fitted on all of them; serve it with")
    typer.echo(f"policy: {{name: default, artifact: {result['artifact']}}}")
    newer = result["data"]["last_at"] + 0.001
    typer.echo("evaluate it on rounds logged from now on with")
    typer.echo(f"gearshift evaluate --log {log} --policy {result['artifact']} --since {newer:.3f}")
