"""compose.yaml against the official schema, and against the files and services it names."""

import copy
import importlib.resources
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = re.compile(r"\$\{\w+:-([^}]*)\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return loaded


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    """The Compose Specification's own schema, as the check-jsonschema package carries it."""
    folder = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    return jsonschema.Draft202012Validator(json.loads((folder / "compose-spec.json").read_text()))


def mounts(compose: dict[str, Any]) -> list[str]:
    """Sources of all mounts, with the default taken where a variable may replace them."""
    services = compose["services"].values()
    return [DEFAULT.sub(r"\1", mount).split(":")[0] for service in services for mount in service.get("volumes", [])]


def test_compose_fits_the_official_schema(compose: dict[str, Any], schema: jsonschema.Draft202012Validator) -> None:
    assert [error.message for error in schema.iter_errors(compose)] == []


def test_the_schema_refuses_a_mistake(compose: dict[str, Any], schema: jsonschema.Draft202012Validator) -> None:
    wrong = copy.deepcopy(compose)
    wrong["services"]["valkey"]["healthcheck"]["tset"] = "typo"
    assert not schema.is_valid(wrong)


def test_every_mounted_file_exists(compose: dict[str, Any]) -> None:
    files = [source for source in mounts(compose) if source.startswith(".")]
    assert len(files) >= 7
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_every_named_volume_is_declared(compose: dict[str, Any]) -> None:
    assert {source for source in mounts(compose) if not source.startswith(".")} == set(compose["volumes"])


def test_two_gateways_share_one_store_that_never_evicts(compose: dict[str, Any]) -> None:
    services = compose["services"]
    gateways = [service for service in services.values() if service.get("image") == "gearshift:0.1.0"]
    assert len(gateways) == 2
    assert all(gateway["depends_on"]["valkey"]["condition"] == "service_healthy" for gateway in gateways)
    assert "noeviction" in services["valkey"]["command"]


def test_the_gpu_server_starts_only_when_asked_for(compose: dict[str, Any]) -> None:
    optional = {name: service["profiles"] for name, service in compose["services"].items() if "profiles" in service}
    assert optional == {"vllm": ["gpu"]}


def test_only_this_machine_reaches_the_published_ports(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_copies_only_files_that_exist_and_are_sent_to_the_build() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert "requirements/serve.lock" in copied
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert [source for source in copied if not any(Path(source).match(pattern) for pattern in sent)] == []
