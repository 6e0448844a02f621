"""`gearshift keys`: API keys that are kept in the store, made, rotated and revoked while gateways serve."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.commands.directory import AsJson, ConfigFile, StoreDir, duration, opened, print_json, print_table

if TYPE_CHECKING:
    from router.directory.directory import NewKey
    from router.directory.kept import KeptKey

command = typer.Typer(help="Make, list, rotate and revoke API keys.", no_args_is_help=True, add_completion=False)

KeyId = Annotated[str, typer.Argument(help="The key's id, as `keys list` and the log show it")]


@command.command()
def create(
    tenant: Annotated[str, typer.Argument(help="A tenant kept in the store; the file's have theirs in the file")],
    config: ConfigFile = None,
    name: Annotated[str, typer.Option(help="What to call it, e.g. who will hold it")] = "",
    store_dir: StoreDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it, this once; gateways know it within a second."""
    with opened(config, store_dir) as store:
        made = store.directory.create_key(tenant, name=name)
    _print_new(made, as_json)


@command.command("list")
def list_keys(
    config: ConfigFile = None,
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant")] = None,
    store_dir: StoreDir = None,
    as_json: AsJson = False,
) -> None:
    """List the keys that the store keeps, and those of the file by their ids."""
    from router.directory.listed import listed_keys

    with opened(config, store_dir) as store:
        rows = listed_keys(store.config, store.directory.read(), secret=store.secret, now=store.directory.now())
    rows = [row for row in rows if tenant in (None, row["tenant"])]
    if as_json:
        print_json(rows)
        return
    shown = [{**row, "created_at": _time(row["created_at"]), "expires_at": _time(row["expires_at"])} for row in rows]
    print_table(("key_id", "tenant", "name", "state", "kept_in", "created_at", "expires_at"), shown)


@command.command()
def rotate(
    key_id: KeyId,
    config: ConfigFile = None,
    grace: Annotated[
        str, typer.Option(help="How long the old key stays valid: 90s, 15m, 24h, 7d, or 0; 365d at most")
    ] = "24h",
    store_dir: StoreDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key in place of another and show it, this once; the old one stays valid for the grace."""
    grace_s = duration(grace)
    with opened(config, store_dir) as store:
        made = store.directory.rotate_key(key_id, grace_s=grace_s)
    _print_new(made, as_json)
    sys.stderr.write(f"key {key_id} is valid for {grace} more\n" if grace_s else f"key {key_id} has ended\n")


@command.command()
def revoke(key_id: KeyId, config: ConfigFile = None, store_dir: StoreDir = None, as_json: AsJson = False) -> None:
    """End a key; gateways refuse it within a second."""
    with opened(config, store_dir) as store:
        ended: KeptKey = store.directory.revoke_key(key_id)
    if as_json:
        print_json({"key_id": key_id, "tenant": ended.tenant})
    sys.stderr.write(f"key {key_id} of tenant {ended.tenant} has ended\n")


def _print_new(made: "NewKey", as_json: bool) -> None:
    from router.directory.directory import shown_key

    if as_json:
        print_json({**shown_key(made.key), "key": made.text})
        return
    sys.stdout.write(made.text + "\n")
    about = f"key {made.key.key_id} of tenant {made.key.tenant}"
    sys.stderr.write(f"{about}, shown this once: the store keeps its HMAC alone\n")


def _time(at: Any) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
