"""The default policy behind a real gateway: it decides as offline, says `far`, and is refused when not sound."""

import http.client
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from replaying import Recorded, config
from running import RunningGateway
from scripted import ScriptedUpstream

from policies.artifact import MANIFEST, WEIGHTS, load_artifact, save_artifact
from policies.encoders.base import Encoder
from policies.encoders.load import load_encoder, prepare_encoder
from policies.features import lexical_features
from policies.predictions import Reals
from policies.tables import OutcomeTable, load_pool
from policies.zoo.default import DefaultPolicy
from router.commands.check import examine
from training.contender import Sample
from training.embeddings import embed_prompts
from training.inputs import make_inputs
from training.prior.distil import DistilSettings
from training.prior.fit import fit_default
from training.prior.units import UnitSettings
from training.zoo.contenders import priced_usd, task_of
from training.zoo.save import artifact_of

N_TAUGHT, N_ASKED = 1200, 1000
USD_PER_CORRECT_ANSWER = 0.01
FAR = ("Thanks, that is all for today!", "lol ok thx cu l8r!!! :D")
SMALL = DistilSettings(units=UnitSettings(width=32))


@dataclass(frozen=True, slots=True)
class Trained:
    """An artifact, and prompts that it was not fitted on."""

    recorded: Recorded
    artifact: Path
    encoder: Encoder
    asked: OutcomeTable

    def tree(self, base_url: str = "http://127.0.0.1:9") -> dict[str, Any]:
        """A configuration that serves it; no decision is late however busy the machine."""
        trade_offs = {"balanced": USD_PER_CORRECT_ANSWER}
        tree = config(self.recorded, base_url=base_url, artifact=self.artifact, trade_offs=trade_offs)
        tree["policy"]["name"], tree["encoder"]["late_ms"] = "default", 60_000
        return tree


@pytest.fixture(scope="module")
def trained(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    recorded = Recorded(shared_data, "mmlu_pro_7")
    table = load_pool(shared_data, shared_data / "pools.json", recorded.name)
    order = np.random.default_rng(0).permutation(len(table))
    prepare_encoder("minilm")
    encoder = load_encoder("minilm")
    sample = sample_of(table.rows(np.isin(np.arange(len(table)), order[:N_TAUGHT])), encoder)
    task = task_of(sample, encoder_id=encoder.encoder_id, seed=0)
    fit = fit_default(task, members=("knn", "logistic"), settings=SMALL)
    out = tmp_path_factory.mktemp("default") / "artifact"
    save_artifact(artifact_of(fit.policy, task, facts=fit.facts), out, encoder=encoder)
    asked = table.rows(np.isin(np.arange(len(table)), order[N_TAUGHT : N_TAUGHT + N_ASKED]))
    return Trained(recorded, out, encoder, asked)


def sample_of(table: OutcomeTable, encoder: Encoder) -> Sample:
    return Sample(table, make_inputs(table, embed_prompts(encoder, table.prompts)))


def post(gateway: RunningGateway, path: str, prompt: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    body = {"model": "auto:balanced", "messages": [{"role": "user", "content": prompt}]}
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    raw = answer.read()
    connection.close()
    assert answer.status == 200, raw
    found: dict[str, Any] = json.loads(raw)
    return found


def offline(trained: Trained, asked: OutcomeTable) -> tuple[Reals, Reals]:
    """Quality and USD of every arm by the batch path of the reloaded artifact, as a benchmark has them."""
    policy = DefaultPolicy.from_artifact(load_artifact(trained.artifact, encoder=trained.encoder))
    sample = sample_of(asked, trained.encoder)
    expected = policy.expect(sample.inputs.embeddings, sample.inputs.lexical)
    usd = priced_usd(sample, expected.output_tokens, policy.tokens.input_ratio, otherwise=expected.usd)
    return expected.quality, usd


def agree(trained: Trained, tmp_path: Path, *, n: int) -> None:
    """Fails where the gateway and the batch differ in an arm or a prediction of the first ``n`` prompts."""
    asked = trained.asked.rows(np.arange(len(trained.asked)) < n)
    quality, usd = offline(trained, asked)
    chosen = (quality - usd / USD_PER_CORRECT_ANSWER).argmax(axis=1)
    with RunningGateway(tmp_path, trained.tree()) as gateway:
        answers = [post(gateway, "/v1/decide", prompt) for prompt in asked.prompts]
    assert [answer["arm"] for answer in answers] == [asked.arm_names[arm] for arm in chosen]
    assert len(set(chosen)) > 1
    for row, answer in enumerate(answers):
        assert answer["late"] is False
        by_name = {arm["arm"]: arm for arm in answer["arms"]}
        told = [by_name[name] for name in asked.arm_names]
        assert [arm["quality"] for arm in told] == pytest.approx(quality[row], abs=1e-6)
        assert [arm["usd"] for arm in told] == pytest.approx(usd[row], rel=1e-6)


@pytest.mark.slow
def test_a_gateway_decides_and_predicts_as_the_batch_does(trained: Trained, tmp_path: Path) -> None:
    agree(trained, tmp_path, n=60)


@pytest.mark.accept
def test_a_gateway_decides_and_predicts_as_the_batch_does_on_a_thousand_prompts(
    trained: Trained, tmp_path: Path
) -> None:
    agree(trained, tmp_path, n=N_ASKED)


@pytest.mark.slow
def test_a_query_unlike_the_training_ones_is_far_in_decision_log_and_metrics(trained: Trained, tmp_path: Path) -> None:
    policy = DefaultPolicy.from_artifact(load_artifact(trained.artifact, encoder=trained.encoder))
    prompts = (*FAR, trained.asked.prompts[0])
    lexical = np.stack([lexical_features(prompt) for prompt in prompts])
    wanted = policy.expect(trained.encoder.encode(prompts), lexical).far.tolist()
    assert wanted == [True, True, False]
    with ScriptedUpstream() as upstream, RunningGateway(tmp_path, trained.tree(upstream.base_url)) as gateway:
        decided = [post(gateway, "/v1/decide", prompt) for prompt in prompts]
        for prompt in prompts:
            post(gateway, "/v1/chat/completions", prompt)
        metrics = gateway.get("/metrics").decode()
        logged = gateway.export()
    assert [answer["far"] for answer in decided] == wanted
    assert all("unlike the training queries" in answer["reason"] for answer in decided[:2])
    assert sorted(row["far"] for row in logged) == sorted(wanted)
    assert counted(metrics, far="true") == 2
    assert counted(metrics, far="false") == 1


def counted(metrics: str, *, far: str) -> float:
    """Drawn decisions by this label, over all policies."""
    lines = re.findall(r"^gearshift_decisions_total\{(.*)\} (\S+)$", metrics, re.MULTILINE)
    return sum(float(value) for labels, value in lines if f'far="{far}"' in labels)


def checked(trained: Trained, tmp_path: Path, **changes: Any) -> list[str]:
    """What `gearshift check` calls an error of the policy."""
    file = tmp_path / "gearshift.yaml"
    file.write_text(yaml.safe_dump(trained.tree() | changes))
    return [f"{'.'.join(map(str, problem.path))}: {problem.message}" for problem in examine(file, probe=False).errors]


@pytest.mark.slow
def test_a_sound_artifact_passes_the_check(trained: Trained, tmp_path: Path) -> None:
    assert checked(trained, tmp_path) == []


@pytest.mark.slow
def test_an_artifact_of_another_encoder_fails_the_check(trained: Trained, tmp_path: Path) -> None:
    prepare_encoder("static")
    (problem,) = checked(trained, tmp_path, encoder={"name": "static"})
    assert problem.startswith("policy.artifact: ")
    assert "serve it with that encoder or train it again" in problem


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["changed", "newer", "of another policy"])
def test_an_artifact_that_is_not_sound_fails_the_check(trained: Trained, tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "artifact"
    shutil.copytree(trained.artifact, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    if harm == "changed":
        weights = bytearray((folder / WEIGHTS).read_bytes())
        weights[-1] ^= 1
        (folder / WEIGHTS).write_bytes(weights)
    else:
        manifest |= {"format": 99} if harm == "newer" else {"policy": "linear"}
        (folder / MANIFEST).write_text(json.dumps(manifest))
    wanted = {"changed": "damaged or changed", "newer": "upgrade gearshift", "of another policy": "set policy.name"}
    policy = {"name": "default", "artifact": str(folder)}
    (problem,) = checked(trained, tmp_path, policy=policy)
    assert wanted[harm] in problem
