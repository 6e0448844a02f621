import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from policies.cli import CommandError, main
from router.commands.live import LiveGateway

RULING = {
    "decision_id": None,
    "arm": "m/reasoning",
    "mode": "reasoning",
    "policy": "rules@1",
    "encoder_id": "",
    "far": False,
    "late": False,
    "reason": "rule: several steps are asked for",
    "trade_off": {"quality_per_usd": 20.0},
    "explore": 0.1,
    "arms": [
        {
            "arm": name,
            "quality": quality,
            "quality_low": low,
            "quality_high": 1.0,
            "usd": 0.001,
            "seconds": 1.0,
            "utility": None,
            "propensity": p,
        }
        for name, quality, low, p in (("m/instant", None, None, 0.05), ("m/reasoning", 0.8, 0.7, 0.95))
    ],
    "removed": {"q/instant": "no images"},
    "elapsed_ms": 1.5,
}
EVENTS = [
    {"id": "chatcmpl-1", "choices": [{"delta": {"content": "Bon"}}]},
    {"id": "chatcmpl-1", "choices": [{"delta": {"content": "jour"}}]},
    {"id": "chatcmpl-1", "choices": [], "usage": {"cost": 0.00025}},
]


class Gateway(BaseHTTPRequestHandler):
    """Answers what a gateway answers and keeps what it was asked."""

    asked: ClassVar[list[tuple[str, str | None, dict[str, Any]]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        Gateway.asked.append((self.path, self.headers.get("authorization"), body))
        if body.get("model") == "nope":
            self._answer(404, b'{"error": {"message": "no model is called nope"}}')
        elif self.path == "/v1/decide":
            self._answer(200, json.dumps(RULING).encode())
        elif self.path == "/v1/feedback":
            self._answer(200, b'{"feedback_id": "f1"}')
        else:
            lines = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in EVENTS]
            self._answer(200, b"".join([*lines, b"data: [DONE]\n\n"]))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-gearshift-arm", "m/reasoning")
        self.send_header("x-gearshift-propensity", "0.95")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Gateway.asked.clear()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_chat_streams_the_answer_and_shows_the_decision(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "Hello?", "--base-url", url]) == 0
    shown = capsys.readouterr()
    assert shown.out == "Bonjour\n"
    assert "m/reasoning · p 0.95 · $0.000250 · chatcmpl-1" in shown.err
    assert Gateway.asked[0][2]["messages"] == [{"role": "user", "content": "Hello?"}]


def test_explain_shows_every_arm_and_what_removed_the_others(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "Prove it.", "--base-url", f"{url}/v1"]) == 0
    text = capsys.readouterr().out
    assert "▶" in text
    assert "0.80 0.70…1.00" in text
    assert "removed: no images" in text
    assert "0.05 USD per correct answer" in text


def test_explain_cuts_no_figure_on_a_narrow_terminal(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    assert main(["explain", "Prove it.", "--base-url", url]) == 0
    text = capsys.readouterr().out
    assert "…" not in text.replace("0.70…1.00", "")
    assert "0.950" in text


def test_explain_prints_the_answer_itself_as_json(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "Prove it.", "--base-url", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == RULING


def test_feedback_sends_what_was_said_with_the_key(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["chatcmpl-1", "--metric", "score", "--value", "1", "--base-url", url, "--api-key", "k"]
    assert main(["feedback", *arguments]) == 0
    assert Gateway.asked == [
        ("/v1/feedback", "Bearer k", {"response_id": "chatcmpl-1", "metric": "score", "value": 1.0})
    ]
    assert "recorded score = 1" in capsys.readouterr().out


def test_a_refusal_is_told_in_the_gateways_words(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "Hello?", "--model", "nope", "--base-url", url]) == 1
    assert "answered 404: no model is called nope" in capsys.readouterr().err


def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(CommandError, match="--base-url: expected an address"):
        LiveGateway("ftp://somewhere")


def test_a_live_gateway_cannot_be_asked_as_a_tenant_without_its_key(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "x", "--base-url", url, "--tenant", "acme"]) == 1
    assert "--api-key" in capsys.readouterr().err
    assert not Gateway.asked
