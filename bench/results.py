"""What a run of the benchmark leaves: every round of every row, and what it ran on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.measure import Figures, Row
from bench.stats import Spread, ratio, spread

Round = Mapping[tuple[str, Row], Figures | str]  # one round's figures, or what went wrong, by gateway and row


@dataclass(frozen=True)
class Series:
    """One row of one gateway over the rounds; `errors` holds the text of each round that failed."""

    gateway: str
    row: Row
    rounds: tuple[Figures, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return f"{self.gateway}: {self.row.label}"

    @property
    def is_ours(self) -> bool:
        return self.gateway.startswith("Gearshift")

    @property
    def is_earlier(self) -> bool:
        """Ours, at an earlier version."""
        return self.gateway.startswith("Gearshift at ")

    def values(self, figure: str) -> list[float]:
        """The figure in each round that has it."""
        return [r[figure] for r in self.rounds if figure in r]

    def spread(self, figure: str) -> Spread | None:
        """Median and extremes; None when no round has the figure."""
        values = self.values(figure)
        return spread(values) if values else None


@dataclass(frozen=True)
class Results:
    """A whole run; `scoring` holds microseconds of a single decision, round by round."""

    series: tuple[Series, ...]
    direct: tuple[Figures, ...]
    versions: Mapping[str, str]
    missing: Mapping[str, str]
    command: str
    date: str
    machine: str
    scoring: tuple[Figures, ...] = ()
    settings: Mapping[str, float] = field(default_factory=dict)

    def peers_of(self, ours: Series) -> list[Series]:
        """The peers' rows with prompts of the same length; a peer keeps no cache, so cold and warm are one to it."""
        return [s for s in self.series if not s.is_ours and s.row.words == ours.row.words]


def beside_earlier(results: Results) -> list[tuple[Series, Series]]:
    """Each row of an earlier version with the same row of today's."""
    now = {(s.gateway, s.row): s for s in results.series if s.is_ours and not s.is_earlier}
    found = []
    for then in filter(lambda series: series.is_earlier, results.series):
        ours = now.get((f"Gearshift, {then.gateway.rpartition(', ')[2]}", then.row))
        if ours is not None:
            found.append((ours, then))
    return found


def times(theirs: Series, ours: Series, figure: str) -> Spread | None:
    """How many times more the peer takes of this figure; None when a side has no positive figures."""
    a, b = theirs.values(figure), ours.values(figure)
    return ratio(a, b) if a and b and min(*a, *b) > 0 else None


def machine_line() -> str:
    """Processor, cores, memory, kernel and Python, in one line."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    kernel, python = platform.release().split("-")[0], platform.python_version()
    model = names[0] if names else platform.processor()
    return f"{model}, {os.cpu_count()} cores, {gib:.0f} GiB, Linux {kernel}, Python {python}"


def collect(rounds: Sequence[Round]) -> tuple[Series, ...]:
    """The rounds turned round: one series per row, in the order of the first round."""
    keys = list(dict.fromkeys(key for one in rounds for key in one))
    out = []
    for name, row in keys:
        got = [one[(name, row)] for one in rounds if (name, row) in one]
        figures = tuple(g for g in got if not isinstance(g, str))
        out.append(Series(name, row, figures, tuple(g for g in got if isinstance(g, str))))
    return tuple(out)


def save_json(results: Results, path: Path) -> None:
    """Every round's figures, unrounded."""
    path.write_text(json.dumps(asdict(results), indent=1))
