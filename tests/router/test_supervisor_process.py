"""The gateway as processes: a worker that dies comes back, a bad reload changes nothing, and no key lies about."""

import os
import runpy
import signal
import stat
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

RUNNING = runpy.run_path(str(Path(__file__).parents[1] / "acceptance" / "running.py"))
pytestmark = pytest.mark.slow

KEYS = {
    "ACME_KEY": "canary-tenant-key-3b1d",
    "UPSTREAM_KEY": "canary-upstream-key-8f",
    "SOME_API_KEY": "canary-other-5",
}
SECRET = {"GEARSHIFT_KEY_SECRET": "canary-key-secret-0123456789"}
TREE = {
    "models": {"m": {"deployments": [{"upstream": "fake", "api_key": "${UPSTREAM_KEY}"}], "modes": ["instant"]}},
    "tenants": {"acme": {"keys": ["${ACME_KEY}"]}},
}


def documented_script() -> bytes:
    """The example of docs/config.md."""
    page = (Path(__file__).parents[2] / "docs" / "config.md").read_text()
    return page.partition("```json\n")[2].partition("```")[0].encode()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "script.json").write_bytes(documented_script())
    told = {"deployments": [{"upstream": "fake", "model": "small", "base_url": f"file://{folder}/script.json"}]}
    tree = {**TREE, "models": {**TREE["models"], "told": told}}
    running = RUNNING["RunningGateway"](folder, tree, workers=2, env=KEYS | SECRET)
    with running:
        yield running


def soon(condition: Callable[[], Any], *, within_s: float = 15.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def ask(gateway: Any, *, key: str = KEYS["ACME_KEY"], model: str = "auto") -> int:
    return answer(gateway, key=key, model=model)[0]


def answer(gateway: Any, *, key: str = KEYS["ACME_KEY"], model: str = "auto") -> tuple[int, Any]:
    return post(gateway, body_of(model), key=key)


def body_of(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}]}


def post(gateway: Any, sent: dict[str, Any], *, key: str = KEYS["ACME_KEY"]) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(f"{gateway.url}/v1/chat/completions", orjson.dumps(sent), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as got:
            return int(got.status), orjson.loads(got.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, orjson.loads(error.read())
    except OSError:  # killed while it answered
        return 0, None


def in_force(gateway: Any) -> str:
    found: str = orjson.loads(gateway.get("/readyz"))["config"]
    return found


def rewrite(gateway: Any, text: str) -> None:
    gateway.config_file.write_text(text)
    os.kill(gateway.pid, signal.SIGHUP)


def test_all_workers_show_one_set_of_series(gateway: Any) -> None:
    before = _total(gateway)
    assert [ask(gateway) for _ in range(6)] == [200] * 6
    assert _total(gateway) - before == 6


def _total(gateway: Any) -> float:
    lines = gateway.get("/metrics").decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("gearshift_requests_total{"))


def test_no_key_is_in_arguments_environments_or_logs(gateway: Any) -> None:
    assert (ask(gateway), ask(gateway, key="canary-wrong-key")) == (200, 401)
    assert len(gateway.workers()) == 2
    started = [pid for pid in gateway.family() if pid != gateway.pid]  # what started us put keys there, not we
    assert len(started) >= 3, "two workers and the store"
    places = [Path(f"/proc/{pid}/{name}").read_bytes() for pid in started for name in ("environ", "cmdline")]
    places += [Path(f"/proc/{gateway.pid}/cmdline").read_bytes(), gateway.log_file.read_bytes()]
    places += [path.read_bytes() for path in gateway.store_dir.rglob("*") if path.is_file()]
    for text in (*KEYS.values(), *SECRET.values(), "canary-wrong-key"):
        assert not any(text.encode() in place for place in places), text
    assert not gateway.store_dir.stat().st_mode & 0o077


def test_a_scripted_model_says_what_its_script_says_also_after_a_scripted_fault(gateway: Any) -> None:
    status, body = answer(gateway, model="told")
    assert (status, body["choices"][0]["message"]["content"]) == (200, "Forty-two.")
    (row,) = (row for row in gateway.export() if row["served_arm"] == "told/instant")
    assert [attempt["kind"] for attempt in row["attempts"]] == ["status", "ok"]


def test_what_a_killed_worker_had_open_ends_when_it_comes_back(gateway: Any) -> None:
    sent = body_of("auto") | {"fake": {"first_s": 60.0}}
    asking = [threading.Thread(target=post, args=(gateway, sent), daemon=True) for _ in range(4)]
    for thread in asking:
        thread.start()
    soon(lambda: [row["status"] for row in gateway.export("--open")].count("open") == 4)
    for worker in gateway.workers():
        os.kill(worker, signal.SIGKILL)
    soon(lambda: len(crashed(gateway)) == 4, within_s=10.0)  # an owner that is only silent is given 15 s
    assert soon(lambda: len(gateway.workers()) == 2 and ask(gateway) == 200)
    assert len(crashed(gateway)) == 4


def crashed(gateway: Any) -> list[Any]:
    return [row for row in gateway.export() if row["status"] == "unknown_after_crash"]


def test_a_worker_that_dies_comes_back(gateway: Any) -> None:
    before = gateway.workers()
    os.kill(before[0], signal.SIGKILL)
    after = soon(lambda: len(now := gateway.workers()) == 2 and before[0] not in now and now)
    assert set(before) & set(after)
    assert soon(lambda: ask(gateway) == 200)
    assert "starts again in" in gateway.log_file.read_text()


def test_a_broken_reload_keeps_the_old_configuration(gateway: Any) -> None:
    good, before = gateway.config_file.read_text(), in_force(gateway)
    rewrite(gateway, "models: [oops")
    soon(lambda: "was not reloaded" in gateway.log_file.read_text())
    assert (in_force(gateway), ask(gateway)) == (before, 200)
    gateway.config_file.write_text(good)


def test_a_good_reload_is_in_force_without_a_restart(gateway: Any) -> None:
    before, workers = in_force(gateway), gateway.workers()
    tree = yaml.safe_load(gateway.config_file.read_text())
    tree["models"]["another"] = {"deployments": [{"upstream": "fake"}]}
    rewrite(gateway, yaml.safe_dump(tree))
    soon(lambda: {in_force(gateway) for _ in range(8)} != {before} and ask(gateway, model="another") == 200)
    assert gateway.workers() == workers


def test_a_reload_cannot_start_the_local_model_and_says_so(gateway: Any) -> None:
    good = gateway.config_file.read_text()
    tree = yaml.safe_load(good)
    tree["models"]["local"] = {"deployments": [{"upstream": "local"}]}
    rewrite(gateway, yaml.safe_dump(tree))
    soon(lambda: "upstream local was not started" in gateway.log_file.read_text())
    assert ask(gateway, model="local") == 404
    gateway.config_file.write_text(good)


def test_stopping_leaves_no_process_behind(tmp_path: Path) -> None:
    tree = {"models": TREE["models"]}
    gateway = RUNNING["RunningGateway"](tmp_path, tree, env=KEYS)
    with gateway:
        family = gateway.family()
        mode = (gateway.store_dir / "key-secret").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert not any(RUNNING["is_alive"](pid) for pid in family)
    assert gateway.stop() == 0
    assert not list((gateway.store_dir / "run").glob("metrics-*"))
