import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from rich.console import Console

from policies.arms import Arm
from router.config.arms import arm_table, mode_config
from router.config.discover import Ports, discover
from router.config.providers import providers
from router.modes import adapt

KEY = "sk-found-in-the-environment"
NONE = Ports(ollama=0, vllm=0)


@contextmanager
def model_server(listing: Any) -> Iterator[int]:
    """A server whose /v1/models answers with `listing`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = listing if isinstance(listing, bytes) else json.dumps(listing).encode()
            self.send_response(200 if self.path == "/v1/models" else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def quiet() -> Console:
    return Console(file=io.StringIO())


def test_with_nothing_there_the_local_model_answers() -> None:
    console = quiet()
    config = discover({}, ports=NONE, console=console)
    assert list(arm_table(config)) == ["local/instant", "local/reasoning"]
    assert not config.tenants["default"].keys
    assert isinstance(console.file, io.StringIO)
    assert "tiny" in console.file.getvalue()


@pytest.mark.parametrize("variable", list(providers()))
def test_a_key_in_the_environment_opens_priced_models(variable: str) -> None:
    console = quiet()
    config = discover({variable: KEY}, ports=NONE, console=console)
    assert all(facts.price is not None for facts in arm_table(config).values())
    assert {item.api_key for model in config.models.values() for item in model.deployments} == {KEY}
    assert isinstance(console.file, io.StringIO)
    assert KEY not in console.file.getvalue()


def test_an_instant_arm_of_a_reasoning_model_asks_for_the_least_effort() -> None:
    config = discover({"OPENAI_API_KEY": KEY}, ports=NONE, console=quiet())
    for model, effort in (("gpt-5-mini", "minimal"), ("gpt-5.1", "none")):
        asked = mode_config(config, model=model, mode="instant")
        body = adapt({"messages": []}, Arm(model, "instant"), config.models[model], asked, deployment_model=model)
        assert body["reasoning_effort"] == effort


def test_an_empty_key_is_no_key() -> None:
    assert list(discover({"OPENAI_API_KEY": ""}, ports=NONE, console=quiet()).models) == ["local"]


def test_all_keys_together_make_one_configuration() -> None:
    config = discover(dict.fromkeys(providers(), KEY), ports=NONE, console=quiet())
    assert {"gpt-5-mini", "claude-haiku-4-5", "openai/gpt-oss-120b"} <= set(config.models)
    assert "local" not in config.models


def test_an_ollama_and_a_vllm_are_found_on_their_ports() -> None:
    with model_server({"data": [{"id": "qwen3:8b"}, {"id": "nomic-embed-text"}]}) as ollama:
        with model_server({"data": [{"id": "Qwen/Qwen3-8B", "max_model_len": 4096}]}) as vllm:
            config = discover({}, ports=Ports(ollama=ollama, vllm=vllm), console=quiet())
    assert list(config.models) == ["qwen3:8b", "Qwen/Qwen3-8B"]
    assert config.models["qwen3:8b"].deployments[0].base_url == f"http://127.0.0.1:{ollama}/v1"
    assert config.models["Qwen/Qwen3-8B"].context_tokens == 4096


@pytest.mark.parametrize("listing", [b"<html>", b"[1]", {"data": 3}, {"data": [{"id": 7}, None, {"id": "a b"}]}, b""])
def test_what_is_no_model_server_is_passed_over(listing: Any) -> None:
    with model_server(listing) as port:
        config = discover({}, ports=Ports(ollama=port, vllm=port), console=quiet())
    assert list(config.models) == ["local"]


def test_ports_are_left_alone_when_told_so() -> None:
    with model_server({"data": [{"id": "m"}]}) as port:
        config = discover({}, probe_ports=False, ports=Ports(ollama=port, vllm=0), console=quiet())
    assert list(config.models) == ["local"]
