"""`gearshift store`: back up the embedded store with its archive, and restore both."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from policies.cli import CommandError
from router.commands.directory import ConfigFile, StoreDir, opened
from router.commands.log import store_config

if TYPE_CHECKING:
    from router.config.schema import StoreConfig
    from router.store.backup import Manifest

command = typer.Typer(help="Back up and restore the embedded store.", no_args_is_help=True, add_completion=False)

SHARED = (
    "store.url names a shared server, which is backed up where it runs: BGSAVE and a copy of its dump.rdb, or its "
    "provider's snapshots. Below store.dir, archive/, prices/ and key-secret are plain files: copy them after that"
)


@command.command()
def backup(
    copy: Annotated[Path, typer.Argument(help="A new directory; it appears once it is whole")],
    config: ConfigFile = None,
    archive: Annotated[bool, typer.Option(help="With the Parquet archive")] = True,
    store_dir: StoreDir = None,
) -> None:
    """Copy store, archive and key secret as they are at one moment, while gateways serve or not."""
    from router.secret import secret_id
    from router.store.backup import back_up, refuse_existing

    _refuse_shared(store_config(config, store_dir))
    refuse_existing(copy)  # before the log of changes tells of a backup
    with opened(config, store_dir) as store:
        store.directory.note("store.backup", str(copy))
        made = back_up(
            store.client,
            store.data_dir,
            copy,
            at=store.directory.now(),
            secret_id=secret_id(store.secret),
            archive=archive,
        )
    where = "with the key secret: keep it as safe as that" if (copy / "key-secret").exists() else "without key secret"
    sys.stdout.write(f"{copy}: {len(made.files)} files, {where}\n")


@command.command()
def restore(
    copy: Annotated[Path, typer.Argument(help="What backup wrote")],
    config: ConfigFile = None,
    store_dir: StoreDir = None,
) -> None:
    """Put a backup into a data directory that holds no store; the gateway must be down."""
    from router.directory.audit import verify_end
    from router.directory.record import read_record
    from router.store.backup import read_manifest
    from router.store.backup import restore as put_back
    from router.store.place import data_dir

    place = store_config(config, store_dir)
    _refuse_shared(place)
    directory = data_dir(place)
    _refuse_other_secret(read_manifest(copy), copy)
    manifest = put_back(copy, directory)
    with opened(config, store_dir) as store:
        record = read_record(store.client)
        verify_end(record.lines, secret=store.secret, head=record.head, document=record.document)
        store.directory.note("store.restore", str(copy), after={"backed_up_at": manifest.at})
    sys.stdout.write(f"{directory}: restored, with {len(record.lines)} entries in the log of changes, all in place\n")
    sys.stderr.write("budgets and keys are those of the backup: revoke again what was revoked since\n")


def _refuse_shared(place: "StoreConfig") -> None:
    from router.store.place import EMBEDDED

    if place.url != EMBEDDED:
        raise CommandError(SHARED)


def _refuse_other_secret(manifest: "Manifest", copy: Path) -> None:
    from router.secret import SECRET_FILE, VARIABLE, secret_id

    given, file = os.environ.get(VARIABLE, "").encode(), copy / SECRET_FILE
    secret = given or (file.read_bytes().strip() if file.exists() else b"")
    if secret_id(secret) != manifest.secret_id:
        state = "is not the one" if given else "is not set, and the backup does not hold the secret"
        raise CommandError(f"{VARIABLE} {state} under which the backup's keys were made; set it as it was then")
