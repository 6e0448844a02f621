import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from router.commands.check import command, examine

KEY = "sk-the-right-one-123"


class ModelServer(BaseHTTPRequestHandler):
    """Lists its models to whoever shows the right key; counts completions."""

    completions = 0

    def do_GET(self) -> None:
        allowed = self.headers.get("authorization") == f"Bearer {KEY}"
        body = b'{"object": "list", "data": []}' if allowed else b'{"error": {"message": "no"}}'
        self.send_response(200 if allowed else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        ModelServer.completions += 1
        self.send_error(500)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serving() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), ModelServer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def port() -> Iterator[int]:
    with serving() as number:
        yield number


def written(folder: Path, text: str) -> Path:
    file = folder / "gearshift.yaml"
    file.write_text(text)
    return file


def test_every_deployment_is_probed_and_none_pays_for_it(tmp_path: Path, port: int) -> None:
    text = f"""
models:
  m:
    price: {{input: 1, output: 2}}
    deployments:
      - {{base_url: "http://127.0.0.1:{port}/v1", api_key: {KEY}}}
      - {{base_url: "http://127.0.0.1:{port}/v1", api_key: wrong-key}}
      - {{base_url: "http://127.0.0.1:9/v1"}}
"""
    report = examine(written(tmp_path, text), probe=True)
    assert [probe.state for probe in report.probes] == ["ok", "failed", "failed"]
    assert "refuses our key (HTTP 401)" in report.probes[1].detail
    assert "is base_url right?" in report.probes[2].detail
    assert not report.ok
    assert ModelServer.completions == 0


def test_the_price_of_a_thousand_typical_requests(tmp_path: Path) -> None:
    text = "models: {m: {deployments: [{upstream: fake}], price: {input: 1, output: 2}}}"
    (row,) = examine(written(tmp_path, text), probe=False).arms
    assert row.usd_per_1k == pytest.approx((400 * 1 + 256 * 2) / 1e6 * 1000)


def test_what_is_allowed_but_doubtful_is_a_warning(tmp_path: Path) -> None:
    text = """
models: {m: {deployments: [{upstream: fake, api_key: in-the-open-12}]}}
policy: {name: linear, artifact: nowhere}
tenants: {a: {keys: [in-the-open-34]}, b: {}}
"""
    report = examine(written(tmp_path, text), probe=False)
    told = {".".join(map(str, warning.path)): warning.message for warning in report.warnings}
    assert report.ok
    assert "off-policy" in told["tenants.a.explore"]
    assert "nobody can act as this tenant" in told["tenants.b.keys"]
    assert "unknown" in told["models.m.price"]
    assert "one arm only" in told["models"]
    assert "no directory 'nowhere'" in told["policy.artifact"]
    assert "clear text" in told["tenants.a.keys.0"]
    assert "clear text" in told["models.m.deployments.0.api_key"]
    assert "in-the-open" not in "".join(told.values())


def test_a_trial_without_exploring_is_a_warning(tmp_path: Path) -> None:
    text = """
models: {m: {deployments: [{upstream: fake}], price: {input: 1, output: 1}}}
policy: {name: default, artifact: nowhere, online: {enabled: true, trials: {m/instant: 2.5}}}
"""
    report = examine(written(tmp_path, text), probe=False)
    told = {".".join(map(str, warning.path)): warning.message for warning in report.warnings}
    assert "arms on trial get no traffic" in told["policy.online.explore_share"]


def test_mistakes_exit_with_one_and_json_tells_them(tmp_path: Path) -> None:
    app = Typer()
    app.command()(command)
    file = written(tmp_path, "models: {m: {deployments: [{upstream: fake}], modes: [agentic]}}")
    done = CliRunner().invoke(app, ["--config", str(file), "--json"])
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["ok"] is False
    assert [error["path"] for error in report["errors"]] == ["models.m.modes[0]"]
    assert report["errors"][0]["line"] == 1


def test_a_sound_configuration_exits_with_zero(tmp_path: Path) -> None:
    app = Typer()
    app.command()(command)
    file = written(tmp_path, "models: {m: {deployments: [{upstream: fake}], price: {input: 0, output: 0}}}")
    done = CliRunner().invoke(app, ["--config", str(file)])
    assert done.exit_code == 0
    assert "m/instant" in done.stdout
