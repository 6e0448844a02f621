"""``gearshift benchmark``: which policy saves how much at which quality, on whose data, with intervals."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from training.commands.progress import progress_bars as progress_bars

command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

FITTED = "fitted"
TEACHER, DISTILLED = "minilm", "static"  # of the fitted one, and where its fit starts
_MOST_JOBS = 4  # each holds a pool and its features; more ask for memory rather than cores


class Robustness(StrEnum):
    """For which policies changed prompts are decided again."""

    none = "none"
    default = "default"
    all = "all"


@command.command()
def benchmark(
    context: typer.Context,
    train: Annotated[Path, typer.Option(help="Outcomes to fit on, as for `gearshift train`: records, or sets.")],
    pools: Annotated[Path | None, typer.Option(help="JSON file that names pools of sets, with prices.")] = None,
    test: Annotated[Path | None, typer.Option(help="Others to judge on, instead of folds.")] = None,
    pool: Annotated[list[str] | None, typer.Option(help="Pool to measure; repeat for more. Default: all.")] = None,
    policy: Annotated[list[str] | None, typer.Option(help="Policy to compare; repeat for more. Default: all.")] = None,
    folds: Annotated[int, typer.Option(min=2, help="Parts of --split kfold.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, help="Times to repeat with other folds.")] = 1,
    split: Annotated[
        str, typer.Option(help="kfold, domain (each left out), domains:A,B (together) or time.")
    ] = "kfold",
    encoder: Annotated[
        str, typer.Option(help="Encoder of the prompts; fitted: the static one, fitted inside every part.")
    ] = "minilm",
    source: Annotated[str | None, typer.Option(help="Weights of the encoder: folder or hub id.")] = None,
    encoders: Annotated[str, typer.Option(help="Compare these encoders instead, by comma; 'all' takes each.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of the run; a second run resumes there.")] = Path("runs/benchmark"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds, fits and replicates.")] = 0,
    robustness: Annotated[Robustness, typer.Option(help="Whose decisions to repeat on changed prompts.")] = (
        Robustness.default
    ),
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes, of one thread each. Default: one per core, at most 4.")
    ] = None,
    report: Annotated[bool, typer.Option(help="Write the report as HTML and PNG.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Fit policies on recorded outcomes, judge them on unseen rows, and say what each saves at what quality."""
    from policies.encoders.base import EncoderError
    from policies.errors import PolicyError
    from policies.pools import PoolError
    from training.benchmark.crew import WorkerDied
    from training.benchmark.splits import BenchmarkError
    from training.benchmark.task import Benchmark
    from training.contenders.registry import ContenderError, names_of
    from training.encoder.weights import EncoderFitError
    from training.records.record import RecordError
    from training.report.result import ReportError

    mistakes = (
        BenchmarkError,
        ContenderError,
        EncoderError,
        EncoderFitError,
        PolicyError,
        PoolError,
        RecordError,
        ReportError,
        WorkerDied,
    )
    try:
        task = Benchmark(
            train=train,
            test=test,
            pools_file=pools,
            out=out,
            pools=tuple(pool or ()),
            policies=names_of(policy or ()),
            split=split,
            n_folds=folds,
            n_seeds=seeds,
            seed=seed,
            robust=_robust(robustness, names_of(policy or ())),
        )
        result = _study(task, encoders) if encoders else _run(task, encoder=encoder, source=source, jobs=jobs)
        result["command"] = _command_line(context)
        written = _save(result, out / ("encoders.json" if encoders else "result.json"), report=report and not encoders)
    except mistakes as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from problem
    _show(result, written, as_json=as_json, encoders=encoders)


def _robust(which: Robustness, names: tuple[str, ...]) -> frozenset[str]:
    return frozenset({Robustness.none: (), Robustness.default: ("default",), Robustness.all: names}[which])


def _run(task: Any, *, encoder: str, source: str | None, jobs: int | None) -> dict[str, Any]:
    from functools import partial
    from time import perf_counter

    from training.benchmark.crew import processes
    from training.benchmark.run import run_benchmark
    from training.perturb import perturbations

    start, n_jobs = perf_counter(), jobs or _jobs()
    seeing = _seeing(task, encoder=encoder, source=source)
    with progress_bars() as tell:
        result = run_benchmark(
            task,
            seeing=seeing,
            progress=tell,
            perturbations=perturbations(),
            open_crew=partial(processes, n_processes=n_jobs),
        )
    return result | {"jobs": n_jobs, "wall_s": round(perf_counter() - start, 1)}


def _seeing(task: Any, *, encoder: str, source: str | None) -> Any:
    """The named encoder, or one fitted inside every part."""
    from importlib.util import find_spec

    from policies.encoders.base import EncoderError
    from policies.encoders.load import load_encoder, prepare_encoder
    from training.benchmark.seeing import FittedInside, ReadyEncoder
    from training.benchmark.splits import BenchmarkError
    from training.benchmark.task import fitted_encoders

    if encoder != FITTED:
        prepare_encoder(encoder, source=source)
        return ReadyEncoder(load_encoder(encoder, source=source))
    if source is not None:
        raise EncoderError("--source names the weights of a ready encoder; --encoder fitted makes its own")
    if find_spec("torch") is None:
        raise BenchmarkError("--encoder fitted: no module 'torch'; run: pip install 'gearshift[train,encoder]'")
    prepare_encoder(TEACHER)
    prepare_encoder(DISTILLED)  # here, so that workers find it
    return FittedInside(load_encoder(TEACHER), fitted_encoders(task))


def _jobs() -> int:
    import os

    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MOST_JOBS)
    return min(os.cpu_count() or 1, _MOST_JOBS)


def _command_line(context: typer.Context) -> str:
    """What was asked for, with the names of folders and files alone: a result may be published."""
    import shlex

    words = ["gearshift", "benchmark"]
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[option.name or ""]
        if isinstance(value, bool):
            words.append(option.opts[0] if value else option.secondary_opts[0])
            continue
        for each in value if isinstance(value, list | tuple) else [value]:
            words += [option.opts[0], each.name if isinstance(each, Path) else str(each)]
    return shlex.join(words)


def _study(task: Any, encoders: str) -> dict[str, Any]:
    """Hand over to the study of encoders; it is a module of its own because it needs torch."""
    from importlib import import_module

    from training.benchmark.splits import BenchmarkError

    try:
        study = import_module("training.encoder.study")
    except ImportError as problem:
        raise BenchmarkError(f"--encoders: no module {problem.name!r}; install gearshift[train,encoder]") from problem
    with progress_bars() as tell:
        result: dict[str, Any] = study.run_study(task, encoders=encoders, progress=tell)
        return result


def _save(result: dict[str, Any], file: Path, *, report: bool) -> list[Path]:
    import orjson

    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.part")
    fresh.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    fresh.replace(file)
    if not report:
        return [file]
    from training.report.write import write_report

    files = write_report(result, file.parent)
    return [file, files.html, *files.pictures]


def _show(result: dict[str, Any], written: list[Path], *, as_json: bool, encoders: str) -> None:
    if as_json or encoders:
        import orjson

        from training.report.origin import skipped_pools

        for pool, reason in skipped_pools(result):
            typer.echo(f"skipped {pool}: {reason}", err=True)
        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
        return
    from training.benchmark.show import print_result

    print_result(result)
    typer.echo("wrote " + ", ".join(str(file) for file in written if file.suffix != ".png"))
