"""Numbers as a reader wants them: units, few digits, a true minus sign, an en dash where there is nothing."""

import math

from training.report.result import Estimate

NOTHING = "–"
NOT_REACHED = "not reached"


def percent(value: float | None, digits: int = 0) -> str:
    """A number that already is a percentage."""
    return NOTHING if value is None else f"{signless(value, digits)} %"


def share(value: float | None, digits: int = 1) -> str:
    """A fraction as a percentage."""
    return NOTHING if value is None else percent(100 * value, digits)


def points(value: float, digits: int = 1) -> str:
    """A difference of percentages, with its sign."""
    return f"{'+' if round(value, digits) > 0 else ''}{signless(value, digits)}"


def signless(value: float, digits: int) -> str:
    """Fixed digits without ``-0``, and with a true minus."""
    text = f"{value:.{digits}f}"
    return f"{0:.{digits}f}" if float(text) == 0 else text.replace("-", "−")


def interval(estimate: Estimate, digits: int = 0, scale: float = 1.0) -> str:
    """``[low, high]``, empty where there is none; a bound that is not 0 does not read as 0 for want of a digit."""
    if estimate.low is None or estimate.high is None:
        return ""
    if any(0.0 < abs(scale * bound) < 0.5 for bound in (estimate.low, estimate.high)):
        digits = max(digits, 1)
    return f"[{signless(scale * estimate.low, digits)}, {signless(scale * estimate.high, digits)}]"


def usd_per_thousand(usd: float | None) -> str:
    """USD per 1,000 queries, three significant digits."""
    return NOTHING if usd is None else f"${significant(1000 * usd)}"


def significant(value: float | None, digits: int = 3) -> str:
    """Significant digits without an exponent."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}".replace("-", "−")


def count(value: float | None) -> str:
    """A whole number with thousands."""
    return NOTHING if value is None else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """``8.3 s``, ``42 s``, ``12 min 5 s`` or ``2 h 13 min``."""
    whole_s, whole_min = round(seconds), round(seconds / 60)
    if whole_s < 60:
        return f"{significant(seconds, 2)} s" if seconds < 9.95 else f"{whole_s} s"
    if whole_s < 3600:
        return f"{whole_s // 60} min {whole_s % 60} s"
    return f"{whole_min // 60} h {whole_min % 60} min"


def listed(items: list[str]) -> str:
    """``a, b and c``."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1] if items else ""


def counted(n: int, noun: str) -> str:
    """``1 domain``, ``2 domains``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def title(name: str) -> str:
    """A name of the JSON as words."""
    return name.replace("_", " ")
