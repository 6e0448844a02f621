"""`python -m bench.pacing`: quality and money of each way to spend a budget, as a table, JSON and a picture."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench.pacing.picture import drawn
from bench.pacing.play import OURS, PLAYERS, all_played, budget_of, measured, tenant_of
from bench.pacing.streams import KINDS, World, load_world


def main() -> None:
    """Measure every pool named, print Markdown or JSON, draw the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--pools", nargs="+", default=["mmlu_pro_7", "reasoning_gym_modes"])
    parser.add_argument("--policy", default="linear")
    parser.add_argument("--requests", type=int, default=9_000)
    parser.add_argument("--orders", type=int, default=5, choices=range(1, 11), metavar="1..10")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for place, pool in enumerate(given.pools):
        world = load_world(given.data, pool, policy=given.policy)
        if given.picture is not None and place == 0:
            given.picture.write_bytes(drawn(_paths(world, given.requests)))
        found[pool] = measured(
            world, n=given.requests, orders=given.orders,
            tell=lambda line, pool=pool: print(f"{pool}: {line}", file=sys.stderr),  # type: ignore[misc]
        )  # fmt: skip
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if given.json else markdown(found))


def _paths(world: World, n: int) -> dict[str, Any]:
    """By kind of stream: the moments of its requests, and the share of half a budget that each player has spent."""
    trade_off, drawing = tenant_of(world), {}
    for kind, make in KINDS.items():
        stream = make(world, n, np.random.default_rng(0))
        limit_usd = budget_of(stream, trade_off, 0.5)
        drawing[kind] = stream.at, all_played(stream, trade_off, limit_usd=limit_usd, seed=0)[1]
    return drawing


def markdown(found: dict[str, list[dict[str, Any]]]) -> str:
    """A table for each pool: quality in percent, the share spent, refusals; ours less the others' below it."""
    lines = []
    for pool, entries in found.items():
        lines += [f"### {pool}", ""]
        lines += ["| stream, budget | " + " | ".join(PLAYERS) + " |", "|---" * (len(PLAYERS) + 1) + "|"]
        lines += [f"| {_name(entry)} | " + " | ".join(_cell(entry["players"][name]) for name in PLAYERS) + " |"
                  for entry in entries]  # fmt: skip
        others = [name for name in PLAYERS if name != OURS]
        lines += ["", "| gearshift less … | " + " | ".join(others) + " |", "|---" * (len(others) + 1) + "|"]
        for entry in entries:
            cells = (f"{m:+.2f} ({low:+.2f}…{high:+.2f})" for m, low, high in (entry["ours_less"][o] for o in others))
            lines.append(f"| {_name(entry)} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _name(entry: dict[str, Any]) -> str:
    return f"{entry['stream']}, {entry['budget']:.0%}"


def _cell(rows: list[dict[str, float]]) -> str:
    spent = [100.0 * row["spent"] for row in rows]
    text = f"{100.0 * np.mean([row['quality'] for row in rows]):.2f}, {min(spent):.1f}…{max(spent):.1f} %"
    refused = 100.0 * float(np.mean([row["refused"] for row in rows]))
    slack = 100.0 * float(np.mean([row["slack"] for row in rows]))
    text += f", {refused:.1f} % refused" if refused else ""
    return text + (f", last {slack:.0f} % free" if slack > 1 else "")


if __name__ == "__main__":
    main()
