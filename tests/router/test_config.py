from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.prices import Price
from router.config.arms import arm_table, mode_config
from router.config.load import config_hash, default_trade_offs, load_config, parse_config, with_server
from router.config.local import uses_local, with_local_url
from router.config.problems import ConfigError
from router.config.schema import Config

EXAMPLE = Path(__file__).parents[2] / "examples" / "gearshift.yaml"
SECRET = "sk-very-secret-0123456789"
ENV = {"OPENAI_API_KEY": SECRET, "ACME_KEY": "acme-secret-987654"}
MINIMAL = "models: {m: {deployments: [{base_url: 'http://127.0.0.1:8000/v1'}]}}\n"


def parse(text: str, **env: str) -> Config:
    return parse_config(text, source="test.yaml", env=env)


def model(**settings: Any) -> str:
    entry = {"deployments": [{"base_url": "http://127.0.0.1:8000/v1"}], **settings}
    return "models: {m: " + yaml.safe_dump(entry, default_flow_style=True, width=10_000).strip() + "}"


def deployment(**settings: Any) -> str:
    return model(deployments=[{"base_url": "http://127.0.0.1:8000/v1", **settings}])


MISTAKES = [
    ("serverr: {}", "serverr", "did you mean 'server'?"),
    ("server: {prot: 4000}", "server.prot", "did you mean 'port'?"),
    ("server: {port: 70000}", "server.port", "at most 65535, got 70000"),
    ("server: {workers: many}", "server.workers", "expected a whole number, got 'many'"),
    ("server: {host: 0.0.0.0}", "server.host", "no tenant has a key"),
    ("server: {limits: {n: 0}}", "server.limits.n", "of at least 1, got 0"),
    ("store: {url: 'mysql://db/0'}", "store.url", "expected embedded, redis://"),
    ("store: {when_down: panic}", "store.when_down", "expected one of reject, serve"),
    ("encoder: {name: minilmm}", "encoder.name", "did you mean 'minilm'?"),
    ("policy: {name: liner}", "policy.name", "did you mean 'linear'?"),
    ("policy: {name: static}", "policy.arm", "required by the policy 'static'"),
    ("policy: {name: linear}", "policy.artifact", "required by the policy 'linear'"),
    ("policy: {fallback: m/instnat}", "policy.fallback", "did you mean 'm/instant'?"),
    ("policy: {fallback: m/reasoning}", "policy.fallback", "no model of this file offers this arm"),
    ("policy: {rules: [{when: {is_poem: true}, prefer: [m/instant]}]}", "policy.rules[0].when.is_poem", "is_poem"),
    ("modes: {instant: {effort: lowest}}", "modes.instant.effort", "expected off, minimal, low"),
    ("policy: {rules: [{prefer: ['q/*']}]}", "policy.rules[0].prefer[0]", "matches no arm"),
    ("policy: {rules: [{when: {turn: [1]}, prefer: [m/instant]}]}", "policy.rules[0].when.turn", "got a list"),
    ("tenants: {a: {trade_off: cheep}}", "tenants.a.trade_off", "did you mean 'cheap'?"),
    ("tenants: {a: {models: [n]}}", "tenants.a.models[0]", "no such model; got 'n'"),
    ("tenants: {a: {models: []}}", "tenants.a.models", "an empty list allows nothing"),
    ("tenants: {a: {modes: [reasoning]}}", "tenants.a.modes[0]", "no model this tenant may use offers"),
    ("tenants: {a: {explore: 1.5}}", "tenants.a.explore", "of at most 1, got 1.5"),
    ("tenants: {a: {observe: perhaps}}", "tenants.a.observe", "expected true or false, got 'perhaps'"),
    ("tenants: {a: {reference: m/best}}", "tenants.a.reference", "expected an arm"),
    ("tenants: {a: {keys: ['${NOWHERE}']}}", "tenants.a.keys[0]", "environment variable NOWHERE is not set"),
    ("tenants: {a: {keys: ['hmac:12']}}", "tenants.a.keys[0]", "64 lower-case hex digits"),
    ("tenants: {a: {keys: [key-one]}, b: {keys: [key-one]}}", "tenants.b.keys[0]", "belongs to tenant 'a' already"),
    ("tenants: {a: {trade_off: '${TRADE}'}}", "tenants.a.trade_off", "read only in secrets"),
    ("trade_offs: {x: {usd_per_s: 1}}", "trade_offs.x.usd_per_correct_answer", "required, but not there"),
    ("trade_offs: {x: {usd_per_correct_answer: 0}}", "trade_offs.x.usd_per_correct_answer", "above 0, got 0"),
    ("trade_offs: {instant: {usd_per_correct_answer: 1}}", "trade_offs.instant", "not as a mode is named"),
    ("feedback: {score: [1, 0]}", "feedback.score", "low < high, got [1, 0]"),
    ("feedback: {score: 1}", "feedback.score", "expected a list [low, high], got 1"),
    (model(modes=["instant", "agentic"]), "models.m.modes[1]", "agentic is not offered yet"),
    (model(modes=["instnt"]), "models.m.modes[0]", "did you mean 'instant'?"),
    (model(modes=["instant", "instant"]), "models.m.modes", "stands in it twice"),
    (model(modes=["reasoning"]), "models.m.thinking", "would ask exactly as instant does"),
    (model(efforts=["low"]), "models.m.efforts", "no effect without the reasoning mode"),
    (model(modes=["reasoning"], thinking="prompt", efforts=["hihg"]), "models.m.efforts[0]", "did you mean 'high'?"),
    (model(price=3), "models.m.price", "expected a mapping (keys: input, output"),
    (model(price={"input": -1, "output": 0}), "models.m.price.input", "of at least 0, got -1"),
    (model(price={"input": 1}), "models.m.price.output", "required, but not there"),
    (model(deployments=[]), "models.m.deployments", "at least one entry"),
    (model(deployments=[{}]), "models.m.deployments[0].base_url", "required for upstream openai"),
    (model(context_tokens=100), "models.m.max_output_tokens", "exceeds context_tokens (100)"),
    (deployment(base_url="localhost:8000"), "models.m.deployments[0].base_url", "expected an address such as"),
    (deployment(base_url="http://u:pw@h/v1"), "models.m.deployments[0].base_url", "holds credentials"),
    (deployment(base_url="http://h/v1?key=1"), "models.m.deployments[0].base_url", "holds a query"),
    (deployment(upstream="local"), "models.m.deployments[0].base_url", "addressed by the gateway itself"),
    (deployment(upstream="fake"), "models.m.deployments[0].base_url", "does not begin with file:///"),
    (
        deployment(upstream="fake", base_url="file:///nowhere/s.json"),
        "models.m.deployments[0].base_url",
        "No such file",
    ),
    (deployment(upstream="litellm"), "models.m.deployments[0].model", "needs provider/model"),
    (deployment(apikey=SECRET), "models.m.deployments[0].apikey", "did you mean 'api_key'?"),
    (deployment(headers={"authorization": "x"}), "models.m.deployments[0].headers.authorization", "set by the gateway"),
    (deployment(weight=0), "models.m.deployments[0].weight", "above 0, got 0"),
    ("models: {auto: {deployments: [{upstream: fake}]}}", "models.auto", "virtual model names"),
    ("models: {}", "models", "at least one entry"),
    ("server: {port: 1}\nserver: {port: 2}", "server", "written twice, on lines"),
    ("policy: {name: default}", "policy.artifact", "required by the policy 'default'"),
    ("policy: {online: {enabled: true}}", "policy.online.enabled", "only the policy 'default' learns"),
    ("policy: {online: {metrics: {scor: 1}}}", "policy.online.metrics.scor", "did you mean 'score'?"),
    ("policy: {online: {extra_usd: -1}}", "policy.online.extra_usd", "of at least 0, got -1"),
    ("policy: {online: {trials: {m/instnat: 1}}}", "policy.online.trials.m/instnat", "did you mean 'm/instant'?"),
    ("policy: {online: {trials: {m/instant: 0}}}", "policy.online.trials.m/instant", "above 0, got 0"),
    ("policy: {online: {trials: {m/instant: .inf}}}", "policy.online.trials.m/instant", "expected a finite number"),
    ("policy: {online: {trials: {m/instant: 1}}}", "policy.online.trials.m/instant", "'m' has no price; set models.m."),
    ("policy: {online: {trials: [m/instant]}}", "policy.online.trials", "expected a mapping"),
    ("policy: {online: {explore_share: 2}}", "policy.online.explore_share", "of at most 1, got 2"),
]


@pytest.mark.parametrize(
    ("text", "path", "words"), MISTAKES, ids=[f"{path}-{i}" for i, (_, path, _) in enumerate(MISTAKES)]
)
def test_a_mistake_is_told_with_its_place_and_what_to_do(text: str, path: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(text if text.startswith("models:") else MINIMAL + text)
    told = {problem.place.partition(" (line")[0]: problem.message for problem in raised.value.problems}
    assert words in told[path]


@pytest.mark.parametrize("script", ["{", "[]", '{"defualt": {}}', '{"default": {"txt": "x"}}', '{"models": {"m": 1}}'])
def test_a_script_that_is_none_is_a_mistake_of_the_configuration(tmp_path: Path, script: str) -> None:
    (tmp_path / "script.json").write_text(script)
    with pytest.raises(ConfigError) as raised:
        parse(deployment(upstream="fake", base_url=f"file://{tmp_path}/script.json"))
    assert [problem.path[-1] for problem in raised.value.problems] == ["base_url"]


def test_one_mistake_makes_one_problem() -> None:
    for text, path, _ in MISTAKES:
        if text.startswith(("models", "server: {port: 1}")):
            continue
        with pytest.raises(ConfigError) as raised:
            parse(MINIMAL + text)
        assert len(raised.value.problems) == 1, (path, str(raised.value))


def test_every_mistake_is_reported_at_once() -> None:
    sections: dict[str, Any] = {"models": {}, "tenants": {}}
    for i, (text, _, _) in enumerate(MISTAKES):
        tree = yaml.safe_load(text)
        for name, entry in (tree.get("models") or {}).items():
            sections["models"][f"{name}{i}" if name == "m" else name] = entry
        for name, entry in (tree.get("tenants") or {}).items():
            sections["tenants"][f"{name}{i}"] = entry
    del sections["tenants"]["a21"]  # a mistake only where no model reasons
    del sections["tenants"]["a27"]  # the mistake is the other tenant's
    with pytest.raises(ConfigError) as raised:
        parse(yaml.safe_dump(sections))
    found = {problem.path[:2] for problem in raised.value.problems}
    wrong_models = {("models", f"m{i}") for i, (text, _, _) in enumerate(MISTAKES) if text.startswith("models: {m:")}
    wrong_tenants = {("tenants", name) for name in sections["tenants"] if name.startswith("a")}
    assert wrong_models | wrong_tenants <= found
    assert len(wrong_models) > 12
    assert len(wrong_tenants) > 8


def test_secrets_never_appear_in_a_message() -> None:
    text = f"""
serverr: {SECRET}
store: {{url: "redis://:{SECRET}@host/0", urll: "{SECRET}"}}
models:
  m:
    deployments:
      - {{base_url: "http://user:{SECRET}@h/v1", api_key: "${{KEY}}", apikey: {SECRET}, headers: {{"x y": {SECRET}}}}}
    modes: ["${{KEY}}"]
    price: "{SECRET}"
tenants:
  a: {{keys: ["${{KEY}}", {SECRET}], trade_off: {SECRET}}}
  b: {{keys: ["${{KEY}}", [{SECRET}]]}}
"""
    with pytest.raises(ConfigError) as raised:
        parse(text, KEY=SECRET)
    assert len(raised.value.problems) >= 6
    assert SECRET not in str(raised.value)
    assert SECRET not in repr(raised.value.problems)


def test_a_loaded_configuration_does_not_show_its_secrets() -> None:
    config = load_config(EXAMPLE, env=ENV)
    assert config.models["gpt-5-mini"].deployments[0].api_key == SECRET
    assert SECRET not in repr(config)
    assert ENV["ACME_KEY"] not in str(config)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: {m: [", "line 1, column"),
        ("models:\n\tm: 1", "line 2, column 1"),
        ("a: &a [*a]\n", "an alias holds itself"),
        ("", "is empty"),
        ("- 1", "holds no mapping"),
        ("? [a]\n: 1", "a key must be a plain text"),
    ],
)
def test_what_is_no_configuration_at_all_is_told_with_its_place(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(text)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.yaml")


def test_off_and_numbers_are_efforts() -> None:
    config = parse(
        "models: {m: {deployments: [{upstream: fake}], modes: [reasoning], thinking: prompt, efforts: [off, 2048]}}"
    )
    assert list(arm_table(config)) == ["m/reasoning:off", "m/reasoning:2048"]


def test_a_password_in_the_store_url_is_quoted() -> None:
    config = parse(MINIMAL + "store: {url: 'redis://:${PW}@host:6379/0'}", PW="a/b@c")
    assert config.store.url == "redis://:a%2Fb%40c@host:6379/0"


def test_the_example_is_short_and_valid() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 45
    config = load_config(EXAMPLE, env=ENV)
    assert uses_local(config)
    assert all(tenant.explore == 0.02 for tenant in config.tenants.values())


def test_defaults_are_filled_in() -> None:
    config = parse(MINIMAL)
    assert config.trade_offs == default_trade_offs()
    assert list(config.tenants) == ["default"]


def test_arms_are_modes_by_efforts_with_integer_prices() -> None:
    table = arm_table(load_config(EXAMPLE, env=ENV))
    low, high = table["gpt-5-mini/reasoning:low"], table["gpt-5-mini/reasoning:high"]
    assert low.price == Price(input=250_000_000, output=2_000_000_000, cached_input=25_000_000)
    assert low.output_tokens < high.output_tokens
    assert len({facts.revision for facts in table.values()}) == len(table)


def test_a_models_own_mode_setting_wins_and_the_rest_is_shared() -> None:
    tree = yaml.safe_load(model(mode_overrides={"instant": {"max_tokens": 5}}))
    config = parse(yaml.safe_dump({**tree, "modes": {"instant": {"max_tokens": 9, "system": "s"}}}))
    asked = mode_config(config, model="m", mode="instant")
    assert (asked.max_tokens, asked.system) == (5, "s")
    assert arm_table(config)["m/instant"].output_tokens == 5


def test_the_hash_follows_settings_and_neither_secrets_nor_the_local_port() -> None:
    config = load_config(EXAMPLE, env=ENV)
    other = load_config(EXAMPLE, env={"OPENAI_API_KEY": "sk-another-key", "ACME_KEY": "another-key"})
    assert config_hash(config) == config_hash(other) == config_hash(with_local_url(config, "http://127.0.0.1:1/v1"))
    assert len(config_hash(config)) == 12
    assert config_hash(with_server(config, port=4001)) == config_hash(config)
    changed = config.model_copy(update={"modes": {}})
    assert config_hash(changed) != config_hash(config)


def test_the_local_model_gets_its_settings_and_its_address() -> None:
    config = parse("models: {tiny: {deployments: [{upstream: local}], context_tokens: 2048}}")
    assert list(arm_table(config)) == ["tiny/instant", "tiny/reasoning"]
    assert config.models["tiny"].context_tokens == 2048
    assert "tools" not in config.models["tiny"].capabilities
    placed = with_local_url(config, "http://127.0.0.1:5/v1")
    assert placed.models["tiny"].deployments[0].base_url == "http://127.0.0.1:5/v1"


def test_the_command_line_cannot_open_a_keyless_gateway() -> None:
    config = parse(MINIMAL)
    with pytest.raises(ConfigError, match="no tenant has a key"):
        with_server(config, host="0.0.0.0")
    with pytest.raises(ConfigError, match=r"server\.port"):
        with_server(config, port=-1)
    assert with_server(config, port=None, workers=3).server.workers == 3
