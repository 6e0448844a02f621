"""`gearshift check`: validate a configuration, price its arms, probe its endpoints. Nothing here costs a completion."""

import asyncio
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from policies.prices import prices_version
from router.config.arms import effective_prices
from router.config.load import inline_secrets, load_config
from router.config.problems import ConfigError, Problem, dotted
from router.config.review import ArmRow, arm_rows, artifact_errors, encoder_warnings, local_warnings, warnings_of
from router.config.schema import Config

PROBE_S = 10.0


@dataclass(frozen=True, slots=True)
class Probe:
    """One deployment asked whether it is there; ``state`` is ok, failed or skipped."""

    deployment: str
    state: str
    detail: str


@dataclass(slots=True)
class Report:
    """Everything `check` found out."""

    source: str
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    arms: list[ArmRow] = field(default_factory=list)
    prices: str = ""
    probes: list[Probe] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.errors and all(probe.state != "failed" for probe in self.probes)


def command(
    config: Annotated[Path | None, typer.Option(help="Configuration file; without it, what is found here")] = None,
    probe: Annotated[bool, typer.Option(help="Ask every endpoint for its model list")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON")] = False,
) -> None:
    """Validate a configuration, price its arms and probe its endpoints."""
    report = examine(config, probe=probe)
    if as_json:
        sys.stdout.write(json.dumps(as_data(report), indent=2) + "\n")
    else:
        show(report)
    if not report.ok:
        raise typer.Exit(1)


def examine(path: Path | None, *, probe: bool) -> Report:
    """Load, review and probe; mistakes of the file end up in the report."""
    report = Report(source=str(path) if path else "what was found here")
    try:
        config = _loaded(path, probe=probe)
    except ConfigError as error:
        report.errors += error.problems
        return report
    report.arms, report.prices = arm_rows(config), prices_version(effective_prices(config))
    report.warnings += [*warnings_of(config), *local_warnings(config), *encoder_warnings(config)]
    report.errors += artifact_errors(config)
    if path is not None:
        words = "a secret in clear text: everybody who reads the file has it; write ${NAME} and export NAME"
        report.warnings += [Problem(place, words) for place in inline_secrets(path)]
    if probe:
        report.probes = asyncio.run(probed(config))
    return report


def _loaded(path: Path | None, *, probe: bool) -> Config:
    if path is not None:
        return load_config(path)
    from router.config.discover import discover

    return discover(os.environ, probe_ports=probe)


async def probed(config: Config) -> list[Probe]:
    """Ask all deployments at once, each at most `PROBE_S`."""
    import aiohttp

    async with aiohttp.ClientSession() as session:
        asked = [
            _probe(f"{name}#{index}", deployment, session)
            for name, model in config.models.items()
            for index, deployment in enumerate(model.deployments)
        ]
        return list(await asyncio.gather(*asked))


async def _probe(name: str, deployment: Any, session: Any) -> Probe:
    from router.upstreams.base import UpstreamError
    from router.upstreams.makers import standard_makers

    if deployment.upstream == "local":
        return Probe(name, "skipped", "started by gearshift serve")
    upstream = standard_makers()[deployment.upstream](name, deployment, session)
    try:
        async with asyncio.timeout(PROBE_S):
            await upstream.probe()
    except UpstreamError as error:
        return Probe(name, "failed", _in_words(error.kind, error.status))
    except TimeoutError:
        return Probe(name, "failed", f"no answer within {PROBE_S:g} s; is it running, and is base_url right?")
    except ImportError as error:
        return Probe(name, "failed", f"{error}; run: pip install 'gearshift[{deployment.upstream}]'")
    finally:
        await upstream.aclose()
    return Probe(name, "ok", "answers")


def _in_words(kind: str, status: int) -> str:
    if status in (401, 403):
        return f"refuses our key (HTTP {status}); check api_key"
    if status:
        return f"answers HTTP {status} to a request for its model list; check base_url"
    return f"cannot be reached ({kind}); is it running, and is base_url right?"


def as_data(report: Report) -> dict[str, Any]:
    """The report as plain values."""

    def rows(problems: Iterable[Problem]) -> list[dict[str, str | int | None]]:
        return [{"path": dotted(item.path), "line": item.line, "message": item.message} for item in problems]

    return {
        "source": report.source,
        "ok": report.ok,
        "errors": rows(report.errors),
        "warnings": rows(report.warnings),
        "arms": [asdict(row) for row in report.arms],
        "prices": report.prices,
        "probes": [asdict(probe) for probe in report.probes],
    }


def show(report: Report) -> None:
    """The report for people: the price table, then everything that is wrong or doubtful."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    if report.arms:
        table = Table("arm", box=None, pad_edge=False)
        table.add_column("USD per 1,000 typical requests", justify="right")
        table.add_column("answer tokens", justify="right")
        for row in report.arms:
            usd = "[yellow]unknown[/]" if row.usd_per_1k is None else f"{row.usd_per_1k:,.3f}"
            table.add_row(row.arm, usd, str(row.output_tokens))
        console.print(table)
        console.print(f"version of these prices, as the log has it: {report.prices}")
    for probe in report.probes:
        colour = {"ok": "green", "failed": "red"}.get(probe.state, "dim")
        console.print(f"[{colour}]{probe.state}[/] {escape(probe.deployment)}: {escape(probe.detail)}")
    for kind, colour, problems in (("warning", "yellow", report.warnings), ("error", "red", report.errors)):
        for item in problems:
            console.print(f"[{colour}]{kind}[/] {escape(item.place)}: {escape(item.message)}")
    failed = sum(probe.state == "failed" for probe in report.probes)
    counts = f"{len(report.errors)} errors, {failed} unreachable, {len(report.warnings)} warnings"
    console.print(f"{escape(report.source)}: {'ok' if report.ok else '[red]not usable as it is[/]'} ({counts})")
