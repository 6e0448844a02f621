"""Names of everything the benchmark can compare; a module is imported only when its name is asked for."""

from collections.abc import Callable, Sequence
from importlib import import_module
from inspect import signature
from typing import Any

from training.contender import Contender

_ZOO = "training.zoo.contenders:zoo_contenders"

# A factory is called with ``encoder_id`` if it takes one; the zoo's makes all of its policies together, so that they
# share what is fitted once.
FACTORIES: dict[str, str] = {
    "default": "training.prior.contender:default",
    "default_teacher": "training.prior.contender:default_teacher",
    "fixed": "training.contenders.baselines:fixed",
    "cheapest": "training.contenders.baselines:cheapest",
    "random": "training.contenders.baselines:random",
    "global_means": "training.contenders.baselines:global_means",
    "cluster": _ZOO,
    "topics": _ZOO,
    "knn": _ZOO,
    "linear": _ZOO,
    "logistic": _ZOO,
    "gbdt": _ZOO,
    "mf": _ZOO,
    "irt": _ZOO,
    "mlp": _ZOO,
    "two_tower": _ZOO,
    "blend": _ZOO,
    "domain_table": "training.contenders.baselines:domain_table",
    "oracle": "training.contenders.baselines:oracle",
}


class ContenderError(ValueError):
    """A policy that is to be compared does not exist or cannot be built; the message says which and what to do."""


def make_contender(name: str, *, encoder_id: str = "") -> Contender:
    """Build one contender by name; raises as ``make_contenders`` does."""
    return make_contenders((name,), encoder_id=encoder_id)[0]


def make_contenders(names: Sequence[str], *, encoder_id: str = "") -> list[Contender]:
    """Build contenders by name, in order.

    Args:
        encoder_id: Encoder of the samples they will be fitted on.

    Raises:
        ContenderError: No such name, or its module or an optional library of it is not installed.
    """
    names_of(names)
    zoo = [name for name in names if FACTORIES[name] == _ZOO]
    made = {each.name: each for each in _load(_ZOO, name=zoo[0])(zoo, encoder_id=encoder_id)} if zoo else {}
    return [made[name] if name in made else _alone(name, encoder_id=encoder_id) for name in names]


def _alone(name: str, *, encoder_id: str) -> Contender:
    factory = _load(FACTORIES[name], name=name)
    takes_encoder = "encoder_id" in signature(factory).parameters
    contender: Contender = factory(encoder_id=encoder_id) if takes_encoder else factory()
    return contender


def _load(target: str, *, name: str) -> Callable[..., Any]:
    module, _, attribute = target.partition(":")
    try:
        factory: Callable[..., Any] = getattr(import_module(module), attribute)
    except ImportError as problem:
        missing = problem.name or module
        advice = "install gearshift[train]" if not missing.startswith("training") else "it is not part of this version"
        raise ContenderError(f"policy {name!r} cannot be built: no module {missing!r}; {advice}") from problem
    except AttributeError as problem:
        raise ContenderError(f"policy {name!r} cannot be built: {module} has no {attribute!r}") from problem
    return factory


def names_of(chosen: Sequence[str]) -> tuple[str, ...]:
    """The chosen names, each once, in the order of the tables; every name where none is chosen.

    Raises:
        ContenderError: One of them does not exist.
    """
    for name in chosen:
        if name not in FACTORIES:
            raise ContenderError(f"no policy is named {name!r}; choose from {', '.join(FACTORIES)}")
    return tuple(name for name in FACTORIES if not chosen or name in chosen)


def made_together(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The names in groups, each from one module: what such contenders share they fit once, if one process fits them."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(FACTORIES[name].partition(":")[0], []).append(name)
    return [tuple(group) for group in groups.values()]
