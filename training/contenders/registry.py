"""Names of everything the benchmark can compare; a module is imported only when its name is asked for."""

from collections.abc import Sequence
from importlib import import_module

from training.contender import Contender

FACTORIES: dict[str, str] = {
    "default": "training.prior.contender:default",
    "default_teacher": "training.prior.contender:default_teacher",
    "fixed": "training.contenders.baselines:fixed",
    "cheapest": "training.contenders.baselines:cheapest",
    "random": "training.contenders.baselines:random",
    "global_means": "training.contenders.baselines:global_means",
    "cluster": "training.zoo.contenders:cluster",
    "knn": "training.zoo.contenders:knn",
    "linear": "training.zoo.contenders:linear",
    "logistic": "training.zoo.contenders:logistic",
    "gbdt": "training.zoo.contenders:gbdt",
    "mf": "training.zoo.contenders:mf",
    "irt": "training.zoo.contenders:irt",
    "mlp": "training.zoo.contenders:mlp",
    "two_tower": "training.zoo.contenders:two_tower",
    "blend": "training.zoo.contenders:blend",
    "domain_table": "training.contenders.baselines:domain_table",
    "oracle": "training.contenders.baselines:oracle",
}


class ContenderError(ValueError):
    """A policy that is to be compared does not exist or cannot be built; the message says which and what to do."""


def make_contender(name: str) -> Contender:
    """Build one contender by name; the factories take no arguments.

    Raises:
        ContenderError: No such name, or its module or an optional library of it is not installed.
    """
    if name not in FACTORIES:
        raise ContenderError(f"no policy is named {name!r}; choose from {', '.join(FACTORIES)}")
    module, _, attribute = FACTORIES[name].partition(":")
    try:
        factory = getattr(import_module(module), attribute)
    except ImportError as problem:
        missing = problem.name or module
        advice = "install gearshift[train]" if not missing.startswith("training") else "it is not part of this version"
        raise ContenderError(f"policy {name!r} cannot be built: no module {missing!r}; {advice}") from problem
    except AttributeError as problem:
        raise ContenderError(f"policy {name!r} cannot be built: {module} has no {attribute!r}") from problem
    contender: Contender = factory()
    return contender


def names_of(chosen: Sequence[str]) -> tuple[str, ...]:
    """The chosen names, each once, in the order of the tables; every name where none is chosen.

    Raises:
        ContenderError: One of them does not exist.
    """
    for name in chosen:
        if name not in FACTORIES:
            raise ContenderError(f"no policy is named {name!r}; choose from {', '.join(FACTORIES)}")
    return tuple(name for name in FACTORIES if not chosen or name in chosen)
