"""Finds checks by name: the built-in ones and those of the entry-point group ``gearshift.checks``.

Only the check that is asked for is imported.
"""

from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from policies.checks.base import Check, CheckError, Options, Reference, Verdict

GROUP = "gearshift.checks"
BUILT_IN = {
    "exact": "policies.checks.exact:Exact",
    "numeric": "policies.checks.numeric:Numeric",
    "choice": "policies.checks.choice:Choice",
    "regex": "policies.checks.patterns:Pattern",
    "json_schema": "policies.checks.json_schema:JsonSchema",
}
# Names that are promised to a plug-in, with what is missing where none is installed.
NEEDS = {"code_tests": "it runs what a model wrote, and no sandbox is installed that registers it"}


def registered_checks() -> tuple[str, ...]:
    """Names of every check that can be loaded, sorted; imports none."""
    return tuple(sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))}))


def load_check(name: str) -> Check:
    """Import one check.

    Raises:
        CheckError: Nothing of that name is registered, or what it needs is not installed.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return cast(Check, getattr(import_module(module), attribute)())
    for entry in entry_points(group=GROUP, name=name):
        found = entry.load()
        return cast(Check, found() if isinstance(found, type) else found)
    if name in NEEDS:
        raise CheckError(f"check {name}: {NEEDS[name]} under the entry-point group {GROUP}")
    raise CheckError(f"no check is named {name!r}; use one of {', '.join(registered_checks())}, or install its plug-in")


def verdict(name: str, answer: str, *, reference: Reference = None, options: Options | None = None) -> Verdict:
    """Grade one answer with the check of that name.

    Raises:
        CheckError: There is no such check, or the task cannot be graded by it.
    """
    return load_check(name).prepare(reference, options or {})(answer)
