"""`gearshift tenants`: tenants that are kept in the store, changed while gateways serve; the file's are shown."""

import sys
from typing import Annotated, Any

import typer

from policies.cli import CommandError
from router.commands.directory import AsJson, ConfigFile, StoreDir, opened, print_json, print_table

command = typer.Typer(help="List, make and change tenants.", no_args_is_help=True, add_completion=False)

NOT_ALL = 3  # exit status of an erasure that left something, of which it tells

Name = Annotated[str, typer.Argument(help="The tenant's name")]
Settings = Annotated[
    list[str] | None,
    typer.Argument(
        help="FIELD=VALUE as under tenants.<name> of the file, the value in YAML: models=[small] explore=0.02"
    ),
]


@command.command("list")
def list_tenants(config: ConfigFile = None, store_dir: StoreDir = None, as_json: AsJson = False) -> None:
    """List the tenants of the file and of the store."""
    from router.directory.listed import listed_tenants

    with opened(config, store_dir) as store:
        rows = listed_tenants(store.config, store.directory.read())
    if as_json:
        print_json(rows)
        return
    shown = [{**row, "organisation": row["settings"].get("organisation", "default")} for row in rows]
    print_table(("name", "organisation", "kept_in", "n_keys", "problem"), shown)


@command.command()
def show(name: Name, config: ConfigFile = None, store_dir: StoreDir = None, as_json: AsJson = False) -> None:
    """Show a tenant's settings, defaults included."""
    from router.config.schema import Tenant
    from router.directory.listed import listed_tenants

    with opened(config, store_dir) as store:
        rows = listed_tenants(store.config, store.directory.read())
    row = next((each for each in rows if each["name"] == name), None)
    if row is None:
        raise CommandError(f"no tenant is called {name!r}; tenants: {', '.join(each['name'] for each in rows)}")
    settings = {**Tenant().model_dump(mode="json", exclude={"keys"}), **row["settings"]}
    if as_json:
        print_json({**row, "settings": settings})
        return
    given = [{"setting": each, "value": _plain(value)} for each, value in settings.items()]
    about = [{"setting": each, "value": _plain(row[each])} for each in ("name", "kept_in", "n_keys", "problem")]
    print_table(("setting", "value"), [*about, *given])


@command.command()
def create(
    name: Name,
    settings: Settings = None,
    config: ConfigFile = None,
    store_dir: StoreDir = None,
    as_json: AsJson = False,
) -> None:
    """Keep a new tenant in the store. It needs a key before anybody can act as it."""
    given = read_settings(settings or [])
    with opened(config, store_dir) as store:
        fresh = {field: value for field, value in given.items() if value is not None}
        kept = store.directory.create_tenant(name, fresh)
    if as_json:
        print_json(kept)
    same = "" if config is None else f" --config {config}"
    sys.stderr.write(f"tenant {name} is kept; next: gearshift keys create {name}{same}\n")


@command.command("set")
def set_settings(
    name: Name,
    settings: Settings = None,
    config: ConfigFile = None,
    store_dir: StoreDir = None,
    as_json: AsJson = False,
) -> None:
    """Change settings of a tenant of the store; FIELD= takes one back to its default."""
    changes = read_settings(settings or [])
    if not changes:
        raise CommandError("nothing to set: give FIELD=VALUE, e.g. trade_off=cheap")
    with opened(config, store_dir) as store:
        after = store.directory.change_tenant(name, changes)
    if as_json:
        print_json(after)
    told = ", ".join(f"{field} = {_plain(after.get(field, 'default'))}" for field in changes)
    sys.stderr.write(f"tenant {name}: {told}; gateways follow within a second\n")


@command.command()
def delete(name: Name, config: ConfigFile = None, store_dir: StoreDir = None, as_json: AsJson = False) -> None:
    """Forget a tenant of the store and its keys. What it left in the log stays."""
    with opened(config, store_dir) as store:
        store.directory.delete_tenant(name)
    if as_json:
        print_json({"name": name})
    sys.stderr.write(f"tenant {name} and its keys are gone\n")


@command.command()
def erase(
    name: Name,
    config: ConfigFile = None,
    organisation: Annotated[
        str | None, typer.Option(help="Whose tenant it was; needed for one that was deleted or has moved")
    ] = None,
    budgets: Annotated[bool, typer.Option("--budgets", help="Also what it spent: its budgets count anew")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask")] = False,
    store_dir: StoreDir = None,
    as_json: AsJson = False,
) -> None:
    """Erase what a tenant left: rows in store and archive, sessions, what waits to be learned; not its settings.

    Exit status 3: something is or may be left, and the command says what to do about it.
    """
    from router.directory.erasing import erase_and_note
    from router.directory.listed import organisation_of

    with opened(config, store_dir) as store:
        owner = organisation or organisation_of(name, store.config, store.directory.read())
        if not yes:
            typer.confirm(f"Erase for good all that tenant {name} of organisation {owner} left?", abort=True, err=True)
        erased = erase_and_note(
            store.directory,
            store.client,
            store.url,
            store.data_dir,
            organisation=owner,
            tenant=name,
            budgets=budgets,
        )
    if as_json:
        told = {"tenant": name, "organisation": owner, "budgets": budgets}
        counts = {"n_rows": erased.n_rows, "n_keys": erased.n_keys, "n_open": erased.n_open}
        print_json({**told, **counts, "is_compact": erased.is_compact, "left": erased.left})
    else:
        sys.stdout.write(f"{erased.n_rows} rows of the log and {erased.n_keys} other keys erased\n")
    for each in erased.left:
        sys.stderr.write(f"{each}\n")
    if erased.left:
        raise typer.Exit(NOT_ALL)


def _plain(value: Any) -> str | None:
    """A setting as people read it, JSON where it has an inside."""
    import orjson

    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def read_settings(given: list[str]) -> dict[str, Any]:
    """``FIELD=VALUE`` each; the value is read as the configuration file's are, nothing is None.

    Raises:
        CommandError: One is written otherwise.
    """
    from router.config.document import read_document
    from router.config.problems import ConfigError

    found: dict[str, Any] = {}
    for text in given:
        field, equals, value = text.partition("=")
        if not equals or not field.isidentifier():
            raise CommandError(f"expected FIELD=VALUE, e.g. trade_off=cheap, got {text!r}")
        try:
            document = read_document(f"{field}: {value}", source=text)
        except ConfigError as error:
            raise CommandError(f"{field}: the value is no YAML: {value!r}") from error
        if document.problems:
            raise CommandError(f"{field}: {document.problems[0].message}")
        found[field] = document.tree[field]
    return found
