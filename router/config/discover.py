"""A configuration from what is there: provider keys in the environment, local model servers, the built-in model."""

import http.client
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.config.load import build_config
from router.config.local import local_entry
from router.config.names import model_name
from router.config.providers import providers
from router.config.schema import Config

if TYPE_CHECKING:
    from rich.console import Console

PROBE_S = 0.3
ANSWER_BYTES = 1_000_000
MODELS_PER_SERVER = 4
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where model servers usually listen on the loopback; 0 is not looked at."""

    ollama: int = 11434
    vllm: int = 8000


@dataclass(frozen=True, slots=True)
class Found:
    """A source of models: what it is, and its entries as they would stand under ``models:``."""

    source: str
    models: dict[str, dict[str, Any]]


def discover(
    env: Mapping[str, str], *, probe_ports: bool = True, ports: Ports | None = None, console: "Console | None" = None
) -> Config:
    """Use what this machine offers; the built-in tiny model answers when nothing else is there.

    Args:
        env: Where keys are looked for; they stay references until the configuration is built.
        probe_ports: Whether to ask the usual local ports, at most `PROBE_S` in all when nobody answers.
        console: Where to say what was found; standard error if None.
    """
    found = [*keyed(env), *(serving(ports or Ports()) if probe_ports else ())]
    if not found:
        found = [Found("nothing but the built-in tiny model", {LOCAL: local_entry()})]
    config = build_config({"models": _merged(found)}, source="what was found here", env=env)
    _announce(found, console)
    return config


def keyed(env: Mapping[str, str]) -> Iterator[Found]:
    """Providers whose key is in the environment."""
    for variable, (base_url, models) in providers().items():
        if env.get(variable):
            deployment = {"base_url": base_url, "api_key": f"${{{variable}}}"}
            yield Found(variable, {name: {**entry, "deployments": [deployment]} for name, entry in models.items()})


def serving(ports: Ports) -> Iterator[Found]:
    """Model servers that answer on their usual port, asked all at once."""
    asked = [(name, port) for name, port in (("Ollama", ports.ollama), ("vLLM", ports.vllm)) if port]
    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        answers = list(pool.map(_served_models, [port for _, port in asked]))
    for (name, port), cards in zip(asked, answers, strict=True):
        models = dict(_entry(card, port) for card in cards[:MODELS_PER_SERVER])
        if models:
            yield Found(f"{name} on port {port}", models)


def _served_models(port: int) -> list[dict[str, Any]]:
    """The chat models a server lists; empty if nobody answers in time or the answer is something else."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_S)
    try:
        connection.request("GET", "/v1/models")
        answer = connection.getresponse()
        listing = json.loads(answer.read(ANSWER_BYTES)) if answer.status == 200 else {}
    except (OSError, http.client.HTTPException, ValueError):
        return []
    finally:
        connection.close()
    cards = listing.get("data") if isinstance(listing, dict) else None
    return [card for card in cards if _usable(card)] if isinstance(cards, list) else []


def _usable(card: Any) -> bool:
    name = card.get("id") if isinstance(card, dict) else None
    return isinstance(name, str) and "embed" not in name.lower() and not list(model_name((), name))


def _entry(card: dict[str, Any], port: int) -> tuple[str, dict[str, Any]]:
    # Own hardware: a token costs nothing more. Whether the model can reason is not told, so it is not offered.
    entry: dict[str, Any] = {
        "deployments": [{"base_url": f"http://127.0.0.1:{port}/v1"}],
        "price": {"input": 0.0, "output": 0.0},
    }
    window = card.get("max_model_len")
    if isinstance(window, int) and window > 0:
        entry |= {"context_tokens": window, "max_output_tokens": min(window, 8192)}
    return card["id"], entry


def _merged(found: list[Found]) -> dict[str, dict[str, Any]]:
    """All models by name; the first source of a name keeps it."""
    models: dict[str, dict[str, Any]] = {}
    for source in found:
        for name, entry in source.models.items():
            models.setdefault(name, entry)
    return models


def _announce(found: list[Found], console: "Console | None") -> None:
    if console is None:
        from rich.console import Console

        console = Console(stderr=True)
    lines = ["No configuration given; using what is here:"]
    lines += [f"  {source.source}: {', '.join(source.models)}" for source in found]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
