"""Prices as a file writes them, made whole: entries of litellm's offline table, time alone, and overrides of either.

The table is data that the litellm package carries; it is read as a file and the package is never imported, so nothing
asks the network, and what an entry costs changes only with the installed version (or with the configuration).
"""

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path as FilePath
from typing import Any

import orjson

from router.config.problems import Path, Problem, did_you_mean, listed
from router.config.schema import ModelConfig

PACKAGE, FILE = "litellm", "model_prices_and_context_window_backup.json"
FROM_TABLE = "litellm"
# Key of a price in our file -> in the table, where it is USD per token.
_KEYS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "reasoning": "output_cost_per_reasoning_token",
    "audio_input": "input_cost_per_audio_token",
    "audio_output": "output_cost_per_audio_token",
}
_TIER = "input_cost_per_token_above_"


class NoSuchPrice(LookupError):
    """The table is not here, or has no such entry; says what to write instead."""


def fill_prices(tree: Any, *, read: Callable[[], Mapping[str, Any]] | None = None) -> tuple[Any, list[Problem]]:
    """The tree with every ``models.<name>.price`` as a mapping of figures, and what is wrong with those that refer.

    ``litellm`` is the model's own entry of the table, ``{litellm: ENTRY, …}`` another one with figures that go before
    its own; a price by the second alone asks nothing for tokens. Of one that cannot be found nothing is kept.

    Args:
        read: Reads the table; `read_table` if None.
    """
    models = tree.get("models") if isinstance(tree, dict) else None
    if not isinstance(models, dict):
        return tree, []
    filled, problems = dict(models), list[Problem]()
    for name, entry in models.items():
        if isinstance(entry, dict) and _is_short(entry.get("price")):
            try:
                filled[name] = {**entry, "price": _whole(str(name), entry, read or read_table)}
            except NoSuchPrice as missing:
                filled[name] = {
                    **entry,
                    "price": {"input": 0.0, "output": 0.0},
                }  # so that nothing else is reported of it
                problems.append(Problem(("models", str(name), "price"), str(missing)))
    return {**tree, "models": filled}, problems


def read_table() -> Mapping[str, Any]:
    """litellm's entries by name.

    Raises:
        NoSuchPrice: The package is not installed, or carries no table.
    """
    spec = find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        file = FilePath(folder) / FILE
        if file.is_file():
            table: Mapping[str, Any] = orjson.loads(file.read_bytes())
            return table
    raise NoSuchPrice("litellm's price table is not here: pip install 'gearshift[litellm]', or write input and output")


def price_in(table: Mapping[str, Any], entry: str) -> dict[str, float]:
    """The price of an entry in USD per million tokens, as it would stand in a file.

    Raises:
        NoSuchPrice: There is no such entry, or it has no price by the token.
    """
    found = table.get(entry)
    if not isinstance(found, dict):
        alike = [key for key in table if key.rpartition("/")[2] == entry.rpartition("/")[2]]
        hint = f"; it has {listed(sorted(alike)[:4])}" if alike else did_you_mean(entry, table)
        raise NoSuchPrice(f"litellm's table has no {entry!r}{hint}; name an entry (price: {{litellm: ENTRY}})")
    usd = {ours: round(1e6 * float(found[theirs]), 9) for ours, theirs in _KEYS.items() if _is_amount(found, theirs)}
    if not usd.keys() >= {"input", "output"}:
        raise NoSuchPrice(f"litellm's table has no price by the token for {entry!r}; write input and output")
    return usd


def dearer_above(table: Mapping[str, Any], entry: str) -> int | None:
    """Prompt tokens above which an entry has another price, which ours does not know; None where it has but one."""
    found = table.get(entry)
    steps = [key.removeprefix(_TIER).partition("k_tokens")[0] for key in found or () if key.startswith(_TIER)]
    return min((1000 * int(step) for step in steps if step.isdecimal()), default=None)


def entries_of(name: str, model: Mapping[str, Any]) -> list[str]:
    """Entries that a model of the file may have: the names its endpoints know it by, else its own."""
    deployments = model.get("deployments")
    found = [item for item in deployments if isinstance(item, dict)] if isinstance(deployments, list) else []
    return list(dict.fromkeys(str(item.get("model") or name) for item in found)) or [name]


def _is_short(price: Any) -> bool:
    if isinstance(price, dict):
        return FROM_TABLE in price or ("usd_per_gpu_second" in price and not {"input", "output"} & price.keys())
    return bool(price == FROM_TABLE)


def _whole(name: str, model: Mapping[str, Any], read: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    price = model["price"]
    if isinstance(price, dict) and FROM_TABLE not in price:
        return {"input": 0.0, "output": 0.0, **price}
    named = price.get(FROM_TABLE) if isinstance(price, dict) else None
    entries = [str(named)] if named is not None else entries_of(name, model)
    table = read()
    found = [price_in(table, entry) for entry in entries]
    if any(other != found[0] for other in found):
        raise NoSuchPrice(
            f"its deployments have several prices ({listed(entries)}); name one: price: {{litellm: ENTRY}}"
        )
    own = price if isinstance(price, dict) else {}
    return {**found[0], **own, FROM_TABLE: entries[0]}


def _is_amount(found: Mapping[str, Any], key: str) -> bool:
    return type(found.get(key)) in (int, float) and found[key] >= 0


def unheard_tiers(models: Mapping[str, ModelConfig]) -> Iterator[Problem]:
    """Models priced from the table whose context reaches beyond its first price."""
    entries = {name: model.price.litellm for name, model in models.items() if model.price and model.price.litellm}
    table = read_table() if entries else {}
    for name, entry in entries.items():
        model, step = models[name], dearer_above(table, entry)
        if step is not None and model.context_tokens > step:
            place: Path = ("models", name, "price", FROM_TABLE)
            remedy = f"set context_tokens to {step}, or write the dearer price"
            counted = f"{entry} costs more above {step} prompt tokens, which is not counted"
            yield Problem(place, f"{counted}; {remedy}")
