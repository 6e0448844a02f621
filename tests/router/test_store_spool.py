"""The spool file: what was appended comes back, what is damaged does not."""

import os
import resource
from pathlib import Path

import pytest

from router.store.backlog import Backlog
from router.store.base import End, StoreUnavailable
from router.store.commands import Commands
from router.store.keys import load_functions
from router.store.spool import Spool, SpoolTaken, adopt, encode

RECORDS = [[b"begin", b"r1", b"", b"\0" * 40], [b"settle", b"r1"], [b"settle", b"r2", b"GSR1 inside"]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A spool that a dead process left."""
    path = tmp_path / "spool" / "w.0.spool"
    spool = Spool(path)
    for record in RECORDS:
        spool.append(record)
    spool.close()
    return path


def test_records_survive_their_process(path: Path) -> None:
    spool = Spool(path)
    assert (spool.records(), spool.waiting, spool.damaged_bytes) == (RECORDS, 3, 0)
    spool.close()


@pytest.mark.parametrize("cut", [1, 5, 11, len(encode(RECORDS[2])) - 1])
def test_a_torn_tail_is_cut_off(path: Path, cut: int) -> None:
    os.truncate(path, path.stat().st_size - cut)
    spool = Spool(path)
    assert (spool.records(), spool.waiting) == (RECORDS[:2], 2)
    spool.append([b"settle", b"r3"])
    assert spool.records() == [*RECORDS[:2], [b"settle", b"r3"]]
    spool.close()


@pytest.mark.parametrize("byte", range(len(encode(RECORDS[1]))))
def test_a_flipped_byte_costs_one_record_wherever_it_is(path: Path, byte: int) -> None:
    at, data = len(encode(RECORDS[0])) + byte, bytearray(path.read_bytes())
    data[at] ^= 0x55
    path.write_bytes(data)
    spool = Spool(path)
    assert spool.records() == [RECORDS[0], RECORDS[2]]
    assert spool.damaged_bytes == len(encode(RECORDS[1]))
    spool.close()


def test_one_process_owns_a_spool(path: Path) -> None:
    owner = Spool(path)
    with pytest.raises(SpoolTaken):
        Spool(path)
    assert adopt(path.parent) == ([], {"w"})
    owner.close()


def test_a_dead_process_spool_is_adopted_and_an_emptied_one_is_removed(path: Path) -> None:
    (adopted,), taken = adopt(path.parent)
    assert taken == set()
    adopted.clear()
    adopted.close()
    assert not path.exists()


@pytest.mark.asyncio
async def test_spools_that_could_not_be_sent_are_free_for_the_next_attempt(tmp_path: Path) -> None:
    def backlog(name: str) -> Backlog:
        return Backlog(tmp_path, name=name, commands=Commands(load_functions()), lease_s=lambda: 600)

    for name in ("fell", "fell-too"):
        dead = backlog(name)
        dead.settle(End(f"r-{name}", "acme", row=b"{}", decision_id="d", tenant="t"))
        dead.close()
    sent: list[bytes] = []

    async def down(command: bytes) -> object:
        raise StoreUnavailable("it is down")

    async def up(command: bytes) -> object:
        return sent.append(command)

    with pytest.raises(StoreUnavailable):
        await backlog("next").replay_orphans(down)
    assert await backlog("other").replay_orphans(up) == (set(), set())
    assert len(sent) == 2
    assert adopt(tmp_path) == ([], set())


def test_a_record_that_does_not_fit_leaves_no_trace(path: Path) -> None:
    spool, before = Spool(path), path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))  # room for a part of it
    try:
        with pytest.raises(OSError, match="disk full"):
            spool.append([b"settle", b"r9"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert spool.waiting == 3
    spool.close()


def test_damaged_bytes_are_kept_aside(path: Path) -> None:
    data = path.read_bytes()[:-1]
    path.write_bytes(data)
    Spool(path).close()
    assert path.with_suffix(".damaged").read_bytes() == data


def test_a_file_that_its_owner_removed_meanwhile_is_not_written_to(path: Path) -> None:
    owner = Spool(path)
    path.unlink()
    spool = Spool(path)
    spool.append([b"row"])
    assert path.read_bytes() == encode([b"row"])
    owner.close()
    spool.close()
