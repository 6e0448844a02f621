"""`make bench`: measures Gearshift and its peers in interleaved rounds, prints the ratios and writes bench/results/."""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

from bench.bars import check
from bench.fake import fake_upstream
from bench.gateways.base import Gateway
from bench.gateways.earlier import newest_tag
from bench.gateways.gearshift import Gearshift
from bench.gateways.litellm import LiteLLM
from bench.gateways.nginx import Nginx
from bench.gateways.tensorzero import TensorZero
from bench.gateways.venvs import install
from bench.measure import Bench, Cores, Effort, Figures, Row, measure, measure_direct, nonces
from bench.native import HERE, MissingTool, build
from bench.picture import svg
from bench.report import heading, markdown, tables
from bench.results import Results, Round, collect, machine_line, save_json
from bench.scoring import scoring_us

PEERS = ("tensorzero", "litellm")
QUICK = Effort(seconds=1.0, min_requests=100, paced_streams=16, first_event_streams=20)


@dataclass(frozen=True)
class Entry:
    """A gateway and the rows it is measured on."""

    gateway: Gateway
    rows: list[Row]


def entries(*, with_sentence_transformers: bool, against: str | None = None) -> list[Entry]:
    """The order of one round, `against` beside today. Streams are measured on the first row of each gateway."""
    short, long = Row(30, unique=True, streams=True), Row(400, unique=True)
    routed = [short, Row(30, unique=False), long, Row(400, unique=False)]
    # Streams cost the same behind every encoder, and a slow one would drown the price of an event in its own noise.
    slow = [replace(row, streams=False) for row in routed]
    out = [Entry(peer, [short, long]) for peer in (Nginx(), TensorZero(), LiteLLM())]
    out += [Entry(Gearshift(pinned=True), [short, long]), Entry(Gearshift("static"), routed)]
    if against:
        out.append(Entry(Gearshift("static", at=against), [short, long]))
    out.append(Entry(Gearshift("minilm"), slow))
    if with_sentence_transformers:
        out.append(Entry(Gearshift("sentence-transformers"), [slow[0], slow[2]]))
    return out


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--quick", action="store_true", help="one short round: a proof that everything works")
    parser.add_argument(
        "--only", default="", help="only gateways whose name holds one of these words, e.g. nginx,minilm"
    )
    parser.add_argument("--sentence-transformers", action="store_true", help="also that encoder (needs its extra)")
    parser.add_argument(
        "--against", default=newest_tag(), help="also Gearshift at this tag or commit (default: the newest tag)"
    )
    parser.add_argument("--install", action="store_true", help="install tools and peers, then stop")
    parser.add_argument("--no-install", action="store_true", help="measure what is installed, list the rest as missing")
    parser.add_argument("--check", action="store_true", help="also fail when one of the project's own bars is missed")
    parser.add_argument("--gateway-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    return parser.parse_args(argv)


def _present(wanted: list[Entry]) -> tuple[list[Entry], dict[str, str], dict[str, str]]:
    """Entries that can run, the versions found, and why the others cannot."""
    ready, versions, missing = [], {}, {}
    for entry in wanted:
        try:
            versions[entry.gateway.name] = entry.gateway.version()
            ready.append(entry)
        except MissingTool as reason:
            missing[entry.gateway.name] = str(reason)
    return ready, versions, missing


def _one_round(bench: Bench, ready: list[Entry], progress: Progress, *, title: str) -> Round:
    task = progress.add_task(title, total=len(ready))
    out: dict[tuple[str, Row], Figures | str] = {}
    for entry in ready:
        progress.update(task, description=f"{title}: {entry.gateway.name}")
        for row, figures in measure(bench, entry.gateway, entry.rows).items():
            out[(entry.gateway.name, row)] = figures
        progress.advance(task)
    progress.update(task, description=title)
    return out


@dataclass(frozen=True)
class Measured:
    """Every round of a run: of the gateways, of the upstream alone, and of a single decision."""

    rounds: list[Round] = field(default_factory=list)
    direct: list[Figures] = field(default_factory=list)
    scoring: list[Figures] = field(default_factory=list)


def _run(options: argparse.Namespace, ready: list[Entry], console: Console) -> Measured:
    cores = Cores(options.gateway_core, options.load_core)
    effort = QUICK if options.quick else Effort()
    out = Measured()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with fake_upstream(core=cores.load) as upstream, Progress(*columns, console=console) as progress:
        bench = Bench(upstream, cores, effort, nonces())
        for i in range(1 if options.quick else options.rounds):
            now = replace(bench, effort=replace(effort, with_wrk=i == 0))
            out.scoring.append(scoring_us(core=cores.gateway))
            out.direct.append(measure_direct(now))
            out.rounds.append(_one_round(now, ready, progress, title=f"round {i + 1}"))
    return out


def _print(results: Results, console: Console) -> None:
    for line in heading(results):
        console.print(line, highlight=False)
    for table in tables(results):
        shown = RichTable(*table.head, title=table.title, title_justify="left")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)


def _check_machine(options: argparse.Namespace) -> None:
    if sys.platform != "linux":
        raise MissingTool("the benchmark reads /proc and binds to cores: it runs on Linux only")
    usable = os.sched_getaffinity(0)
    if not {options.gateway_core, options.load_core} <= usable or options.gateway_core == options.load_core:
        raise MissingTool(f"the benchmark needs two cores of {sorted(usable)}: choose --gateway-core and --load-core")
    build("upstream"), build("load")


def main(argv: Sequence[str]) -> int:
    """Exit status 0: everything was measured; 1: some row failed or is missing; 2: nothing could run."""
    options = _arguments(argv)
    screen, progress_on = Console(width=None if sys.stdout.isatty() else 200), Console(stderr=True)
    try:
        if not options.no_install:
            for peer in PEERS:
                progress_on.print(f"peer {peer}: installing unless it is there")
                install(peer)
        _check_machine(options)
    except MissingTool as reason:
        progress_on.print(str(reason))
        return 2
    if options.install:
        return 0
    wanted = entries(with_sentence_transformers=options.sentence_transformers, against=options.against)
    words = [w for w in options.only.lower().split(",") if w]
    wanted = [e for e in wanted if not words or any(w in e.gateway.name.lower() for w in words)]
    ready, versions, missing = _present(wanted)
    run = _run(options, ready, progress_on)
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H%M%SZ")
    command = shlex.join(["python", "-m", "bench", *argv])
    found, direct, scoring = collect(run.rounds), tuple(run.direct), tuple(run.scoring)
    results = Results(found, direct, versions, missing, command, date, machine_line(), scoring)
    _print(results, screen)
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    save_json(results, folder / f"{date}.json")
    (folder / f"{date}.md").write_text(markdown(results))
    (folder / f"{date}.svg").write_text(svg(results))
    screen.print(f"written: bench/results/{date}.json, .md, .svg", highlight=False)
    met = not options.check or check(results, lambda line: screen.print(line, highlight=False))
    return 1 if not met or missing or any(s.errors for s in results.series) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
