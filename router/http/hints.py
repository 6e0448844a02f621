"""The `gearshift` object of a request: what the client asks of the router itself. Strict: a typo would cost money."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from policies.arms import MODES, Mode
from router.errors import BadRequest
from router.http.body import json_kind

_NAME_CHARS = 256
_LIST_ITEMS = 64
_TAGS = 16
_TAG_CHARS = 512


@dataclass(frozen=True, slots=True)
class Hints:
    """A request may tighten its tenant's cost policy, never loosen it; the pipeline combines the two.

    Attributes:
        max_usd: Cap on what the answer may cost.
        quality_floor: Share of the tenant's reference arm's quality, 0..1.
        trade_off: Name of a configured trade-off, empty for the tenant's.
        modes, models: What may answer, empty for all.
        regions: Where the prompt may go, beside the gateway's own processes; empty for anywhere.
        residency: ``local``: nowhere but where `regions` says; empty for no demand.
        session: The client's own name of the conversation, empty for none.
        tags: Kept with the outcome.
        explore: Exploration floor of this decision, 0..1.
        include_gearshift: The decision is told in the answer's body too.
    """

    max_usd: float | None = None
    quality_floor: float | None = None
    trade_off: str = ""
    modes: tuple[Mode, ...] = ()
    models: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    residency: str = ""
    session: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    explore: float | None = None
    include_gearshift: bool = False


NO_HINTS = Hints()


def _refuse(name: str, expected: str, value: object) -> BadRequest:
    got = json_kind(value)
    return BadRequest(
        f"gearshift.{name}: expected {expected}, got {got}", param=f"gearshift.{name}", code="invalid_hint"
    )


def _usd(name: str, value: Any) -> float:
    if type(value) not in (int, float) or not value > 0:
        raise _refuse(name, "a number of USD above 0", value)
    return float(value)


def _share(name: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise _refuse(name, "a number from 0 to 1", value)
    return float(value)


def _text(name: str, value: Any) -> str:
    if type(value) is not str or not 0 < len(value) <= _NAME_CHARS:
        raise _refuse(name, f"a string of 1 to {_NAME_CHARS} characters", value)
    return value


def _flag(name: str, value: Any) -> bool:
    if type(value) is not bool:
        raise _refuse(name, "true or false", value)
    return value


def _names(name: str, value: Any) -> tuple[str, ...]:
    if type(value) is not list or not 0 < len(value) <= _LIST_ITEMS:
        raise _refuse(name, f"a list of 1 to {_LIST_ITEMS} strings", value)
    return tuple(_text(f"{name}[{index}]", item) for index, item in enumerate(value))


def _modes(name: str, value: Any) -> tuple[str, ...]:
    for index, mode in enumerate(names := _names(name, value)):
        if mode not in MODES:
            raise _refuse(f"{name}[{index}]", f"one of {', '.join(MODES)}", mode)
    return names


def _residency(name: str, value: Any) -> str:
    if value != "local":
        raise _refuse(name, "local, or nothing", value)
    return "local"


def _tags(name: str, value: Any) -> tuple[tuple[str, str], ...]:
    if type(value) is not dict or len(value) > _TAGS:
        raise _refuse(name, f"an object of at most {_TAGS} strings", value)
    for key, text in value.items():
        if type(text) is not str or len(text) > _TAG_CHARS or len(key) > _NAME_CHARS:
            raise _refuse(name, f"keys of at most {_NAME_CHARS} and strings of at most {_TAG_CHARS} characters", text)
    return tuple(value.items())


_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "max_usd": _usd,
    "quality_floor": _share,
    "trade_off": _text,
    "modes": _modes,
    "models": _names,
    "regions": _names,
    "residency": _residency,
    "session": _text,
    "tags": _tags,
    "explore": _share,
    "include_gearshift": _flag,
}


def read_hints(value: object) -> Hints:
    """Read the `gearshift` object; null and absent members keep their defaults.

    Raises:
        BadRequest: Not an object, an unknown key, or a value of the wrong kind; ``param`` is ``gearshift.<key>``.
    """
    if value is None:
        return NO_HINTS
    if type(value) is not dict:
        raise BadRequest(
            f"gearshift: expected an object, got {json_kind(value)}", param="gearshift", code="invalid_hint"
        )
    read: dict[str, Any] = {}
    for name, item in value.items():
        if name not in _READERS:
            known = ", ".join(field.name for field in fields(Hints))
            shown = name[:_NAME_CHARS]
            raise BadRequest(
                f"gearshift.{shown}: unknown hint; use {known}", param=f"gearshift.{shown}", code="invalid_hint"
            )
        if item is not None:
            read[name] = _READERS[name](name, item)
    return Hints(**read)
