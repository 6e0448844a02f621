"""What the loop starts: the recorded upstream, the gateway, and Gearshift's commands as child processes."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.fake import free_port
from bench.loop.config import MODEL
from bench.loop.plan import LoopFailed, Settings
from router.parent_death import die_with_parent

START_S, STOP_S = 60.0, 90.0
Rows = list[dict[str, Any]]


def gearshift(*arguments: str, may_refuse: bool = False) -> str:
    """Standard output of a command; what it says on standard error is kept for failures.

    Args:
        may_refuse: Exit status 1 with an answer on standard output is an answer.

    Raises:
        LoopFailed: It failed.
    """
    argv = [str(Path(sys.executable).parent / "gearshift"), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode and not (may_refuse and done.stdout.strip()):
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise LoopFailed(f"gearshift {' '.join(arguments[:2])} ended with status {done.returncode}:\n{said}")
    return done.stdout


@contextmanager
def recorded_upstream(settings: Settings) -> Iterator[str]:
    """The pool's outcomes behind HTTP in a process of its own; its base URL."""
    argv = [sys.executable, "-m", "router.upstreams.replay", *settings.pool_options, "--latency", "none"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent()) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                raise LoopFailed("the replay upstream did not start; its words are above")
            yield url
        finally:
            process.terminate()


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway."""

    url: str
    store: Path

    def replay(self, query_ids: Sequence[str], *, settings: Settings, name: str) -> Rows:
        """`gearshift replay` of these prompts, with feedback; one row per prompt.

        Raises:
            LoopFailed: A prompt was not answered, or its feedback not taken.
        """
        asked, answered = (settings.folder / f"{name}.{ending}" for ending in ("txt", "jsonl"))
        asked.write_text("\n".join(query_ids) + "\n")
        where = ["--base-url", self.url, "--rows", str(asked), "--output", str(answered)]
        how = ["--model", MODEL, "--concurrency", str(settings.concurrency), "--json"]
        gearshift("replay", *settings.pool_options, *where, *how)
        rows: Rows = [json.loads(line) for line in answered.read_text().splitlines()]
        bad = [row for row in rows if row["error"]]
        if bad or len(rows) != len(query_ids):
            why = bad[0]["error"] if bad else "prompts are missing"
            raise LoopFailed(f"{name}: {len(bad)} of {len(query_ids)} prompts failed ({why}); see {answered}")
        return rows


@contextmanager
def running_gateway(config: Mapping[str, Any], *, folder: Path, name: str) -> Iterator[Gateway]:
    """`gearshift serve` on a configuration, ready; stopped with SIGTERM, and then all of its log is archived.

    Raises:
        LoopFailed: It does not become ready, or does not end as it should.
    """
    import yaml

    file, port, said = folder / f"{name}.yaml", free_port(), folder / f"{name}.log"
    file.write_text(yaml.safe_dump(dict(config), sort_keys=False))
    argv = [str(Path(sys.executable).parent / "gearshift"), "serve", "--config", str(file), "--port", str(port)]
    bare = {key: value for key, value in os.environ.items() if not key.endswith(("_API_KEY", "_KEY_SECRET"))}
    with said.open("wb") as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=bare, preexec_fn=die_with_parent()
        )
    try:
        _wait_until_ready(process, port=port, said=said)
        yield Gateway(f"http://127.0.0.1:{port}", Path(config["store"]["dir"]))
    finally:
        process.terminate()
        code = process.wait(STOP_S)
    if code:
        raise LoopFailed(f"the gateway {name} ended with status {code}; see {said}")


def _wait_until_ready(process: "subprocess.Popen[bytes]", *, port: int, said: Path) -> None:
    deadline = time.monotonic() + START_S
    while not _is_ready(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise LoopFailed(f"the gateway is not ready; its last words:\n{said.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
