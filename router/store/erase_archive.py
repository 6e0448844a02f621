"""One tenant's rows taken out of the archive: partitions are written anew and put in the place of the old ones.

A partition keeps its name also when no row is left in it: names say which ids the archive covers.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from policies.archive_schema import ROWS, DamagedPartition, partitions, read_partition
from router.store.archive import Replacing
from router.store.keys import shard_of


def erase_archive(
    directory: Path, organisation: str, tenant: str, *, step: Callable[[str], None] = lambda name: None
) -> int:
    """Rows that went. Call it with the archive's lock held; interrupted anywhere, it can be called again.

    Raises:
        DamagedPartition: A file cannot be read; those before it are done.
        OSError: The disk failed; likewise.
    """
    shard, n_rows = shard_of(organisation), 0
    for kind in ROWS:
        for path in partitions(directory, kind).get(shard, ()):
            n_rows += _erase_partition(path, organisation, tenant, step)
    for path in sorted(directory.glob(f"archive/*/shard={shard:02d}/*.unreadable")):
        n_rows += _erase_lines(path, organisation, tenant, step)
    return n_rows


def archived_key_ids(directory: Path, organisation: str, tenant: str) -> set[str]:
    """Ids of the keys with which the tenant's archived requests were made. Raises DamagedPartition."""
    found = set[str]()
    for path in partitions(directory, "decisions").get(shard_of(organisation), ()):
        columns = read_partition(path, "decisions", columns=("organisation", "tenant", "key_id")).to_pydict()
        rows = zip(columns["organisation"], columns["tenant"], columns["key_id"], strict=True)
        found |= {key_id for *owner, key_id in rows if key_id and owner == [organisation, tenant]}
    return found


def _erase_partition(path: Path, organisation: str, tenant: str, step: Callable[[str], None]) -> int:
    try:
        with path.open("rb") as file, pq.ParquetFile(file) as partition:
            owners = partition.read(["organisation", "tenant"]).to_pydict()
            pairs = zip(owners["organisation"], owners["tenant"], strict=True)
            others = np.array([pair != (organisation, tenant) for pair in pairs], dtype=np.bool_)
            if others.all():
                return 0
            kept = partition.read().filter(others)
    except (pa.ArrowException, OSError) as problem:
        raise DamagedPartition(path, str(problem).partition("\n")[0]) from problem
    with Replacing(path, step) as temporary:
        pq.write_table(kept, temporary, compression="zstd")
    return int((~others).sum())


def _erase_lines(path: Path, organisation: str, tenant: str, step: Callable[[str], None]) -> int:
    """Rows that did not fit the schema: ``<stream id> <JSON>``. What is no JSON at all names nobody, and stays."""
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not _is_theirs(line.partition(b" ")[2], organisation, tenant)]
    if len(kept) < len(lines):
        with Replacing(path, step) as temporary:
            temporary.write_bytes(b"".join(kept))
    return len(lines) - len(kept)


def _is_theirs(row: bytes, organisation: str, tenant: str) -> bool:
    try:
        told = orjson.loads(row)
    except orjson.JSONDecodeError:
        return False
    return isinstance(told, dict) and (told.get("organisation"), told.get("tenant")) == (organisation, tenant)
