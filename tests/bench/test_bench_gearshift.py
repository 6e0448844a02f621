import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.gateways import learned
from bench.gateways.base import Site
from bench.gateways.gearshift import KEY, Decisions, Gearshift, decisions
from bench.native import MissingTool
from policies.tables import load_pool
from router.config.load import load_config


@contextmanager
def exposing(text: str) -> Iterator[int]:
    class Metrics(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    with http.server.HTTPServer(("127.0.0.1", 0), Metrics) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_made_up_outcomes_are_a_pool_of_eight_arms(tmp_path: Path) -> None:
    pools = learned.write_outcomes(tmp_path, number=50)
    table = load_pool(tmp_path, pools, learned.POOL)
    assert len(table) == 50
    assert table.arm_names[:2] == ("bench-a/instant", "bench-a/reasoning:low")
    assert len(set(table.arm_names)) == 8
    assert 0 < table.scores.mean() < 1


def test_a_failed_training_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "gearshift"
    broken.write_text("#!/bin/sh\necho 'no such verb' >&2\nexit 2\n")
    broken.chmod(0o755)
    with pytest.raises(MissingTool, match="no such verb"):
        learned.fit("static", command=broken, build=tmp_path)


def test_the_gateway_accepts_its_configuration(tmp_path: Path) -> None:
    launch = Gearshift("static", build=tmp_path).prepare(Site(tmp_path, port=1, upstream_port=2))
    config = load_config(launch.argv[launch.argv.index("--config") + 1], env=launch.env)
    arms = {f"{name}/{mode}" for name, model in config.models.items() for mode in model.modes}
    assert arms == {f"{arm.model}/{arm.mode}" for arm in learned.ARMS}
    assert config.tenants["bench"].keys == [KEY]
    assert config.policy.artifact == str(tmp_path / "policy-static")


def test_pinned_names_one_arm_and_routed_names_none() -> None:
    pinned = replace(Gearshift(), pinned=True)
    assert pinned.fields("bench-plain") == {"model": "bench-a/instant", "user": "bench-plain"}
    assert Gearshift().fields("bench-paced-100") == {"model": "auto", "user": "bench-paced-100"}


def test_late_decisions_are_told_from_timely_ones_of_every_policy() -> None:
    text = (
        "# HELP gearshift_decisions_total Decisions\n"
        'gearshift_decisions_total{far="false",kind="draw",late="false",policy="linear@1"} 90.0\n'
        'gearshift_decisions_total{far="true",kind="draw",late="false",policy="linear@1"} 8.0\n'
        'gearshift_decisions_total{far="false",kind="late",late="true",policy="linear@1"} 2.0\n'
        'gearshift_decisions_created{far="false",kind="late",late="true",policy="linear@1"} 1.7e+09\n'
    )
    with exposing(text) as port:
        got = decisions(port)
    assert got == Decisions(total=100.0, late=2.0)
    assert got - Decisions(40.0, 1.0) == Decisions(60.0, 1.0)
