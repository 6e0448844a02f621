"""A small world under a quality floor: questions whose right answers are known, a policy with promises, a real gateway.

A cheap arm is right on sums and wrong on proofs, a dear one on both. What the arms say of a question can be graded by
a third, scripted as an honest judge; so what the watch tells can be held against the truth.
"""

import csv
import http.client
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replaying import BIN, run_gearshift
from running import RunningGateway, fake_config
from scripted import ScriptedUpstream

from router.upstreams.fake import Answer, Script
from router.upstreams.fake_script import text_of

CHEAP, DEAR, JUDGE = "small/instant", "large/instant", "judge/instant"
MODELS = ("small", "large", "judge")  # the first cheap, each next ten times dearer
FLOOR = 0.9
RIGHT, WRONG = "well said", "badly said"
N_TAUGHT, N_CALIBRATION = 1_000, 400


def sums(n: int, *, first: int = 0) -> list[str]:
    """Different ones for different numbers, of which none is like the training's only because it is small."""
    return [f"What is {at * 7_919 % 10_000} plus {at % 13 + 2}?" for at in range(first, first + n)]


def proofs(n: int, *, first: int = 0) -> list[str]:
    return [f"Prove that lemma {at * 7_919 % 10_000} follows from axiom {at % 9}." for at in range(first, first + n)]


def is_right(model: str, question: str) -> bool:
    """The truth of the training table and, while nothing is broken, of the arms."""
    return model == "large" or question.startswith("What is")


@dataclass(frozen=True, slots=True)
class Graded(Script):
    """Arms that answer rightly or wrongly by the question, and a judge that says which.

    Attributes:
        broken: The cheap arm has become bad at everything.
        down: What these models answer instead.
    """

    by_model: Mapping[str, Answer] = field(default_factory=dict)
    broken: bool = False
    down: Mapping[str, Answer] = field(default_factory=dict)

    def answer(self, body: Mapping[str, Any]) -> Answer:
        model, asked = str(body["model"]), text_of(body["messages"][-1]["content"])
        if model in self.down:
            return self.down[model]
        if model == "judge":
            return Answer(text="Score: 10" if f"\n{RIGHT}\n" in asked else "Score: 0")
        right = is_right(model, asked) and not (self.broken and model == "small")
        return Answer(text=RIGHT if right else WRONG)


def train(folder: Path, *, seed: int = 0) -> Path:
    """`gearshift train cluster` on a table of both arms, rows set aside; the artifact's folder."""
    table, prices, out = folder / f"outcomes-{seed}.csv", folder / "prices.json", folder / f"policy-{seed}"
    questions = [*sums(N_TAUGHT // 2), *proofs(N_TAUGHT // 2)]
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("prompt", "arm", "score", "input_tokens", "output_tokens"))
        rows.writerows((question, f"{model}/instant", int(is_right(model, question)), 10, 2)
                       for question in questions for model in MODELS[:2])  # fmt: skip
    models = fake_config("http://127.0.0.1:9", models=MODELS)["models"]
    prices.write_text(json.dumps({f"{model}/instant": models[model]["price"] for model in MODELS[:2]}))
    where = ("--data", str(table), "--prices", str(prices), "--out", str(out), "--encoder", "static")
    how = ("--calibration-rows", str(N_CALIBRATION), "--seed", str(seed))
    run_gearshift("train", "cluster", *where, *how, within_s=110)
    return out


def config(upstream: ScriptedUpstream, artifact: Path, **tenant: Any) -> dict[str, Any]:
    """Serves the artifact thriftily; no decision is late however busy the machine."""
    tree = fake_config(
        upstream.base_url, models=MODELS,
        policy={"name": "cluster", "artifact": str(artifact)}, encoder={"name": "static", "late_ms": 60_000},
        trade_offs={"thrifty": {"usd_per_correct_answer": 1e-9}}, tenants={"default": {"explore": 0.0, **tenant}},
    )  # fmt: skip
    for model in tree["models"].values():
        model["modes"] = ["instant"]
    return tree


@dataclass(frozen=True, slots=True)
class Told:
    """What the command said."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class World:
    """A gateway in front of the scripted arms, and a client."""

    gateway: RunningGateway
    upstream: ScriptedUpstream
    artifact: Path

    def ask(self, *questions: str, **more: Any) -> list[str]:
        """The arms that answered. ``more`` are fields of the body; without ``gearshift`` the floor is asked for."""
        arms = []
        for question in questions:
            body = {"model": "auto:thrifty", "messages": [{"role": "user", "content": question}]}
            arms.append(self.post(body | {"gearshift": {"quality_floor": FLOOR}} | more))
        return arms

    def post(self, body: Mapping[str, Any]) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=60)
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, raw
        return str(answer.headers["x-gearshift-arm"])

    def asked(self, model: str) -> int:
        """Requests that reached this model, by its own record."""
        return sum(seen.model == model for seen in self.upstream.server.requests)

    def archive(self) -> None:
        """Bring the log's files up to date: they are what the watch reads."""
        run_gearshift("log", "archive", "--config", str(self.gateway.config_file), within_s=60)

    def watch(self, out: Path, *more: str, **changed: str) -> Told:
        """`gearshift floors watch` as cron runs it, everything drawn; ``changed`` are options."""
        options = {"log": str(self.gateway.store_dir), "artifact": str(self.artifact), "out": str(out), "share": "1",
                   "max-usd": "1", "judge": JUDGE, "max-tokens": "16", "base-url": self.gateway.url}  # fmt: skip
        options |= {name.replace("_", "-"): value for name, value in changed.items()}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        plain = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
        done = subprocess.run(
            [str(BIN / "gearshift"), "floors", "watch", *words, *more],
            capture_output=True, text=True, check=False, timeout=100, env=plain,
        )  # fmt: skip
        return Told(done.returncode, done.stdout, done.stderr)

    def says_no_texts(self, *told: Told) -> None:
        """Fails where a question or an answer is in what the command said, or in the gateway's own log."""
        for text in (*(each.out + each.err for each in told), self.gateway.log_file.read_text()):
            assert not any(secret in text for secret in (RIGHT, WRONG, " plus ", "Prove that"))


@contextmanager
def running(artifact: Path, folder: Path, **tenant: Any) -> Iterator[World]:
    """A gateway that serves the artifact to a tenant with these settings, and nothing broken."""
    with ScriptedUpstream() as upstream:
        upstream.server.script = Graded()
        with RunningGateway(folder, config(upstream, artifact, **tenant)) as gateway:
            yield World(gateway, upstream, artifact)
