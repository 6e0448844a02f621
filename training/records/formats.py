"""Which format a file or folder is in, told by what it holds, and the reader of each."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from training.records import llmrouter, llmrouterbench, plain, routellm, routerarena, routerbench
from training.records.containers import container, rows_of
from training.records.record import OutcomeRecord, RecordError

Columns = frozenset[str]


@dataclass(frozen=True, slots=True)
class Format:
    """A format of files: the containers it comes in, how its columns look, and its reader."""

    containers: frozenset[str]
    fits: Callable[[Columns], bool]
    read: Callable[[Path], Iterator[OutcomeRecord]]


def file_formats() -> Mapping[str, Format]:
    """Every format of single files by name, the most particular first."""
    wide, lines = frozenset({"csv", "parquet"}), frozenset({"jsonl"})
    return {
        "routerbench": Format(wide, routerbench.is_routerbench, routerbench.read_routerbench),
        "routellm-mtbench": Format(lines, routellm.is_judgements, routellm.read_judgements),
        "llmrouter": Format(lines, llmrouter.is_llmrouter, llmrouter.read_llmrouter),
        "routerarena-cached": Format(lines, routerarena.is_cached, routerarena.read_cached),
        "routerarena": Format(frozenset({"json-array"}), routerarena.is_predictions, routerarena.read_predictions),
        "llmrouterbench": Format(frozenset({"json"}), llmrouterbench.is_run, llmrouterbench.read_run),
        "plain": Format(wide | lines | {"json-array"}, plain.is_plain, plain.read_plain),
        "routellm": Format(frozenset({"csv"}), routellm.is_routellm, routellm.read_routellm),
    }


def format_of(file: Path) -> str:
    """Name of the format that a file's content fits.

    Raises:
        RecordError: None fits, or the file is one that must not be opened (pickle) or first unpacked.
    """
    kind = container(file)
    found = columns(file, kind)
    for name, each in file_formats().items():
        if kind in each.containers and each.fits(found):
            return name
    shown = ", ".join(sorted(found)[:12]) or "none"
    raise RecordError(
        f"the columns of this {kind} file are those of no known format ({shown}); a long table needs prompt, score and "
        "arm (or model), see docs/data.md, or name the format",
        file=file,
    )


def columns(file: Path, kind: str) -> Columns:
    """Column names or the keys of the first object."""
    if kind == "parquet":
        import pyarrow.parquet as pq

        with file.open("rb") as source:
            return frozenset(pq.ParquetFile(source).schema_arrow.names)
    if kind == "json":
        return frozenset(llmrouterbench.keys_of(file))
    return frozenset(name for row in islice(rows_of(file), 1) for name in row.cells)


def count_rows(file: Path) -> int | None:
    """Rows of a file where they can be counted in a fraction of the time it takes to read them, else None."""
    kind = container(file)
    if kind == "parquet":
        import pyarrow.parquet as pq

        with file.open("rb") as source:
            return int(pq.ParquetFile(source).metadata.num_rows)
    if kind != "jsonl":
        return None
    with file.open("rb") as source:
        blocks = iter(lambda: source.read(1 << 20), b"")
        return sum(block.count(b"\n") for block in blocks) + (not _ends_in_newline(file))


def _ends_in_newline(file: Path) -> bool:
    with file.open("rb") as source:
        source.seek(-1, 2)
        return source.read(1) == b"\n"
