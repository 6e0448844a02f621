"""`gearshift serve`: the gateway, on a configuration or on what is found on this machine."""

import logging
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from policies.encoders.load import prepare_encoder
from router.config.arms import arm_table
from router.config.discover import discover
from router.config.load import load_config, with_server
from router.config.local import uses_local
from router.config.schema import Config
from router.secret import key_secret
from router.store.place import data_dir
from router.supervisor import Supervisor


def command(
    config: Annotated[
        Path | None, typer.Option(help="YAML file; without one, the gateway serves what it finds")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on, instead of server.host")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on, instead of server.port; 0 takes a free one")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes, instead of server.workers")] = None,
    store_dir: Annotated[Path | None, typer.Option(help="Data directory, instead of store.dir")] = None,
) -> None:
    """Start the gateway; without a configuration, on what it finds here."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)

    def read() -> Config:
        base = load_config(config) if config is not None else discover(os.environ)
        placed = with_server(base, host=host, port=port, workers=workers)
        if store_dir is None:
            return placed
        return placed.model_copy(update={"store": placed.store.model_copy(update={"dir": str(store_dir)})})

    first = read()
    supervisor = Supervisor(
        first,
        secret=key_secret(data_dir(first.store), os.environ),
        version=metadata.version("gearshift"),
        reload=read,
    )
    prepare_encoder(first.encoder.name, source=first.encoder.source)  # at most once per machine; then it is cached
    supervisor.run(started=lambda: _first_screen(first, supervisor.address, from_file=config))


def _first_screen(config: Config, address: tuple[str, int], *, from_file: Path | None) -> None:
    """What a newcomer needs to know, once."""
    console, url = Console(stderr=True, highlight=False), f"http://{address[0]}:{address[1]}"
    arms = ", ".join(arm_table(config))
    console.print(
        f"[bold]Gearshift[/] listens on [bold]{url}/v1[/] · policy {config.policy.name} · encoder {config.encoder.name}"
    )
    console.print(f"arms: {arms}")
    console.print(f"log and state: {data_dir(config.store)}")
    if config.admin is not None:
        console.print(f"admin API: http://{config.admin.host}:{config.admin.port}/admin/v1")
    if from_file is None:
        console.print("no --config given: serving what was found on this machine; see examples/gearshift.yaml")
    if uses_local(config):
        console.print(
            "[yellow]'local' is SmolLM2-135M, a very small language model: its answers are real and often wrong.[/] "
            "Set OPENAI_API_KEY (or another provider's), or write a config, to add capable models."
        )
    key = ' -H "authorization: Bearer $KEY"' if any(tenant.keys for tenant in config.tenants.values()) else ""
    console.print(
        f"try: curl {url}/v1/chat/completions{key} -H 'content-type: application/json' "
        '-d \'{"model": "auto", "messages": [{"role": "user", "content": "What is the capital of France?"}]}\' -i',
        soft_wrap=True,
    )
