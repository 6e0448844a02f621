"""`gearshift audit`: what administrators changed, and whether the log of it is whole."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from policies.cli import CommandError
from router.commands.directory import AsJson, ConfigFile, StoreDir, opened, print_json, print_table

command = typer.Typer(help="Read and verify the log of changes.", no_args_is_help=True, add_completion=False)


@command.command("list")
def list_entries(
    config: ConfigFile = None,
    lines: Annotated[int | None, typer.Option("-n", "--lines", min=1, help="Only the latest; default: all")] = None,
    store_dir: StoreDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each entry as it is sealed, one a line")] = False,
) -> None:
    """List who changed what, oldest first, in UTC. Keep a copy of `--json` elsewhere, for verify --copy."""
    import orjson

    from router.directory.record import read_record

    with opened(config, store_dir) as store:
        entries = read_record(store.client, last=lines).lines
    if as_json:
        sys.stdout.buffer.write(b"".join(line + b"\n" for line in entries))
        return
    rows: list[dict[str, Any]] = []
    for line in entries:
        told = orjson.loads(line)
        before, after = changed(told["before"], told["after"])
        rows.append({**told, "at": told["at"][:19], "before": before, "after": after})
    print_table(("n", "at", "by", "action", "target", "before", "after"), rows)


def changed(before: Any, after: Any) -> tuple[str, str]:
    """Both as JSON, of two objects only the members in which they differ."""
    import orjson

    if isinstance(before, dict) and isinstance(after, dict):
        same = {name for name in before.keys() & after.keys() if before[name] == after[name]}
        before, after = ({name: each[name] for name in each if name not in same} for each in (before, after))
    was, now = ("" if each is None else orjson.dumps(each).decode() for each in (before, after))
    return was, now


@command.command()
def verify(
    config: ConfigFile = None,
    copy: Annotated[
        Path | None, typer.Option(help="What `list --json` wrote earlier: the log must begin with it, byte by byte")
    ] = None,
    store_dir: StoreDir = None,
    as_json: AsJson = False,
) -> None:
    """Check every entry's seal and place, and that nothing was changed without one; exit status 1 if not."""
    from router.directory.audit import AuditBroken, verify, verify_end
    from router.directory.record import read_record

    with opened(config, store_dir) as store:
        record, secret = read_record(store.client), store.secret
    if copy is not None:
        try:
            kept = copy.read_bytes().splitlines()
        except OSError as error:
            raise CommandError(f"--copy: {copy} cannot be read: {error.strerror}") from error
        try:
            verify(kept, secret=secret)
        except AuditBroken as broken:
            raise AuditBroken(f"{copy}: {broken}") from broken
        for number, line in enumerate(kept, 1):
            if record.lines[number - 1 : number] != [line]:
                raise AuditBroken(f"the store's log differs from {copy} at entry {number}")
    try:
        verify_end(record.lines, secret=secret, head=record.head, document=record.document)
    except AuditBroken as broken:
        if as_json:
            print_json({"whole": False, "n_entries": len(record.lines), "problem": str(broken)})
        raise
    if as_json:
        print_json({"whole": True, "n_entries": len(record.lines), "problem": None})
        return
    sys.stdout.write(f"{len(record.lines)} entries, each sealed and in its place\n")
