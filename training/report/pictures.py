"""The pictures of one pool besides the frontier; each is left out where the run did not record what it shows."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from training.report import words
from training.report.domains import DEARER, LOSES, PAYS, WITHIN_NOISE, domain_rows
from training.report.drawing import COLOURS, MARKERS, Picture, colour, figure, legend, series
from training.report.frontier import coloured, frontier, frontier_close, money_axis
from training.report.result import QUALITIES, PolicyResult, PoolResult, mapping, number
from training.report.summary import ROBUST_PCT

_MOST_DOMAINS = 24


def pictures(pool: PoolResult) -> list[Picture]:
    """Every picture that the pool has numbers for, in the order of the page."""
    makers: tuple[Callable[[PoolResult], Picture | None], ...] = (
        frontier, frontier_close, savings, domain_bars, calibration, mode_mix, robustness,
    )  # fmt: skip
    return [picture for make in makers if (picture := make(pool)) is not None]


def savings(pool: PoolResult) -> Picture | None:
    """Save@q of each policy as a dot with its interval, one panel for each q."""
    shown = [each for each in pool.policies.values() if each.name not in ("fixed", "oracle")]
    if not any(each.number(f"save_{quality}") is not None for each in shown for quality in QUALITIES):
        return None
    made, grid = figure(1.3 + 0.36 * len(shown), rows=2, columns=2, sharey=True)
    for axes, quality in zip(grid.flat, QUALITIES, strict=True):
        _saving_panel(axes, shown, quality)
    grid[0, 0].set_yticks(range(len(shown)), [words.title(each.name) for each in shown])
    for axes in grid[:, 0]:
        axes.get_yticklabels()[0].set_fontweight("bold")
    made.supxlabel("saving, % of the best single arm's cost (diamonds read labels)", fontsize=8.5)
    grid[0, 0].invert_yaxis()
    said = "; ".join(f"{each.name} {words.percent(each.number('save_97'))}" for each in shown)
    alt = f"Saving at 95, 97, 99 and 100 % of the best single arm's accuracy with 95 % intervals. At 97 %: {said}."
    return Picture("savings", "Saving while keeping 95 to 100 % of its accuracy", alt, made)


def _saving_panel(axes: Any, shown: list[PolicyResult], quality: str) -> None:
    axes.set_title(f"keeping {quality} % of it")
    axes.axvline(0, color=colour("muted"), linewidth=0.8)
    axes.grid(visible=True, axis="x")
    axes.tick_params(axis="y", length=0)
    lows = [0.0]
    for row, policy in enumerate(shown):
        found = policy.estimate(f"save_{quality}")
        if found is None:
            axes.annotate(
                words.NOT_REACHED, (0, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7,
                color=colour("muted"),
            )  # fmt: skip
            continue
        shade = colour("series-1" if row == 0 else "muted" if policy.is_label_free else "series-2")
        if found.low is not None and found.high is not None:
            axes.plot([found.low, found.high], [row, row], color=shade, linewidth=1.6)
            lows.append(found.low)
        axes.plot([found.value], [row], color=shade, marker="o" if policy.is_label_free else "D", markersize=5)
    axes.set_xlim(max(min(lows) - 3, -60), 103)
    axes.set_xticks([tick for tick in (-50, -25, 0, 25, 50, 75, 100) if tick >= min(lows) - 3])


def calibration(pool: PoolResult) -> Picture | None:
    """Forecast against observed accuracy in ten bins."""
    able = [each for each in coloured(pool) if each.rows("calibration", 3)]
    if not able:
        return None
    made, axes = figure(4.3)
    axes.plot([0, 100], [0, 100], color=colour("muted"), linewidth=0.8, linestyle=(0, (4, 3)))
    handles = []
    for index, policy in enumerate(able):
        rows = np.array(policy.rows("calibration", 3))
        label = f"{words.title(policy.name)}, ECE {words.significant(policy.number('ece'), 2)}"
        style = series(index) | {"linewidth": 1.8 if index == 0 else 1.0}
        (line,) = axes.plot(100 * rows[:, 0], 100 * rows[:, 1], marker=MARKERS[index], ms=4, label=label, **style)
        handles.append(line)
    axes.set(xlabel="forecast accuracy, %", ylabel="observed accuracy, %", xlim=(0, 100), ylim=(0, 100))
    axes.grid(visible=True)
    legend(made, handles, columns=2)
    said = "; ".join(f"{each.name} {words.significant(each.number('ece'), 2)}" for each in able)
    alt = f"Forecast against observed accuracy in ten bins; the diagonal is perfect. Calibration error (ECE): {said}."
    return Picture("calibration", "Are the forecasts right?", alt, made)


def mode_mix(pool: PoolResult) -> Picture | None:
    """Share of each mode and effort as the spend grows."""
    main = pool.main
    points = [point for point in (main.raw.get("modes_by_usd") or () if main else ()) if (number(point[0]) or 0) > 0]
    if main is None or len(points) < 2:
        return None
    points = sorted(points, key=lambda point: float(point[0]))
    kinds = sorted({kind for _, mix in points for kind in mix}, key=_mode_order)
    made, axes = figure(3.9)
    heights = [[100 * (number(mix.get(kind)) or 0.0) for _, mix in points] for kind in kinds]
    shades = [role for role in COLOURS if role.startswith("series")] + ["rest"]
    fills = [colour(shades[at % len(shades)]) for at in range(len(kinds))]
    hatches = ["", "///", "...", "\\\\\\", "xx", "++", "--"]
    areas = axes.stackplot([1000 * usd for usd, _ in points], heights, labels=kinds, colors=fills, alpha=0.75)
    for at, area in enumerate(areas):
        area.set(hatch=hatches[at % len(hatches)], edgecolor=colour("grid"), linewidth=0.4)
    money_axis(axes)
    axes.set(ylabel="share of queries, %", ylim=(0, 100))
    axes.margins(x=0)
    legend(made, areas, columns=min(4, len(kinds)))
    ends = [f"at {words.usd_per_thousand(usd)} {_mix_in_words(mix, kinds)}" for usd, mix in (points[0], points[-1])]
    alt = f"Share of modes chosen by {main.name} against spend per 1,000 queries: {'; '.join(ends)}."
    return Picture("modes", f"Modes and efforts chosen by {words.title(main.name)}", alt, made)


def _mix_in_words(mix: Mapping[str, Any], kinds: list[str]) -> str:
    return words.listed([f"{words.share(number(mix.get(kind)) or 0.0, 0)} {kind}" for kind in kinds])


def _mode_order(kind: str) -> tuple[int, int, str]:
    mode, _, effort = kind.partition(":")
    modes, efforts = ("instant", "reasoning", "agentic"), ("", "off", "minimal", "low", "medium", "high")
    at = modes.index(mode) if mode in modes else len(modes)
    return at, efforts.index(effort) if effort in efforts else len(efforts), kind


def domain_bars(pool: PoolResult) -> Picture | None:
    """Saving and accuracy of each domain against the best single arm, lost ones hatched."""
    rows = domain_rows(pool.main) if pool.main is not None else []
    if pool.main is None or not rows:
        return None
    shown = rows[:_MOST_DOMAINS]
    made, (left, right) = figure(1.1 + 0.24 * len(shown), columns=2, sharey=True)
    for axes, values, label in (
        (left, [row.saving_pct or 0.0 for row in shown], "saving, %"),
        (right, [100 * row.gap for row in shown], "accuracy vs best arm, points"),
    ):
        bars = axes.barh(range(len(shown)), values, height=0.66, color=colour("series-1"))
        for bar, row in zip(bars, shown, strict=True):
            if row.verdict != PAYS:
                lost = row.verdict in (LOSES, DEARER)
                bar.set(facecolor=colour("series-2" if lost else "rest"), edgecolor=colour("paper"), linewidth=0)
                bar.set_hatch("////" if lost else None)
        axes.axvline(0, color=colour("muted"), linewidth=0.8)
        axes.grid(visible=True, axis="x")
        axes.set_xlabel(label)
        axes.locator_params(axis="x", nbins=5, integer=True)
        axes.tick_params(axis="y", length=0)
    left.set_yticks(range(len(shown)), [f"{_short(row.name)} ({row.n:,})" for row in shown])
    left.invert_yaxis()
    legend(made, _verdict_key(), columns=3)
    clear = [row.name for row in shown if row.verdict in (LOSES, DEARER)]
    close = sum(row.verdict == WITHIN_NOISE for row in shown)
    said = f"Lost: {words.listed(clear)}." if clear else "None is clearly lost."
    alt = f"Saving and accuracy of {len(shown)} domains against the best single arm. {said} {close} short within noise."
    which = f", the {len(shown)} largest of {len(rows)}" if len(rows) > len(shown) else ""
    return Picture("domains", f"By domain, at 97 % overall{which}", alt, made)


def _verdict_key() -> list[Any]:
    from matplotlib.patches import Patch

    lost = Patch(facecolor=colour("series-2"), edgecolor=colour("paper"), linewidth=0, hatch="////", label="lost")
    kept, short = (Patch(color=colour(role), label=text) for role, text in (("series-1", PAYS), ("rest", WITHIN_NOISE)))
    return [kept, lost, short]


def _short(name: str) -> str:
    plain = words.title(name)
    return plain if len(plain) <= 26 else plain[:25] + "…"


def robustness(pool: PoolResult) -> Picture | None:
    """Same arm under each perturbation: bars of the main policy, marks of a few others."""
    main = pool.main
    kept = {name: pct for name, raw in mapping(main.raw if main else {}, "robustness").items() if (pct := number(raw))}
    if main is None or not kept:
        return None
    made, axes = figure(1.5 + 0.3 * len(kept))
    bars = axes.barh(range(len(kept)), list(kept.values()), height=0.6, color=colour("series-1"), alpha=0.8)
    bars.set_label(words.title(main.name))
    handles = [bars]
    for index, other in enumerate([each for each in coloured(pool) if each.name != main.name][:3], start=1):
        rates = [number(mapping(other.raw, "robustness").get(name)) for name in kept]
        if any(rate is not None for rate in rates):
            style = {"color": colour(f"series-{index + 1}"), "marker": MARKERS[index], "linestyle": "none", "ms": 5}
            at = [np.nan if rate is None else rate for rate in rates]
            handles += axes.plot(at, range(len(kept)), label=words.title(other.name), zorder=5, **style)
    axes.axvline(ROBUST_PCT, color=colour("ink"), linewidth=1.0, linestyle=(0, (4, 3)))
    for row, rate in enumerate(kept.values()):
        axes.annotate(
            f"{rate:.0f}", (0, row), xytext=(5, 0), textcoords="offset points", va="center", color=colour("paper")
        )
    axes.set_yticks(range(len(kept)), [words.title(name) for name in kept])
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel=f"same arm chosen, % of prompts (dashed: {ROBUST_PCT:.0f} %)")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, axis="x")
    legend(made, handles, columns=4)
    said = "; ".join(f"{words.title(name)} {words.percent(rate)}" for name, rate in kept.items())
    alt = f"Share of prompts for which {main.name} keeps its arm when the prompt is changed: {said}."
    return Picture("robustness", "Same arm when the prompt is written differently", alt, made)
