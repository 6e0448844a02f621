"""Pools: named sets of arms with nominal prices over one outcome set, so that every benchmark means the same thing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from policies.arms import EFFORTS, MODES, Arm
from policies.prices import Price, nano_usd_per_mtok

EFFORT_VARIANT = "effort="


class PoolError(ValueError):
    """A pool or an outcome set does not hold what it must; names the file and the column or field."""


@dataclass(frozen=True, slots=True)
class PoolArm:
    """An arm as an outcome set spells it.

    Attributes:
        variant: Finer setting in the set, e.g. ``effort=low``; None takes what the set has for model and mode.
        price: Nominal list price, None if the set's recorded cost is the only one.
        nominal_completion_tokens: Replaces the set's counts where they lack hidden reasoning; None: trust them.
    """

    arm: Arm
    variant: str | None
    price: Price | None
    nominal_completion_tokens: int | None


@dataclass(frozen=True, slots=True)
class Pool:
    """One entry of ``pools.json``.

    Attributes:
        set_name: Folder of the outcome set below the data directory.
        domain: Column of ``queries.parquet`` that names a query's domain.
        where: Column of ``queries.parquet`` -> the value it must have.
    """

    name: str
    set_name: str
    domain: str
    arms: tuple[PoolArm, ...]
    where: tuple[tuple[str, str], ...] = ()
    use_recorded_cost: bool = False


def load_pool_definition(pools_file: Path, pool_name: str) -> Pool:
    """Read one pool.

    Raises:
        PoolError: The file cannot be read, has no such pool, or the pool lacks a field.
    """
    try:
        pools = orjson.loads(pools_file.read_bytes())
    except (OSError, ValueError) as problem:
        raise PoolError(f"{pools_file}: cannot be read as JSON: {problem}") from problem
    names = [name for name in pools if not name.startswith("_")] if isinstance(pools, dict) else []
    if pool_name not in names:
        raise PoolError(f"{pools_file}: no pool {pool_name!r}; it holds {', '.join(names) or 'none'}")
    entry, where = pools[pool_name], f"{pools_file}: {pool_name}"
    try:
        arms = tuple(_pool_arm(arm, where=f"{where}.arms[{index}]") for index, arm in enumerate(entry["arms"]))
        pool = Pool(
            name=pool_name,
            set_name=entry["set"],
            domain=entry["domain"],
            arms=arms,
            where=tuple(sorted(entry.get("where", {}).items())),
            use_recorded_cost=bool(entry.get("use_recorded_cost", False)),
        )
    except KeyError as missing:
        raise PoolError(f"{where}: field {missing} is missing") from missing
    _check_names(pool, where=where)
    return pool


def _pool_arm(entry: Mapping[str, object], *, where: str) -> PoolArm:
    mode = entry["mode"]
    if mode not in MODES:
        raise PoolError(f"{where}: mode {mode!r} is none of {', '.join(MODES)}")
    variant = None if entry.get("variant") is None else str(entry["variant"])
    nominal = entry.get("nominal_completion_tokens")
    arm = Arm(model=str(entry["model"]), mode=mode, effort=_effort(variant, where=where))
    return PoolArm(
        arm=arm,
        variant=variant,
        price=_price(entry.get("usd_per_mtok"), where=where),
        nominal_completion_tokens=None if nominal is None else int(str(nominal)),
    )


def _effort(variant: str | None, *, where: str) -> str:
    if variant is None or not variant.startswith(EFFORT_VARIANT):
        return ""
    effort = variant.removeprefix(EFFORT_VARIANT)
    if effort not in EFFORTS and not effort.isdecimal():
        raise PoolError(f"{where}: effort {effort!r} is none of {', '.join(EFFORTS)} and no token budget")
    return effort


def _price(usd_per_mtok: object, *, where: str) -> Price | None:
    if usd_per_mtok is None:
        return None
    if not isinstance(usd_per_mtok, dict):
        raise PoolError(f"{where}: usd_per_mtok must hold input and output")
    return Price(
        input=nano_usd_per_mtok(float(usd_per_mtok["input"])),
        output=nano_usd_per_mtok(float(usd_per_mtok["output"])),
    )


def _check_names(pool: Pool, *, where: str) -> None:
    names = [arm.arm.name for arm in pool.arms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise PoolError(f"{where}: {'no arms' if not names else 'two arms share the name ' + twice[0]}")
