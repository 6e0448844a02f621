"""How a pool's rows are parted for the benchmark: by folds, domains left out, time, or two folders."""

from dataclasses import dataclass

from policies.tables import Mask, OutcomeTable
from training.splits import (
    Split,
    SplitError,
    hold_out_domains,
    k_fold,
    leave_one_domain_out,
    separate,
    time_ordered,
)


class BenchmarkError(ValueError):
    """The benchmark cannot be run as asked; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Part:
    """One fit: the rows to fit on and the rows to judge on, masks over their tables."""

    name: str
    train: Mask
    test: Mask


def parts_of(table: OutcomeTable, split: str, *, n_folds: int, seed: int) -> list[Part]:
    """The parts of a split of one table.

    Args:
        split: ``kfold``, ``domain`` (each left out in turn), ``domains:A,B`` (left out together) or ``time`` (the
            newest quarter is judged).

    Raises:
        BenchmarkError: There is no such split, or the table cannot be parted so.
    """
    try:
        return _parts(_split(table, split, n_folds=n_folds, seed=seed))
    except SplitError as problem:
        raise BenchmarkError(f"--split {split}: {problem}") from problem


def separate_parts(train: OutcomeTable, test: OutcomeTable) -> list[Part]:
    """The one part of two folders.

    Raises:
        BenchmarkError: The two do not fit together.
    """
    try:
        return _parts(separate(train, test))
    except SplitError as problem:
        raise BenchmarkError(f"--test: {problem}") from problem


def name_of(split: str, *, n_folds: int) -> str:
    """The split as reports name it."""
    return {"kfold": f"{n_folds}-fold", "domain": "leave-one-domain-out", "time": "time-ordered"}.get(split, split)


def _split(table: OutcomeTable, split: str, *, n_folds: int, seed: int) -> Split:
    if split == "kfold":
        return k_fold(table, n_folds, seed=seed)
    if split == "domain":
        return leave_one_domain_out(table)
    if split.startswith("domains:"):
        named = [name.strip() for name in split.removeprefix("domains:").split(",") if name.strip()]
        return hold_out_domains(table, [named])
    if split == "time":
        return time_ordered(table)
    raise SplitError("use kfold, domain, domains:NAME,NAME or time")


def _parts(split: Split) -> list[Part]:
    return [Part(label, *masks) for label, masks in zip(split.labels, split.folds, strict=True)]
