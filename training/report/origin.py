"""Where a result comes from: data, encoder, command, time, and the pools that were left out."""

from collections.abc import Mapping
from typing import Any

from training.report import words
from training.report.result import number

FITTED_INSIDE = "static-fitted-to-"  # how the id of an encoder begins that was fitted inside every part

# How a run is told at the top: key of the result, its name on the page.
_FACTS = {
    "split": "Split",
    "folds": "Folds",
    "seed": "Seed",
    "seeds": "Seeds",
    "encoder": "Encoder",
    "n_replicates": "Bootstrap replicates",
    "code": "Code",
    "data": "Data",
    "wall_s": "Took",
    "command": "Command",
}
_ALWAYS_TOLD = ("split", "seed", "encoder", "data", "command")


def facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of what is known of a run; a few that every run should record are told as missing."""
    told = {key: _as_text(result.get(key)) for key in _FACTS}
    told |= {"encoder": encoder_told(result), "wall_s": time_told(result)}
    if told["seeds"]:
        del told["seed"]
    return [(_FACTS[key], text or "not recorded") for key, text in told.items() if text or key in _ALWAYS_TOLD]


def encoder_told(result: Mapping[str, Any]) -> str:
    """The encoder's id, whether each part had its own, and which pools had another; empty where none is recorded."""
    told = _as_text(result.get("encoder"))
    if told.startswith(FITTED_INSIDE):
        told += ", fitted inside every part"
    return "; ".join([told, *_other_encoders(result)]) if told else ""


def _other_encoders(result: Mapping[str, Any]) -> list[str]:
    pools = result.get("pools")
    named = pools.items() if isinstance(pools, Mapping) else ()
    return [f"{name}: {pool['encoder']}" for name, pool in named if isinstance(pool, Mapping) and pool.get("encoder")]


def time_told(result: Mapping[str, Any]) -> str:
    """``2 h 13 min with 2 processes``, as far as it is recorded; empty where it is not."""
    wall_s, jobs = number(result.get("wall_s")), number(result.get("jobs"))
    parts = [words.duration(wall_s)] if wall_s is not None and wall_s >= 0 else []
    if jobs is not None and jobs >= 1:
        parts.append(f"{jobs:.0f} process{'' if jobs == 1 else 'es'}")
    return " with ".join(parts)


def skipped_pools(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pools that could not be measured and why, each reason on one line; none where a result does not tell."""
    skipped = result.get("skipped")
    if not isinstance(skipped, Mapping):
        return []
    return [(str(pool), " ".join(str(reason).split())) for pool, reason in skipped.items()]


def origin_lines(result: Mapping[str, Any]) -> list[str]:
    """Command, encoder, time and skipped pools as items of a Markdown list, without what is not recorded."""
    command = _as_text(result.get("command"))
    told = {"Command": f"`{command}`" if command else "", "Encoder": encoder_told(result), "Took": time_told(result)}
    lines = [f"- {name}: {text}" for name, text in told.items() if text]
    return lines + [f"- Skipped `{pool}`: {reason}" for pool, reason in skipped_pools(result)]


def _as_text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
