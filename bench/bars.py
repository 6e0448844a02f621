"""The project's own bars for speed, checked against a run: `python -m bench --check` fails when one is missed.

They are absolute on purpose and belong to a quiet machine; tests never assert them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from bench.results import Results, Series, beside_earlier, times

MOST_WORSE = 1.10  # of an earlier version's figure
STEADY = ("cpu_ms", "burst_us_per_event", "paced_us_per_event", "rss_mb")  # latencies vary more than that by themselves
SCORING = "one decision"  # no gateway's row: what `bench/scoring.py` measures
STATIC, MINILM, PINNED, LITELLM = "Gearshift, static", "Gearshift, minilm", "Gearshift, model pinned", "LiteLLM proxy"


@dataclass(frozen=True)
class Bar:
    """A figure of one row that must not exceed (or, for a ratio, fall below) its bound."""

    claim: str
    gateway: str
    figure: str
    bound: float
    words: int = 30
    unique: bool = True
    aim: bool = False


@dataclass(frozen=True)
class Verdict:
    """What was measured for a bar; None: the row is not in this run."""

    bar: Bar
    value: float | None

    @property
    def met(self) -> bool:
        return self.value is not None and self.value <= self.bar.bound


def bars() -> Sequence[Bar]:
    """Bounds in the figure's own unit (`bench/measure.py`); CPU is the gateway's, the store's is shown beside it."""
    return (
        Bar("CPU ms per routed request, static", STATIC, "cpu_gateway_ms", 0.8),
        Bar("CPU ms per routed request, minilm", MINILM, "cpu_gateway_ms", 9.0),
        Bar("CPU ms per routed request, minilm, cache hit", MINILM, "cpu_gateway_ms", 0.8, unique=False),
        Bar("µs per stream event, back to back", STATIC, "burst_us_per_event", 15.0),
        Bar("µs per stream event, flushed alone", STATIC, "paced_us_per_event", 80.0),
        Bar("added ms at half load, p50, static", STATIC, "added_p50_ms", 2.0),
        Bar("added ms at half load, p50, minilm", MINILM, "added_p50_ms", 10.0),
        Bar("share of late decisions at half load, static", STATIC, "late_share", 0.001),
        Bar("share of late decisions at half load, minilm", MINILM, "late_share", 0.001),
        Bar("seconds to ready, static", STATIC, "ready_s", 3.0),
        Bar("seconds to ready, minilm", MINILM, "ready_s", 3.0),
        Bar("MB after 1,000 requests, static", STATIC, "rss_mb", 200.0),
        Bar("MB after 1,000 requests, minilm", MINILM, "rss_mb", 350.0),
        Bar("µs to score 8 arms, default", SCORING, "default_8_us", 100.0),
        Bar("µs to score 100 arms, default", SCORING, "default_100_us", 300.0),
        Bar("CPU ms per routed request, static (aim)", STATIC, "cpu_gateway_ms", 0.6, aim=True),
        Bar("CPU ms per routed request, minilm (aim)", MINILM, "cpu_gateway_ms", 8.0, aim=True),
        Bar("µs per stream event, back to back (aim)", STATIC, "burst_us_per_event", 10.0, aim=True),
        Bar("µs per stream event, flushed alone (aim)", STATIC, "paced_us_per_event", 60.0, aim=True),
        Bar("added ms at half load, p50, static (aim)", STATIC, "added_p50_ms", 1.5, aim=True),
        Bar("added ms at half load, p99, static (aim)", STATIC, "added_p99_ms", 5.0, aim=True),
        Bar("added ms at half load, p99, minilm (aim)", MINILM, "added_p99_ms", 25.0, aim=True),
        Bar("MB after 1,000 requests, static (aim)", STATIC, "rss_mb", 150.0, aim=True),
        Bar("MB after 1,000 requests, minilm (aim)", MINILM, "rss_mb", 300.0, aim=True),
    )


def verdicts(results: Results) -> list[Verdict]:
    """Every bar with the median of this run."""
    return [Verdict(bar, _median(results, bar)) for bar in bars()]


def against_litellm(results: Results) -> float | None:
    """How many times the CPU of a request LiteLLM's proxy takes, static encoder, cache cold; the aim is 12."""
    ours = _row(results, STATIC, 30, True)
    theirs = next((s for s in results.series if s.gateway == LITELLM and s.row.words == 30), None)
    spread = times(theirs, ours, "cpu_ms") if ours is not None and theirs is not None else None
    return None if spread is None else spread.median


def beside(results: Results) -> list[tuple[str, float]]:
    """By row and figure of an earlier version, how many times its mean today's is; nothing where none was measured."""
    found = []
    for ours, then in beside_earlier(results):
        for figure in STEADY:
            if (now := ours.values(figure)) and (before := then.values(figure)):
                found.append((f"{figure} of {ours.label}, beside {then.gateway}", fmean(now) / fmean(before)))
    return found


def check(results: Results, say: Callable[[str], None]) -> bool:
    """Say of each bar whether it was met; True if all but aims were."""
    passed = True
    for verdict in verdicts(results):
        bar, value = verdict.bar, "not measured" if verdict.value is None else f"{verdict.value:.4g}"
        say(f"{'met   ' if verdict.met else 'MISSED'}  {bar.claim}: {value} (at most {bar.bound:g})")
        passed = passed and (verdict.met or bar.aim)
    for claim, ratio in beside(results):
        passed = passed and ratio <= MOST_WORSE
        say(f"{'met   ' if ratio <= MOST_WORSE else 'MISSED'}  {claim}: {ratio:.3f} times (at most {MOST_WORSE:g})")
    litellm = against_litellm(results)
    say(f"LiteLLM's CPU per request over ours (aim 12): {'not measured' if litellm is None else f'{litellm:.1f}'}")
    return passed


def _row(results: Results, gateway: str, words: int, unique: bool) -> Series | None:
    wanted = (s for s in results.series if s.gateway == gateway and s.row.words == words and s.row.unique == unique)
    return next(wanted, None)


def _median(results: Results, bar: Bar) -> float | None:
    if bar.gateway == SCORING:
        values = [one[bar.figure] for one in results.scoring if bar.figure in one]
        return median(values) if values else None
    row = _row(results, bar.gateway, bar.words, bar.unique)
    spread = row.spread(bar.figure) if row is not None else None
    return None if spread is None else spread.median
