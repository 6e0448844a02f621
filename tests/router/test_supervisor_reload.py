"""What a reload may change and what it may not, and what a worker's environment holds."""

import logging
from pathlib import Path
from typing import Any

import pytest

from policies.prices import prices_version
from router.brief import Brief, local_news, read_local_news
from router.config.arms import effective_prices
from router.config.load import build_config, config_hash
from router.config.schema import Config
from router.supervisor import Supervisor
from router.worker_environment import worker_environment

MODELS: dict[str, Any] = {"m": {"deployments": [{"upstream": "fake"}]}}
KEYED = {"acme": {"keys": ["a-key-of-acme"]}}


def config(**more: Any) -> Config:
    return build_config({"models": MODELS, **more}, source="test", env={})


def reloaded(first: Config, second: Config, folder: Path) -> Config:
    def at(each: Config) -> Config:
        return each.model_copy(update={"store": each.store.model_copy(update={"dir": str(folder)})})

    supervisor = Supervisor(at(first), secret=b"s" * 16, version="0", reload=lambda: at(second))
    supervisor._take_new_config()
    assert supervisor._hash == config_hash(supervisor._config)
    return supervisor._config


def test_models_and_tenants_are_taken_and_the_address_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    second = config(models={**MODELS, "n": MODELS["m"]}, server={"port": 5000}, encoder={"name": "static"})
    after = reloaded(config(), second, tmp_path)
    assert set(after.models) == {"m", "n"}
    assert (after.server.port, after.encoder.name) == (4000, "minilm")
    assert "take a restart" in caplog.text


def test_changed_prices_are_kept_as_they_come_into_force(tmp_path: Path) -> None:
    second = config(models={"m": {**MODELS["m"], "price": {"input": 1, "output": 2}}})
    after = reloaded(config(), second, tmp_path)
    assert [path.stem for path in (tmp_path / "prices").iterdir()] == [prices_version(effective_prices(after))]


def test_an_open_address_never_loses_its_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = config(server={"host": "0.0.0.0"}, tenants=KEYED)
    after = reloaded(first, config(server={"host": "127.0.0.1"}), tmp_path)
    assert after.tenants == first.tenants
    assert "server.host" in caplog.text


def test_a_reload_that_fails_keeps_the_old(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Config:
        raise OSError("gone")

    supervisor = Supervisor(config(store={"dir": str(tmp_path)}), secret=b"s" * 16, version="0", reload=broken)
    with caplog.at_level(logging.ERROR):
        supervisor._take_new_config()
    assert "stays in force: gone" in caplog.text


def test_a_brief_survives_its_pipe(tmp_path: Path) -> None:
    told = config(
        tenants=KEYED,
        modes={"instant": {"max_tokens": 5}},
        trade_offs={"dear": {"usd_per_correct_answer": 3, "max_usd": 0.5}},
        feedback={"stars": [1, 5]},
    )
    brief = Brief("w", told, "hash", b"\x00secret\n", 7, tmp_path, "1", fallen=("v",), local_problem="no weights")
    line, news = brief.dump(), local_news("its process ended")
    assert (line.count(b"\n"), news.count(b"\n")) == (1, 1)
    assert Brief.load(line) == brief
    assert (read_local_news(line), read_local_news(news), read_local_news(local_news(""))) == (
        None,
        "its process ended",
        "",
    )


def test_a_workers_environment_holds_no_secret_of_the_configuration(tmp_path: Path) -> None:
    deployment = {"upstream": "fake", "api_key": "upstream-secret", "headers": {"x-team": "Bearer header-secret"}}
    told = config(
        models={"m": {"deployments": [deployment]}},
        tenants={"acme": {"keys": ["tenant-secret"]}},
        store={"url": "redis://user:p%40ss-secret@host:6379/0"},
    )
    secrets = {"A": "upstream-secret", "B": "header-secret", "C": "tenant-secret", "D": "p@ss-secret"}
    others = {"GEARSHIFT_KEY_SECRET": "x", "OPENAI_API_KEY": "y"}
    kept = worker_environment(told, secrets | others | {"HOME": "/home/u", "LANG": "C"}, metrics_dir=tmp_path)
    assert set(kept) == {"HOME", "LANG", "PYTHONPATH", "PROMETHEUS_MULTIPROC_DIR", "OMP_NUM_THREADS"}


def test_a_provider_that_reads_its_own_key_keeps_it(tmp_path: Path) -> None:
    told = config(models={"c": {"deployments": [{"upstream": "litellm", "model": "anthropic/claude"}]}})
    kept = worker_environment(told, {"ANTHROPIC_API_KEY": "k", "GEARSHIFT_KEY_SECRET": "s"}, metrics_dir=tmp_path)
    assert kept["ANTHROPIC_API_KEY"] == "k"
    assert "GEARSHIFT_KEY_SECRET" not in kept
