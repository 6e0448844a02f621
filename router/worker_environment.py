"""What a worker's environment holds: what finds this installation, and none of the secrets its brief tells it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from router.config.schema import Config
from router.secret import VARIABLE

_LEAST_CHARS = 6  # shorter texts are found in others by chance


def worker_environment(config: Config, environ: Mapping[str, str], *, metrics_dir: Path) -> dict[str, str]:
    """The variables of ``environ`` without secrets, and what a worker needs besides."""
    texts = list(_secrets(config))
    # A litellm deployment without a key of its own finds its provider's in the environment.
    by_provider = any(
        item.upstream == "litellm" and item.api_key is None
        for model in config.models.values()
        for item in model.deployments
    )
    kept = {
        name: value
        for name, value in environ.items()
        if name != VARIABLE
        and (by_provider or not name.endswith("_API_KEY"))
        and not (len(value) >= _LEAST_CHARS and any(value in text for text in texts))
    }
    root = str(Path(__file__).resolve().parent.parent)
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, [root, environ.get("PYTHONPATH", "")])),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics_dir),
        # One thread for numpy's small products: more threads only steal the cores from other workers.
        "OMP_NUM_THREADS": "1",
    }


def _secrets(config: Config) -> Iterator[str]:
    """Every secret text of a configuration, with what a variable may be a part of."""
    for tenant in config.tenants.values():
        yield from tenant.keys
    for model in config.models.values():
        for item in model.deployments:
            yield from item.headers.values()
            if item.api_key is not None:
                yield item.api_key
    userinfo = config.store.url.partition("://")[2].rpartition("@")[0]
    yield unquote(userinfo)
