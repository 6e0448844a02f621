"""Settings of a tenant as people give them: names, values, and what is wrong with either."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from router.config.problems import Problem, dotted
from router.config.schema import Tenant
from router.config.wording import translate
from router.errors import BadRequest

# Names travel in paths and commands; keys of the store end their fields with line breaks.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def checked_name(name: str, *, what: str = "tenant") -> None:
    """Raises BadRequest."""
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"a {what}'s name begins with a letter or digit and holds at most 64 letters, digits and . _ @ -; "
            f"got {name[:80]!r}",
            param="name",
        )


def checked_settings(settings: Mapping[str, Any]) -> Tenant:
    """The tenant that these settings make, each as under `tenants.<name>` of the file, but for `keys`.

    Raises:
        BadRequest: A setting is unknown or has a value that it cannot have.
    """
    if "keys" in settings:
        raise BadRequest("keys: are made with gearshift keys create or POST /admin/v1/keys", param="keys")
    try:
        tenant = Tenant.model_validate(dict(settings))
    except ValidationError as error:
        raise BadRequest(in_words(translate(error, below=("tenants", "")), "this tenant"), param="settings") from None
    checked_name(tenant.organisation, what="organisation")
    return tenant


def in_words(problems: Iterable[Problem], whole: str) -> str:
    """A tenant's mistakes by their place among its settings; `whole` stands for all of them."""
    return "; ".join(f"{dotted(problem.path[2:]) or whole}: {problem.message}" for problem in problems)


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """With the changes; None takes a setting back to its default."""
    return {name: value for name, value in {**settings, **changes}.items() if value is not None}
