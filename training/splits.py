"""Ways to part a table into what is learned from and what is judged on; equal texts never lie on both sides."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from policies.tables import Mask, OutcomeTable


class SplitError(ValueError):
    """A table cannot be parted in the way asked for; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Split:
    """One way to part.

    Attributes:
        name: E.g. ``5-fold``, for reports.
        folds: (train, test) masks: over one table, or, for `cross_set` and `separate`, over the training table and
            over the test table.
        labels: What each fold's test rows are, e.g. the domain left out.
    """

    name: str
    folds: tuple[tuple[Mask, Mask], ...]
    labels: tuple[str, ...]


def k_fold(table: OutcomeTable, folds: int = 5, *, seed: int = 0) -> Split:
    """Folds by a hash of seed and text: a text keeps its fold in every table and company.

    Raises:
        SplitError: Fewer than two folds, or one without a row.
    """
    if folds < 2:
        raise SplitError(f"{folds} folds: use 2 or more")
    of = np.array([_hash(key, seed) % folds for key in _keys(table)], dtype=np.int64)
    sizes = np.bincount(of, minlength=folds)
    if not sizes.all():
        raise SplitError(f"{table.name}: {len(table)} rows leave a fold of {folds} empty; use fewer folds")
    masks = tuple((of != fold, of == fold) for fold in range(folds))
    return Split(f"{folds}-fold", masks, tuple(f"fold {fold + 1}" for fold in range(folds)))


def leave_one_domain_out(table: OutcomeTable, *, least: int = 1) -> Split:
    """Each domain with ``least`` rows in turn is the test; training texts that occur in it are dropped.

    Raises:
        SplitError: The table has fewer than two domains.
    """
    domains = _domains(table)
    names = [name for name in sorted(set(domains)) if domains.count(name) >= least]
    if not names:
        raise SplitError(f"{table.name}: no domain has {least} rows")
    return Split("leave-one-domain-out", tuple(_held_out(table, {name}) for name in names), tuple(names))


def hold_out_domains(table: OutcomeTable, groups: Iterable[Iterable[str]]) -> Split:
    """Each group of domains in turn is the test, its domains together.

    Raises:
        SplitError: A domain is not in the table, or a group is empty or holds every domain.
    """
    domains, wanted = set(_domains(table)), [frozenset(group) for group in groups]
    for group in wanted:
        unknown = sorted(group - domains)
        if unknown:
            raise SplitError(f"{table.name}: no domain {unknown[0]!r}; it has {', '.join(sorted(domains))}")
        if not group or group == domains:
            raise SplitError(f"{table.name}: a group must hold some domains and leave some, got {len(group)}")
    if not wanted:
        raise SplitError("no group of domains to hold out")
    labels = tuple("+".join(sorted(group)) for group in wanted)
    return Split("held-out-domains", tuple(_held_out(table, group) for group in wanted), labels)


def time_ordered(table: OutcomeTable, *, folds: int = 1, test_share: float = 0.25) -> Split:
    """The last ``test_share`` in time is the test, in ``folds`` consecutive parts, each trained on all before it.

    Rows are ordered by ``at``; if any is unknown, by their order in the table.

    Raises:
        SplitError: The share or the number of folds leaves a part without rows.
    """
    if not 0.0 < test_share < 1.0 or folds < 1:
        raise SplitError(f"test share {test_share:g} in {folds} parts: use a share between 0 and 1 and 1 part or more")
    known = not np.isnan(table.at).any()
    order = np.argsort(table.at, kind="stable") if known else np.arange(len(table))
    cuts = np.round(np.linspace(len(table) * (1.0 - test_share), len(table), folds + 1)).astype(np.int64)
    if cuts[0] < 1 or (np.diff(cuts) < 1).any():
        raise SplitError(f"{table.name}: {len(table)} rows are too few for {folds} parts of its last {test_share:.0%}")
    rank = np.empty(len(table), dtype=np.int64)
    rank[order] = np.arange(len(table))
    pairs = [((rank < cut), (rank >= cut) & (rank < end)) for cut, end in pairwise(cuts)]
    masks = tuple(_apart(table, train, test) for train, test in pairs)
    return Split("time-ordered" if known else "in-order", masks, tuple(f"part {i + 1}" for i in range(folds)))


def cross_set(train: OutcomeTable, test: OutcomeTable) -> Split:
    """Learn on one set's prompts, judge on another's; training texts that the test holds are dropped.

    Raises:
        SplitError: The two have other arms, or no training row is left.
    """
    return _two_tables(train, test, name="cross-set")


def separate(train: OutcomeTable, test: OutcomeTable) -> Split:
    """The sides that two folders hold, as they are but for training texts that the test holds.

    Raises:
        SplitError: The two have other arms, or no training row is left.
    """
    return _two_tables(train, test, name="separate")


def _two_tables(train: OutcomeTable, test: OutcomeTable, *, name: str) -> Split:
    if train.arm_names != test.arm_names:
        differ = sorted(set(train.arm_names) ^ set(test.arm_names)) or ["only their order"]
        raise SplitError(f"{train.name} and {test.name} differ in arms: {', '.join(differ)}; use one pool for both")
    there = set(_keys(test))
    kept = np.array([key not in there for key in _keys(train)], dtype=np.bool_)
    if not kept.any() or not len(test):
        raise SplitError(f"{train.name}: no training row that {test.name} does not hold too")
    return Split(name, ((kept, np.ones(len(test), dtype=np.bool_)),), (test.name,))


def _keys(table: OutcomeTable) -> list[str]:
    """What makes rows one: their text, or their id where the text was not kept."""
    return [prompt or query_id for prompt, query_id in zip(table.prompts, table.query_ids, strict=True)]


def _hash(key: str, seed: int) -> int:
    raw = f"fold\0{seed}\0{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(raw).digest()[:8], "big")


def _domains(table: OutcomeTable) -> Sequence[str]:
    if len(set(table.domains)) < 2:
        only = repr(table.domains[0]) if table.domains and table.domains[0] else "none"
        raise SplitError(f"{table.name}: needs two domains or more, has {only}; fill the domain column or use folds")
    return table.domains


def _held_out(table: OutcomeTable, domains: Iterable[str]) -> tuple[Mask, Mask]:
    inside: Callable[[str], bool] = frozenset(domains).__contains__
    test = np.array([inside(domain) for domain in table.domains], dtype=np.bool_)
    return _apart(table, ~test, test)


def _apart(table: OutcomeTable, train: Mask, test: Mask) -> tuple[Mask, Mask]:
    """The same sides without training texts that the test holds."""
    keys = _keys(table)
    there = {keys[row] for row in np.flatnonzero(test)}
    kept = train & np.array([key not in there for key in keys], dtype=np.bool_)
    if not kept.any():
        raise SplitError(f"{table.name}: no training row is left; every text of it is in the test too")
    return kept, test
