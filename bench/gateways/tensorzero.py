"""TensorZero's Rust gateway, started from its PyPI wheel; no database, observability off."""

from __future__ import annotations

from dataclasses import dataclass

from bench.gateways.base import Launch, Site
from bench.gateways.venvs import python_of, version_of

MODELS = ("bench-plain", "bench-burst-1", "bench-burst-100", "bench-paced-100")

# The wheel's own entry point for an HTTP gateway is private and picks a free port.
_SERVE = """\
import pathlib, signal, sys, urllib.parse
import tensorzero

gateway = tensorzero._start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
pathlib.Path(sys.argv[2]).write_text(str(urllib.parse.urlparse(gateway.base_url).port))
signal.pause()
"""
_MODEL = """
[models.{name}]
routing = ["fake"]
[models.{name}.providers.fake]
type = "openai"
model_name = "{name}"
api_base = "http://127.0.0.1:{port}/v1/"
api_key_location = "none"
"""


@dataclass(frozen=True)
class TensorZero:
    """Asked through its OpenAI-compatible route."""

    name: str = "TensorZero"

    def version(self) -> str:
        """Of the wheel that carries the server."""
        return version_of("tensorzero", "tensorzero")

    def prepare(self, site: Site) -> Launch:
        """One model per answer of the upstream."""
        config, port_file = site.folder / "tensorzero.toml", site.folder / "port"
        models = "".join(_MODEL.format(name=name, port=site.upstream_port) for name in MODELS)
        config.write_text("[gateway]\nobservability.enabled = false\n" + models)
        serve = site.folder / "serve.py"
        serve.write_text(_SERVE)
        port_file.unlink(missing_ok=True)
        argv = (str(python_of("tensorzero")), str(serve), str(config), str(port_file))
        return Launch(argv, env={"RUST_LOG": "error"}, path="/openai/v1/chat/completions", port_file=port_file)

    def fields(self, answer: str) -> dict[str, str]:
        """Models of the configuration carry a prefix on the wire."""
        return {"model": f"tensorzero::model_name::{answer}"}
