"""The `gearshift` command: finds the verb, loads its module only then, turns errors into one line and a status."""

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

GROUP = "gearshift.commands"
OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
OURS = ("policies.", "router.", "training.")

# Extra of this distribution that brings a module which only some verbs need.
_OF_TRAIN = ("jinja2", "jsonschema", "lightgbm", "matplotlib", "referencing", "scipy", "sklearn")
EXTRAS = dict.fromkeys(_OF_TRAIN, "train")

# Target and help of each built-in verb, as data: showing help must load none of them.
VERBS: dict[str, tuple[str, str]] = {
    "serve": ("router.commands.serve:command", "Start the gateway; without a configuration, on what it finds here"),
    "check": ("router.commands.check:command", "Validate a configuration, price its arms and probe its endpoints"),
    "explain": ("router.commands.explain:command", "Show how a prompt would be routed, and why"),
    "chat": ("router.commands.chat:command", "Talk to a running gateway and see each decision"),
    "feedback": ("router.commands.feedback:command", "Say how good an answer was"),
    "log": ("router.commands.log:command", "Read the log of decisions and outcomes: tail, export"),
    "budget": ("router.commands.budget:command", "Show what tenants have spent of their budgets, and set them"),
    "tenants": ("router.commands.tenants:command", "List, make and change tenants, and erase what they left"),
    "keys": ("router.commands.keys:command", "Make, list, rotate and revoke API keys"),
    "store": ("router.commands.store:command", "Back up the embedded store, and restore it"),
    "audit": ("router.commands.audit:command", "Read the log of administrators' changes, and verify it"),
    "replay": ("router.commands.replay:command", "Drive recorded prompts through a gateway and post their scores"),
    "train": ("training.commands.train:command", "Fit a policy or an encoder"),
    "evaluate": ("training.commands.evaluate:command", "What another policy would have earned on the gateway's log"),
    "savings": ("training.commands.savings:command", "What routing saved against a baseline, with intervals"),
    "benchmark": ("training.commands.benchmark:command", "Compare policies on recorded outcomes, with intervals"),
    "report": ("training.commands.report:command", "Render a stored benchmark result as a page with pictures"),
    "floors": (
        "training.commands.floors:command",
        "Check an artifact's quality floors on other outcomes, or watch them",
    ),
    "collect": ("training.commands.collect:command", "Run every arm on your own prompts under a USD cap, and grade"),
}


class CommandError(Exception):
    """A verb cannot do what it was asked; the text is for the person at the terminal. Exit status 1."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status: 0 done, 1 failed, 2 misused."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help", "help"):
        return _say(_help())
    if first in ("-V", "--version"):
        return _say(f"gearshift {_version()}")
    targets = _targets()
    if first not in targets:
        near = difflib.get_close_matches(first, targets, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return _complain(f"gearshift: no command {first!r}{hint} See gearshift --help", MISUSED)
    return _run(first, targets[first], arguments[1:])


def _targets() -> dict[str, str]:
    """``module:command`` of every verb; what is installed wins, the table serves a source tree that is not."""
    installed = {entry.name: entry.value for entry in metadata.entry_points(group=GROUP)}
    return {name: target for name, (target, _) in VERBS.items()} | installed


def _run(verb: str, target: str, arguments: list[str]) -> int:
    try:
        _command(target)(args=arguments, prog_name=f"gearshift {verb}")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else OK if leaving.code is None else FAILED
    except KeyboardInterrupt:
        return _complain(f"gearshift {verb}: interrupted", INTERRUPTED)
    except Exception as error:
        if os.environ.get("GEARSHIFT_TRACEBACK") == "1":
            raise
        return _complain(f"gearshift {verb}: {_in_words(error)}", FAILED)
    return OK


def _command(target: str) -> Callable[..., Any]:
    """The verb as a typer application; a plain function is wrapped into one."""
    import typer

    loaded = metadata.EntryPoint(name="command", value=target, group=GROUP).load()
    if isinstance(loaded, typer.Typer):
        return loaded
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(loaded)
    return app


def _in_words(error: Exception) -> str:
    """Our own errors are written for people; of any other the kind helps, and where to see more."""
    if type(error).__module__.startswith(OURS):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and (extra := EXTRAS.get(str(error.name).partition(".")[0])):
        return f"no module {error.name!r}; run: pip install 'gearshift[{extra}]'"
    return f"{type(error).__name__}: {error} (GEARSHIFT_TRACEBACK=1 shows where)"


def _help() -> str:
    rows = {name: text for name, (_, text) in VERBS.items()}
    for entry in metadata.entry_points(group=GROUP):
        rows.setdefault(entry.name, f"(plug-in {entry.value})")
    width = max(map(len, rows))
    lines = [f"  {name:<{width}}  {text}" for name, text in rows.items()]
    head = [
        "Usage: gearshift COMMAND [OPTIONS]",
        "",
        "An OpenAI-compatible gateway that learns which model answers what.",
        "",
    ]
    tail = ["", "gearshift COMMAND --help shows a command's options.", "Exit status: 0 done, 1 failed, 2 misused."]
    return "\n".join([*head, "Commands:", *lines, *tail])


def _version() -> str:
    try:
        return metadata.version("gearshift")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _say(text: str) -> int:
    sys.stdout.write(text + "\n")
    return OK


def _complain(text: str, status: int) -> int:
    sys.stderr.write(text + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
