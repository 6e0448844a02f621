"""LiteLLM's proxy with a master key, in its production settings, one worker, no database."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bench.gateways.base import Launch, Site
from bench.gateways.tensorzero import MODELS
from bench.gateways.venvs import VENVS, python_of, version_of

KEY = "sk-bench-0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class LiteLLM:
    """Installed only here, from a lock: some of its releases were malicious."""

    name: str = "LiteLLM proxy"

    def version(self) -> str:
        """Of the distribution in its own environment."""
        return version_of("litellm", "litellm")

    def prepare(self, site: Site) -> Launch:
        """JSON is YAML: one configuration without a YAML library."""
        base = f"http://127.0.0.1:{site.upstream_port}/v1"
        models = [
            {"model_name": m, "litellm_params": {"model": f"openai/{m}", "api_base": base, "api_key": "unused"}}
            for m in MODELS
        ]
        config = site.folder / "config.yaml"
        config.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": KEY}}))
        python_of("litellm")
        program = str(VENVS / "litellm" / "bin" / "litellm")
        options = {
            "config": str(config),
            "host": "127.0.0.1",
            "port": str(site.port),
            "num_workers": "1",
            "telemetry": "False",
        }
        argv = (program, *(part for name, value in options.items() for part in (f"--{name}", value)))
        env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
        headers = (("authorization", f"Bearer {KEY}"),)
        return Launch(argv, env=env, headers=headers, ready_path="/health/liveliness")

    def fields(self, answer: str) -> dict[str, str]:
        """Each is declared under its own name."""
        return {"model": answer}
