"""Accuracy against cost: single arms, mixes of them, policies with bands, and the oracle."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.report import words
from training.report.drawing import MAIN_LINES, Picture, colour, figure, legend, series
from training.report.labels import place_labels
from training.report.result import DEFAULT, QUALITIES, PolicyResult, PoolResult, number

_ALWAYS = (DEFAULT, "default_teacher", "domain_table")  # of the few lines drawn in colour
_LEFT_GREY = ("oracle", "fixed", "cheapest", "random")
_LABEL_SIZE_IN, _KEY_ROW_IN = 0.13, 0.18
_MOST_LINES = MAIN_LINES + 3  # and the grey ones, the mix, the oracle


def frontier(pool: PoolResult) -> Picture:
    """Everything at once."""
    columns = 1 if _longest(pool) > 26 else 2
    made, axes = figure(3.3 + _KEY_ROW_IN * (_MOST_LINES + len(pool.arms)) / columns)
    handles = [*_draw(axes, pool, bands=False), *_oracle(axes, pool)]
    axes.margins(y=0.06)
    legend(made, [*handles, *_arm_key(pool)], columns=columns)
    _number_arms(made, axes, pool)
    alt = (
        f"Accuracy against cost per 1,000 queries on {pool.name}. {_said(pool)} "
        f"{len(pool.arms)} single arms are numbered points; the dashed line mixes them at random."
    )
    return Picture("frontier", "Accuracy against cost, all arms", alt, made)


def frontier_close(pool: PoolResult) -> Picture | None:
    """The region that matters: from 90 % of the best single arm's accuracy upwards, with 95 % bands."""
    _, best, best_usd = pool.single("best_single")
    if not best or not best_usd or not any(len(each.rows("curve", 3)) for each in coloured(pool)):
        return None
    made, axes = figure(4.1)
    handles = _draw(axes, pool, bands=True)
    for quality in QUALITIES:
        level = best * float(quality)
        axes.axhline(level, color=colour("muted"), linewidth=0.6, linestyle=(0, (1, 3)), zorder=1)
        at = {"xytext": (4, 0), "textcoords": "offset points", "xycoords": axes.get_yaxis_transform()}
        axes.annotate(f"{quality} %", (1, level), fontsize=7.5, ha="left", va="center", color=colour("muted"), **at)
    _close_up(axes, pool, best=best, best_usd=best_usd)
    legend(made, handles, columns=2)
    alt = f"The same near the top, with 95 % bands and lines at 95, 97, 99 and 100 % of the best arm. {_said(pool)}"
    return Picture("frontier-close", "Close to the best single arm, with 95 % bands", alt, made)


def coloured(pool: PoolResult) -> list[PolicyResult]:
    """The few policies worth a colour: the main one, its teacher, the label table, then the best of the rest."""
    able = [each for each in pool.policies.values() if each.rows("curve", 3) and each.name not in _LEFT_GREY]
    first = [each for each in able if each.name in _ALWAYS]
    rest = [each for each in able if each.name not in _ALWAYS]
    order = {name: at for at, name in enumerate(pool.policies)}
    return sorted([*first, *rest][:MAIN_LINES], key=lambda each: order[each.name])


def _draw(axes: Any, pool: PoolResult, *, bands: bool) -> list[Any]:
    money_axis(axes)
    axes.set_ylabel("accuracy, %")
    axes.grid(visible=True)
    chosen = coloured(pool)
    greyed = _greyed(axes, pool, chosen)
    handles = []
    for index, policy in enumerate(chosen):
        curve = _curve(policy)
        (line,) = axes.plot(*mixed(curve[:, 1], curve[:, 2]), label=words.title(policy.name), **series(index))
        handles.append(line)
        if bands and curve.shape[1] >= 7 and index < 3:
            _band(axes, curve, line.get_color())
    return [*handles, *greyed, *_singles(axes, pool)]


def _curve(policy: PolicyResult) -> Any:
    """Rows by rising cost, with the band if every row has one; a cost of 0 has no place on a log axis."""
    wide = np.array(policy.rows("curve", 7))
    rows = wide if len(wide) and len(wide) == len(policy.rows("curve", 3)) else np.array(policy.rows("curve", 3))
    rows = rows[rows[:, 1] > 0]
    return rows[np.lexsort((rows[:, 2], rows[:, 1]))]


def mixed(usd: Any, accuracy: Any) -> tuple[Any, Any]:
    """USD per 1,000 and percent along a line; between two points lies a coin toss, straight in USD, bent on a log axis.

    Args:
        usd / accuracy: Rising costs above 0 and the accuracy at each.
    """
    between = np.geomspace(max(usd[0], 1e-12), usd[-1], 200)[1:-1]
    places = np.concatenate([usd, between])
    values = np.concatenate([accuracy, np.interp(between, usd, accuracy)])
    order = np.argsort(places, kind="stable")
    return 1000 * places[order], 100 * values[order]


def _band(axes: Any, curve: Any, shade: str) -> None:
    axes.fill_between(
        1000 * curve[:, 1], 100 * curve[:, 5], 100 * curve[:, 6], color=shade, alpha=0.13, linewidth=0, zorder=2
    )


def _greyed(axes: Any, pool: PoolResult, chosen: Sequence[PolicyResult]) -> list[Any]:
    left = [each for each in pool.policies.values() if each not in chosen and each.name not in _LEFT_GREY]
    lines = []
    for policy in left:
        if policy.rows("curve", 3):
            curve = _curve(policy)
            lines += axes.plot(*mixed(curve[:, 1], curve[:, 2]), color=colour("rest"), linewidth=0.8, zorder=2)
    if lines:
        lines[0].set_label(f"{len(lines)} more {'policy' if len(lines) == 1 else 'policies'}")
    return lines[:1]


def _singles(axes: Any, pool: PoolResult) -> list[Any]:
    """Arms as points, and the best that a coin between two of them reaches."""
    handles: list[Any] = []
    corners = [pair for pair in pool.raw.get("hull") or () if None not in (number(pair[0]), number(pair[1]))]
    if len(corners) > 1:
        usd, accuracy = np.array(corners, dtype=float).T
        style = {"color": colour("muted"), "linestyle": (0, (4, 3)), "linewidth": 1.2, "zorder": 3}
        handles += axes.plot(*mixed(usd, accuracy), label="random mix of single arms", **style)
    if pool.arms:
        xs, ys = [1000 * arm["usd"] for arm in pool.arms], [100 * arm["accuracy"] for arm in pool.arms]
        axes.scatter(xs, ys, s=22, color=colour("ink"), zorder=7)
    return handles


def _oracle(axes: Any, pool: PoolResult) -> list[Any]:
    oracle = pool.policies.get("oracle")
    rows = oracle.rows("curve", 3) if oracle is not None else []
    if not rows:
        return []
    best = max(rows, key=lambda row: (row[2], -row[1]))
    style = {"marker": "*", "linestyle": "none", "color": colour("series-5"), "markersize": 11, "zorder": 7}
    handles: list[Any] = axes.plot([1000 * best[1]], [100 * best[2]], label="oracle (knows every answer)", **style)
    return handles


def money_axis(axes: Any) -> None:
    """Cost on a log axis; pictures of one pool share its look."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_xlabel("USD per 1,000 queries (log scale)")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda usd, _: f"\\${usd:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _close_up(axes: Any, pool: PoolResult, *, best: float, best_usd: float) -> None:
    rows = [row for policy in coloured(pool) for row in policy.rows("curve", 3) if row[2] >= 0.9 * best and row[1] > 0]
    usd, accuracy = [row[1] for row in rows] + [best_usd], [row[2] for row in rows] + [best]
    axes.set_xlim(1000 * min(usd) / 1.1, 1000 * max(usd) * 1.15)
    axes.set_ylim(90 * best, 100 * (max(accuracy) + 0.015 * best))


def _number_arms(made: Any, axes: Any, pool: PoolResult) -> None:
    made.draw_without_rendering()  # settles the layout: places are in inches from here on
    to_inches = (axes.transData + made.dpi_scale_trans.inverted()).transform
    points = [tuple(to_inches((1000 * arm["usd"], 100 * arm["accuracy"]))) for arm in pool.arms]
    places = place_labels(points, size=(_LABEL_SIZE_IN, _LABEL_SIZE_IN), obstacles=_drawn_places(axes, to_inches))
    for index, (point, place) in enumerate(zip(points, places, strict=True), start=1):
        offset = (72 * (place[0] - point[0]), 72 * (place[1] - point[1]))
        arm = pool.arms[index - 1]
        axes.annotate(
            str(index),
            (1000 * arm["usd"], 100 * arm["accuracy"]),
            xytext=offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            fontweight="bold",
            zorder=8,
        )


def _drawn_places(axes: Any, to_inches: Any) -> list[tuple[float, float]]:
    """Points along every line, dense enough that a label cannot slip between two."""
    places: list[tuple[float, float]] = []
    for line in axes.get_lines():
        x, y = to_inches(line.get_xydata()).T
        walked = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
        steps = np.arange(0.0, walked[-1] + _LABEL_SIZE_IN, _LABEL_SIZE_IN / 2)
        places += zip(np.interp(steps, walked, x).tolist(), np.interp(steps, walked, y).tolist(), strict=True)
    return places


def _arm_key(pool: PoolResult) -> list[Any]:
    from matplotlib.lines import Line2D

    style: dict[str, Any] = {"linestyle": "none", "color": colour("ink"), "markersize": 6, "markeredgewidth": 0.3}
    return [Line2D([], [], marker=f"${at}$", label=arm["arm"], **style) for at, arm in enumerate(pool.arms, start=1)]


def _longest(pool: PoolResult) -> int:
    return max((len(arm["arm"]) for arm in pool.arms), default=0)


def _said(pool: PoolResult) -> str:
    arm, accuracy, usd = pool.single("best_single")
    text = f"The best single arm is {arm} with {words.share(accuracy)} at {words.usd_per_thousand(usd)}."
    main = pool.main
    saving = main.number("save_97") if main is not None else None
    if main is None or saving is None:
        return text
    return f"{text} {main.name} keeps 97 % of that at {words.percent(100 - saving)} of the cost."
