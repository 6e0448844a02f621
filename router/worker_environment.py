"""What our processes' environments hold: none of the secrets that a configuration or a provider's key is."""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from router.config.schema import Config
from router.secret import VARIABLE

_LEAST_CHARS = 6  # shorter texts are found in others by chance


def worker_environment(config: Config, environ: Mapping[str, str], *, metrics_dir: Path) -> dict[str, str]:
    """The variables of ``environ`` without secrets, and what a worker needs besides: its brief tells it the rest."""
    # A litellm deployment without a key of its own finds its provider's in the environment.
    by_provider = any(
        item.upstream == "litellm" and item.api_key is None
        for model in config.models.values()
        for item in model.deployments
    )
    kept = without_secrets(config, environ)
    if by_provider:
        texts = list(_secrets(config))
        kept |= {n: value for n, value in environ.items() if n.endswith("_API_KEY") and not _is_part(value, texts)}
    root = str(Path(__file__).resolve().parent.parent)
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, [root, environ.get("PYTHONPATH", "")])),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics_dir),
        # One thread for numpy's small products: more threads only steal the cores from other workers.
        "OMP_NUM_THREADS": "1",
    }


def without_secrets(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that hold no secret of the configuration, nor any provider's key."""
    texts = list(_secrets(config))
    return {
        name: value
        for name, value in environ.items()
        if name != VARIABLE and not name.endswith("_API_KEY") and not _is_part(value, texts)
    }


def _is_part(value: str, texts: Collection[str]) -> bool:
    return len(value) >= _LEAST_CHARS and any(value in text for text in texts)


def _secrets(config: Config) -> Iterator[str]:
    """Every secret text of a configuration, with what a variable may be a part of."""
    for tenant in config.tenants.values():
        yield from tenant.keys
    if config.admin is not None:
        yield config.admin.key
    for model in config.models.values():
        for item in model.deployments:
            yield from item.headers.values()
            if item.api_key is not None:
                yield item.api_key
    if config.alerts.webhook is not None:
        yield config.alerts.webhook
    userinfo = config.store.url.partition("://")[2].rpartition("@")[0]
    yield unquote(userinfo)
