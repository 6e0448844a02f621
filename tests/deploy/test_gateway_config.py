"""The configurations that compose mounts are read by the gateway itself."""

from pathlib import Path

import pytest
import yaml

from router.config.load import load_config
from router.config.problems import ConfigError

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "deploy" / "gateway").glob("*.yaml"))
ENV = {"GEARSHIFT_API_KEY": "sk-a-long-key-of-a-client", "GEARSHIFT_KEY_SECRET": "s" * 32}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_gateway_accepts_the_mounted_configuration(path: Path) -> None:
    config = load_config(path, env=ENV)
    assert config.server.host == "0.0.0.0"
    assert config.tenants["default"].keys


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_without_a_client_key_it_refuses_to_start(path: Path) -> None:
    with pytest.raises(ConfigError, match="GEARSHIFT_API_KEY"):
        load_config(path, env={})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_store_and_the_models_are_services_of_compose(path: Path) -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    config = load_config(path, env=ENV)
    urls = [
        config.store.url,
        *(d.base_url for model in config.models.values() for d in model.deployments if d.base_url),
    ]
    assert {url.split("//")[1].split(":")[0] for url in urls} <= set(services)
