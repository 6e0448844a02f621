"""The joined log's columns as a statement needs them: what each entry belongs to, and its counts and money."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from policies.arms import MODES
from router.store.ledger import Per, label_of

if TYPE_CHECKING:
    import pyarrow as pa

TAG = "tag:"
_SAME = {"organisation": "organisation", "tenant": "tenant", "key": "key_id", "end_user": "end_user"}
_TIMES: Mapping[str, Per] = {"day": "day", "hour": "hour"}
_OF_ARM = ("model", "mode", "arm")
DIVISIONS = (*_SAME, *_OF_ARM, *_TIMES, f"{TAG}NAME")

TOKENS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
FAILED = ("error", "upstream_cut", "unknown_after_crash")
COLUMNS = (
    "organisation", "tenant", "key_id", "end_user", "tags", "at", "outcome_status", "outcome_served_arm",
    "outcome_nano_usd", *(f"outcome_{name}" for name in TOKENS),
)  # fmt: skip

Key = tuple[str | None, ...]  # a part for each division, None where the log does not say


def is_division(name: str) -> bool:
    """Whether entries can be divided by this."""
    return name in (*_SAME, *_OF_ARM, *_TIMES) or (name.startswith(TAG) and len(name) > len(TAG))


def ended(table: "pa.Table") -> "pa.Table":
    """The requests that ended: the entries."""
    import pyarrow.compute as pc

    return table.filter(pc.is_valid(table["outcome_status"]))


def grouped(entries: "pa.Table", by: Sequence[str]) -> Iterator[tuple[Key, dict[str, int]]]:
    """Sums of the columns that ``Sums`` has as fields, by the divisions ``by``."""
    import pyarrow as pa

    keys, values = {f"by{place}": _key(entries, division) for place, division in enumerate(by)}, _measures(entries)
    summed = pa.table({**keys, **values}).group_by(list(keys)).aggregate([(name, "sum") for name in values])
    for row in summed.to_pylist():
        yield tuple(row[name] for name in keys), {name: int(row[f"{name}_sum"]) for name in values}


def of_tenants(table: "pa.Table", tenants: Sequence[str]) -> "pa.Table":
    """The rows of these tenants."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return table.filter(pc.is_in(table["tenant"], value_set=pa.array(tenants, pa.string())))


def _measures(entries: "pa.Table") -> dict[str, Any]:
    """A column for each field of ``Sums``; money as decimals, whose sums neither round nor wrap around."""
    import pyarrow as pa
    import pyarrow.compute as pc

    compute: Any = pc  # whose stubs know no column of unknown type
    status, cost = entries["outcome_status"], entries["outcome_nano_usd"]
    nano = compute.fill_null(cost, 0).cast(pa.decimal128(19, 0))
    none = pa.scalar(0, nano.type)
    failed, cancelled = pc.is_in(status, value_set=pa.array(FAILED)), compute.equal(status, "cancelled")
    return {
        "requests": _ones(pc.is_valid(status)),
        **{name: compute.fill_null(entries[f"outcome_{name}"], 0) for name in TOKENS},
        "nano_usd": nano,
        "unknown": _ones(pc.is_null(cost)),
        "failed": _ones(failed),
        "failed_nano_usd": pc.if_else(failed, nano, none),
        "cancelled": _ones(cancelled),
        "cancelled_nano_usd": pc.if_else(cancelled, nano, none),
    }


def _ones(mask: Any) -> Any:
    """1 where it holds, else 0."""
    import pyarrow as pa

    return mask.cast(pa.int64())


def _key(entries: "pa.Table", division: str) -> Any:
    """What each row belongs to, as texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if division in _SAME:
        return entries[_SAME[division]]
    if division.startswith(TAG):
        lookup: Any = pc.map_lookup
        return lookup(entries["tags"], query_key=pa.scalar(division.removeprefix(TAG)), occurrence="first")
    if division in _TIMES:
        hours = pc.floor(pc.divide(entries["at"], 3600.0)).cast(pa.int64())
        return _named(hours, lambda hour: label_of(_TIMES[division], hour * 3600))
    return _named(entries["outcome_served_arm"], lambda arm: _part(arm, division))


def _named(column: Any, name: Callable[[Any], str]) -> Any:
    """The name of each value; there are few distinct ones."""
    import pyarrow as pa

    coded = column.combine_chunks().dictionary_encode()
    names = pa.array([name(value) for value in coded.dictionary.to_pylist()], pa.string())
    return names.take(coded.indices)


def _part(arm: str, part: str) -> str:
    """Model or mode of an arm's name, which is read from the right: a model's may hold anything."""
    if part == "arm":
        return arm
    model, _, rest = arm.rpartition("/")
    while model and not _is_mode(rest):
        model, _, more = model.rpartition("/")
        rest = f"{more}/{rest}"
    if not model:
        return arm
    return model if part == "model" else rest.partition("+")[0].partition(":")[0]


def _is_mode(rest: str) -> bool:
    return rest.partition("+")[0].partition(":")[0] in MODES
