"""The report: tables of medians and spreads, ratios against each peer, and a picture of CPU per request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.results import Results, Series, beside_earlier, times
from bench.scoring import ARMS
from bench.stats import Spread, spread


@dataclass(frozen=True)
class Table:
    """A title, the head of each column, and the rows; the first column is the row's name."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def number(value: float) -> str:
    """Three significant digits, never an exponent; a small whole number as it is."""
    if value == int(value) and abs(value) < 1000:
        return str(int(value))
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.1 else 4
    return f"{value:,.{digits}f}"


def with_spread(figure: Spread | None) -> str:
    """Median, and the extremes when more than one round was run."""
    if figure is None:
        return "–"
    if figure.low == figure.high:
        return number(figure.median)
    return f"{number(figure.median)} ({number(figure.low)}–{number(figure.high)})"


def verdict(dearer: Spread | None) -> str:
    """How our cost compares with a peer's: less is a gain, more is a loss, and both are printed alike."""
    if dearer is None:
        return "–"
    if dearer.median >= 1:
        low, high, word, middle = dearer.low, dearer.high, "less", dearer.median
    else:
        low, high, word, middle = 1 / dearer.high, 1 / dearer.low, "more", 1 / dearer.median
    extremes = f" ({number(low)}–{number(high)})" if low != high else ""
    return f"{number(middle)}x {word}{extremes}"


def _figure_table(results: Results, title: str, columns: Sequence[tuple[str, str]]) -> Table:
    def row(series: Series) -> tuple[str, ...]:
        return (series.label, *(with_spread(series.spread(figure)) for _, figure in columns))

    shown = [s for s in results.series if any(s.values(figure) for _, figure in columns)]
    return Table(title, ("", *(head for head, _ in columns)), tuple(row(s) for s in shown))


def cpu_ratio_table(results: Results) -> Table:
    """Each of our rows against each peer, by CPU per request; prompts of the same length."""
    names = _peer_names(results)
    rows = []
    for ours in (s for s in results.series if s.is_ours):
        peers = {p.gateway: p for p in results.peers_of(ours)}
        cells = (verdict(times(peers[n], ours, "cpu_ms")) if n in peers else "–" for n in names)
        rows.append((ours.label, *cells))
    return Table("CPU per request, ours against each peer", ("", *names), tuple(rows))


def earlier_table(ours: Series, then: Series) -> Table:
    """Today's figures beside an earlier version's, and how many times as much that is."""
    rows = []
    for text, figure in _COMPARED:
        if ratio := times(ours, then, figure):
            shown = (with_spread(ours.spread(figure)), with_spread(then.spread(figure)), with_spread(ratio))
            rows.append((text, *shown))
    return Table(f"{ours.label}, beside {then.gateway}", ("", "today", "then", "times"), tuple(rows))


def all_ratios_table(results: Results, ours: Series) -> Table:
    """One row of ours against each peer in every figure where less is better."""
    peers = {p.gateway: p for p in results.peers_of(ours)}
    rows = [
        (text, *(verdict(times(peers[name], ours, figure)) for name in peers))
        for text, figure in _COMPARED
        if ours.values(figure)
    ]
    return Table(f"{ours.label}, against each peer (less is better in every line)", ("", *peers), tuple(rows))


def _peer_names(results: Results) -> list[str]:
    return list(dict.fromkeys(s.gateway for s in results.series if not s.is_ours))


_COMPARED = (
    ("CPU per request", "cpu_ms"),
    ("CPU per stream of 100, back to back", "burst_ms_per_stream"),
    ("CPU per stream of 100, flushed alone", "paced_ms_per_stream"),
    ("p50 added at half load", "added_p50_ms"),
    ("p99 added at half load", "added_p99_ms"),
    ("added to the first event", "added_first_event_ms"),
    ("memory after 1,000 requests", "rss_mb"),
    ("time to the first answer", "first_answer_s"),
)
_COST = (
    ("CPU ms/request", "cpu_ms"),
    ("of it gateway", "cpu_gateway_ms"),
    ("of it store", "cpu_store_ms"),
    ("requests/s, one core", "rps"),
    ("connections", "connections"),
    ("the same by wrk", "wrk_rps"),
)
_LATENCY = (
    ("arrivals/s", "half_rps"),
    ("CPU ms/request", "cpu_at_half_ms"),
    ("added p50 ms", "added_p50_ms"),
    ("added p99 ms", "added_p99_ms"),
    ("direct p50 ms", "direct_p50_ms"),
    ("late decisions, share", "late_share"),
    ("late at 16 connections", "late_share_c16"),
)
_STREAMS = (
    ("µs/event, back to back", "burst_us_per_event"),
    ("µs/event, flushed alone", "paced_us_per_event"),
    ("CPU ms/stream of 100, back to back", "burst_ms_per_stream"),
    ("flushed alone", "paced_ms_per_stream"),
    ("arrive alone, share", "paced_alone_share"),
    ("added to first event, ms", "added_first_event_ms"),
)
_START = (
    ("first answer s", "first_answer_s"),
    ("ready s", "ready_s"),
    ("MB after 1,000 requests", "rss_mb"),
    ("store MB", "rss_store_mb"),
)


def _direct_table(results: Results) -> Table:
    names = {
        "upstream_rps": "requests/s, a core each",
        "upstream_and_load_on_one_core_rps": "requests/s, upstream and generator on one core",
        "upstream_burst_streams_per_s": "streams/s of 100 events back to back",
        "upstream_paced_streams_per_s": "streams/s of 1.02 s, 512 at once",
    }
    fastest = max((v for s in results.series for v in s.values("rps")), default=0.0)
    rows = []
    for key, text in names.items():
        figure = spread([d[key] for d in results.direct])
        against = f"{number(figure.median / fastest)}x the fastest gateway" if fastest and "one core" in text else ""
        rows.append((text, with_spread(figure), against))
    return Table("The fake upstream alone: it is not the bottleneck", ("", "", ""), tuple(rows))


def _scoring_tables(results: Results) -> list[Table]:
    """Microseconds of one decision by policy and number of arms; none for a run that did not measure it."""
    if not results.scoring:
        return []
    spreads = {name: spread([one[name] for one in results.scoring]) for name in results.scoring[0]}
    policies = list(dict.fromkeys(name.split("_")[0] for name in spreads))
    rows = ((p, *(with_spread(spreads[name]) for name in spreads if name.startswith(f"{p}_"))) for p in policies)
    heads = tuple(f"score {n} arms, µs" for n in ARMS)
    return [Table("A single decision, the embedding being there", ("", *heads), tuple(rows))]


def tables(results: Results) -> list[Table]:
    """Everything that is printed and written, in order."""
    ours = [s for s in results.series if s.is_ours and s.rounds]
    out = [cpu_ratio_table(results)] if ours else []
    out += [earlier_table(ours, then) for ours, then in beside_earlier(results)]
    out += [all_ratios_table(results, s) for s in ours if s.values("rss_mb") and not s.is_earlier]
    out += [
        _figure_table(results, "Cost: one worker on one core", _COST),
        _figure_table(results, "Latency at half of the measured capacity, from the scheduled arrival", _LATENCY),
        _figure_table(results, "Streams", _STREAMS),
        _figure_table(results, "Start and memory", _START),
        *_scoring_tables(results),
        _direct_table(results),
    ]
    failures = tuple((s.label, e) for s in results.series for e in s.errors)
    failures += tuple((name, f"not measured: {why}") for name, why in results.missing.items())
    return [*out, Table("What failed or is missing", ("", ""), failures)] if failures else out


def heading(results: Results) -> list[str]:
    """What was run, on what, and how to read it."""
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    rounds = len(results.direct)
    return [
        f"{results.date} · `{results.command}` · {rounds} interleaved round{'s' if rounds > 1 else ''}",
        f"Machine: {results.machine}",
        f"Versions: {versions}",
        "Cells: median (lowest–highest of the rounds). Added: percentile through the gateway less the direct median.",
    ]


def _markdown_table(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"

    rule = "|" + "---|" * len(table.head)
    return "\n".join([f"## {table.title}", "", line(table.head), rule, *(line(row) for row in table.rows)])


def markdown(results: Results) -> str:
    """The report as a Markdown page."""
    parts = ["# Benchmark", "\n\n".join(heading(results)), *(_markdown_table(t) for t in tables(results))]
    return "\n\n".join(parts) + "\n"
