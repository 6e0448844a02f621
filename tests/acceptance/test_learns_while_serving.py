"""A real gateway whose best arm turns bad: feedback over HTTP moves the traffic, and the alarm is told."""

import http.client
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import RunningGateway, fake_config
from scripted import ScriptedUpstream

from policies.artifact import Artifact, save_artifact
from policies.encoders.base import Encoder
from policies.encoders.load import load_encoder, prepare_encoder
from policies.features import FEATURES_ID
from policies.zoo.default import DefaultPolicy
from policies.zoo.distilled import DistilledModel
from policies.zoo.offsets import Offsets
from policies.zoo.quality import Levels
from policies.zoo.tokens import TokenModel
from router.upstreams.fake import Answer, Script

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
GOOD, OTHER = "small/instant", "large/instant"
RIGHT, WRONG = "right", "wrong"


def artifact(folder: Path, encoder: Encoder) -> Path:
    """The cheap arm is expected to be right four times of five, the dear one three of four, whatever is asked."""
    means, deviation = np.array([0.8, 0.75]), np.array([0.4, 0.43])
    model = DistilledModel.example(n_arms=2, dim=encoder.dim)
    tokens = TokenModel.example(n_arms=2, dim=encoder.dim)
    model = replace(model, weights=np.zeros_like(model.weights), means=means)
    basis, outputs = model.basis, model.basis.n_outputs
    tokens = replace(tokens, basis=basis, weights=np.zeros((outputs, 4)), centre=np.zeros(outputs))
    offsets = Offsets.fresh(np.zeros(basis.n_landmarks, np.int32), prior_sd=np.full(2, 0.03), noise_sd=deviation)
    policy = DefaultPolicy(
        model, tokens, None, Levels(means, deviation, deviation),
        arms=[GOOD, OTHER], encoder_id=encoder.encoder_id, offsets=offsets,
    )  # fmt: skip
    arms: tuple[dict[str, Any], ...] = tuple({"name": name, "price": None, "revision": ""} for name in (GOOD, OTHER))
    kept = Artifact("default", arms, encoder.encoder_id, FEATURES_ID, tensors=policy.to_tensors())
    return save_artifact(kept, folder / "artifact", encoder=encoder)


@dataclass(slots=True)
class Client:
    """Asks, and says of each answer whether it was right."""

    gateway: RunningGateway
    n_asked: int = 0

    def ask(self) -> tuple[str, str]:
        """Arm and policy that answered."""
        self.n_asked += 1
        told = [{"role": "user", "content": f"What is {self.n_asked} and {self.n_asked % 7}?"}]
        answer, headers = self.post("/v1/chat/completions", {"model": "auto", "messages": told})
        score = float(answer["choices"][0]["message"]["content"] == RIGHT)
        self.post("/v1/feedback", {"response_id": answer["id"], "metric": "score", "value": score})
        return headers["x-gearshift-arm"], headers["x-gearshift-policy"]

    def post(self, path: str, body: dict[str, Any]) -> tuple[Any, dict[str, str]]:
        """The answer's body and headers; fails where it is no 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=60)
        try:
            connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, raw
        return json.loads(raw), {name.lower(): value for name, value in answer.getheaders()}

    def until_it_leaves(self, arm: str, *, within: int) -> int:
        """Requests until ten in a row were answered by others."""
        elsewhere = 0
        for n in range(1, within + 1):
            elsewhere = 0 if self.ask()[0] == arm else elsewhere + 1
            if elsewhere == 10:
                return n
        raise AssertionError(
            f"{arm} still answers after {within} requests; {self.gateway.log_file.read_text()[-2000:]}"
        )

    def series(self, name: str) -> float:
        """Sum of a series, labels as given."""
        found = re.findall(rf"^{re.escape(name)} (\S+)$", self.gateway.get("/metrics").decode(), re.MULTILINE)
        return sum(map(float, found))


def sequence_of(policy: str) -> int:
    """Of the learned state; 0 where a worker has not looked yet."""
    return int(policy.partition("+")[2] or 0)


def test_choices_leave_an_arm_that_turned_bad_and_an_alarm_says_so(tmp_path: Path) -> None:
    prepare_encoder("minilm")
    online = {"enabled": True, "interval_s": 0.2}
    policy = {"name": "default", "artifact": str(artifact(tmp_path, load_encoder("minilm"))), "online": online}
    worse = f'gearshift_arm_alarms_total{{arm="{GOOD}",direction="worse"}}'
    with ScriptedUpstream() as upstream:
        encoder = {"name": "minilm", "late_ms": 60_000}
        tree = fake_config(upstream.base_url, policy=policy, encoder=encoder, tenants={"default": {"explore": 0.02}})
        for model in tree["models"].values():
            model["modes"] = ["instant"]
        with RunningGateway(tmp_path, tree, workers=2) as gateway:
            client, served = Client(gateway), []
            eventually(lambda: b"+1" in gateway.get("/readyz"))  # what is decided before learning began is not learned
            for n in range(40):
                upstream.server.script = Script({}, Answer(text=WRONG if n % 5 == 4 else RIGHT))
                served.append(client.ask())
            assert sum(arm == GOOD for arm, _ in served) >= 35
            assert client.series(worse) == 0.0
            upstream.server.script = Script({"small": Answer(text=WRONG)}, Answer(text=RIGHT))
            n_until = client.until_it_leaves(GOOD, within=250)
            eventually(lambda: client.series("gearshift_online_lessons") == client.n_asked)
            assert client.series(worse) >= 1.0
            assert client.series("gearshift_online_lag_seconds") < 10.0
            _, last = client.ask()
            rows = gateway.export()
        restarted = RunningGateway(tmp_path, tree)
        with restarted:
            client.gateway = restarted
            again = [client.ask() for _ in range(10)]
    assert n_until <= 150  # of the ~25 to 60 that the bets take, ten elsewhere, and what came before learning caught up
    assert [arm for arm, _ in again].count(OTHER) >= 8
    assert sequence_of(again[0][1]) >= sequence_of(last) > sequence_of(served[-1][1]) >= 1
    labels = [row["policy"] for row in sorted(rows, key=lambda row: row["at"])]
    assert len(set(labels)) >= 3
    assert labels[:40] == [label for _, label in served]
    assert "arm_alarm arm=small/instant direction=worse" in gateway.log_file.read_text()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
