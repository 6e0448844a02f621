"""`gearshift explain`: how a prompt would be routed, and why; nothing is called and nothing is logged."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from policies.cli import CommandError
from router.commands.live import LiveGateway
from router.config.schema import Config

_WIDEST = 1000


def command(
    prompt: Annotated[str, typer.Argument(help="What a user would ask; - reads standard input")],
    model: Annotated[str, typer.Option(help="auto, auto:cheap, auto:reasoning, …")] = "auto",
    config: Annotated[Path | None, typer.Option(help="Configuration file")] = None,
    base_url: Annotated[str | None, typer.Option(envvar="GEARSHIFT_URL", help="A running gateway")] = None,
    tenant: Annotated[str | None, typer.Option(help="Decide as this tenant of the configuration")] = None,
    api_key: Annotated[str | None, typer.Option(envvar="GEARSHIFT_API_KEY", help="A key of your tenant")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Show how a prompt would be routed: arms, predictions, what was removed and why."""
    text = sys.stdin.read() if prompt == "-" else prompt
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    ruling = decided(body, config_path=config, base_url=base_url, tenant=tenant, api_key=api_key)
    if as_json:
        sys.stdout.write(json.dumps(ruling, indent=2) + "\n")
    else:
        show(ruling)


def decided(
    body: dict[str, Any], *, config_path: Path | None, base_url: str | None, tenant: str | None, api_key: str | None
) -> dict[str, Any]:
    """The decision of a running gateway if one is named or found, else of a router built from the configuration."""
    if base_url is not None:
        if tenant is not None and api_key is None:
            raise CommandError("--tenant: a running gateway knows tenants by their keys; give --api-key in its place")
        return LiveGateway(base_url, api_key=api_key).post("/v1/decide", body).body
    config = configuration(config_path)
    running = LiveGateway(f"http://{_reachable(config.server.host)}:{config.server.port}", api_key=api_key)
    # With a file or a tenant, that is what is asked about; a gateway that happens to run may know other settings.
    if config_path is None and tenant is None and running.is_up():
        return running.post("/v1/decide", body).body
    return offline(config, body, tenant=tenant)


def configuration(path: Path | None) -> Config:
    """The file's configuration, or what is found on this machine."""
    import os

    if path is not None:
        from router.config.load import load_config

        return load_config(path)
    from router.config.discover import discover

    return discover(os.environ)


def offline(config: Config, body: dict[str, Any], *, tenant: str | None) -> dict[str, Any]:
    """Build the router in this process and ask it as the tenant, the first one if None."""
    if tenant is not None and tenant not in config.tenants:
        raise CommandError(f"--tenant: no tenant {tenant!r}; tenants: {', '.join(config.tenants)}")
    from router.explain import explain_offline

    return asyncio.run(explain_offline(config, body, tenant=tenant))


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "", "localhost") else f"[{host}]" if ":" in host else host


def show(ruling: dict[str, Any]) -> None:
    """The decision as a table, the chosen arm marked."""
    from rich.console import Console
    from rich.markup import escape
    from rich.measure import Measurement
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for title in ("", "arm", "p", "quality (80 %)", "USD", "seconds", "utility"):
        table.add_column(title, justify="left" if title in ("", "arm") else "right", no_wrap=True)
    for arm in sorted(ruling["arms"], key=lambda row: -row["propensity"]):
        table.add_row(*_cells(arm, chosen=arm["arm"] == ruling["arm"]))
    # A figure cut to fit a narrow terminal says something else; a line that wraps does not.
    wanted = Measurement.get(console, console.options.update(width=_WIDEST), table).maximum
    console.width = max(console.width, wanted)
    console.print(table)
    for name, reason in ruling["removed"].items():
        console.print(f"   [dim]{escape(name)} removed: {escape(reason)}[/]")
    trade_off = ruling["trade_off"]
    state = [word for word in ("far", "late") if ruling.get(word)]
    console.print(f"{ruling['reason'] or 'no reason given'}", *(f"[yellow]{word}[/]" for word in state))
    worth = trade_off.get("quality_per_usd")
    correct = f"{1 / worth:g} USD per correct answer · " if worth else ""
    if ruling.get("pace", 1.0) > 1.0:
        correct += f"λ × {ruling['pace']:.3g} to make the budget last · "
    took = f" · {ruling['elapsed_ms']:g} ms" if ruling.get("elapsed_ms") is not None else ""
    encoder = f" · {ruling['encoder_id']}" if ruling.get("encoder_id") else ""
    console.print(f"[dim]{correct}explore {ruling['explore']:g} · {ruling['policy']}{encoder}{took}[/]")


def _cells(arm: dict[str, Any], *, chosen: bool) -> list[str]:
    quality = _figure(arm["quality"], ".2f")
    if arm["quality"] is not None and arm["quality_low"] is not None:
        quality += f" {arm['quality_low']:.2f}…{arm['quality_high']:.2f}"
    return [
        "▶" if chosen else "",
        arm["arm"],
        f"{arm['propensity']:.3f}",
        quality,
        _figure(arm["usd"], ".6f"),
        _figure(arm["seconds"], ".1f"),
        _figure(arm["utility"], ".3f"),
    ]


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
