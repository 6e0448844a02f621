"""Gearshift itself, with every part on: key, budget, sessions, encoder, learned policy, exploration, store and log."""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from bench.gateways.base import Launch, Site
from bench.gateways.earlier import checked_out
from bench.gateways.learned import ARMS, MODELS, artifact_of, fit
from bench.native import HERE, MissingTool

KEY = "gs-bench-0123456789abcdef0123456789abcdef"

# The one place that knows the series: gearshift_decisions_total{…late="true"…} 12.0
_DECISIONS = re.compile(r"^gearshift_decisions_total\{([^}]*)\} (\S+)", re.MULTILINE)
_LATE = 'late="true"'


@dataclass(frozen=True)
class Decisions:
    """How many decisions the gateway has made, and how many of them came too late and took the fallback arm."""

    total: float
    late: float

    def __sub__(self, other: Decisions) -> Decisions:
        return Decisions(self.total - other.total, self.late - other.late)


def decisions(port: int) -> Decisions:
    """Read from the gateway's own counters."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = [(labels, float(value)) for labels, value in _DECISIONS.findall(text)]
    return Decisions(sum(value for _, value in found), sum(value for labels, value in found if _LATE in labels))


def _command() -> Path:
    return Path(sys.executable).parent / "gearshift"


@dataclass(frozen=True)
class Gearshift:
    """One version of it.

    Attributes:
        pinned: Clients name an arm, so nothing is routed; everything else stays on.
        at: A tag or commit whose files are run, with the artifact and the environment of today; empty: those of today.
    """

    encoder: str = "static"
    pinned: bool = False
    at: str = ""
    build: Path = HERE / ".build"

    @property
    def name(self) -> str:
        version = f"Gearshift at {self.at}" if self.at else "Gearshift"
        return f"{version}, model pinned" if self.pinned else f"{version}, {self.encoder}"

    def version(self) -> str:
        """Of the installed project. Prepares the encoder and fits the policy, so that no start is charged for them."""
        if not _command().exists():
            raise MissingTool("the command gearshift is not installed beside this Python; run `make install-dev`")
        from policies.encoders.base import EncoderError
        from policies.encoders.load import prepare_encoder

        try:
            prepare_encoder(self.encoder)
        except EncoderError as reason:
            raise MissingTool(str(reason)) from reason
        fit(self.encoder, command=_command(), build=self.build)
        return checked_out(self.at, build=self.build).name if self.at else importlib.metadata.version("gearshift")

    def prepare(self, site: Site) -> Launch:
        """The whole configuration; JSON is YAML."""
        config = site.folder / "gearshift.yaml"
        config.write_text(json.dumps(self._config(site), indent=1))
        argv = (
            *self._program(),
            "serve",
            "--config",
            str(config),
            "--host",
            "127.0.0.1",
            "--port",
            str(site.port),
            "--workers",
            "1",
        )
        headers = (("authorization", f"Bearer {KEY}"),)
        env = {"GEARSHIFT_KEY_SECRET": "0" * 64, "BENCH_KEY": KEY}
        if self.at:
            env["PYTHONPATH"] = str(checked_out(self.at, build=self.build))
        return Launch(argv, env=env, headers=headers, ready_path="/readyz")

    def fields(self, answer: str) -> dict[str, str]:
        """`auto` is routed; the upstream reads the wanted answer from the forwarded `user`."""
        return {"model": f"{MODELS[0]}/instant" if self.pinned else "auto", "user": answer}

    def _program(self) -> tuple[str, ...]:
        if not self.at:
            return (str(_command()),)
        return (sys.executable, "-c", "import sys; from policies.cli import main; sys.exit(main())")

    def _config(self, site: Site) -> dict[str, object]:
        endpoint = {"upstream": "openai", "base_url": f"http://127.0.0.1:{site.upstream_port}/v1", "api_key": "unused"}
        models = {
            arm.model: {
                "deployments": [endpoint],
                "modes": ["instant", "reasoning"],
                "thinking": "reasoning_effort",
                "efforts": ["low"],
                "price": {"input": arm.usd_per_mtok, "output": 4 * arm.usd_per_mtok},
            }
            for arm in ARMS
        }
        return {
            "store": {"url": "embedded", "dir": str(site.folder / "store")},
            "encoder": {"name": self.encoder},
            "policy": {"name": "linear", "artifact": str(artifact_of(self.encoder, build=self.build))},
            "models": models,
            "trade_offs": {"bench": {"usd_per_correct_answer": 0.05}},
            "tenants": {"bench": {"keys": ["${BENCH_KEY}"], "trade_off": "bench", "explore": 0.02}},
        }
