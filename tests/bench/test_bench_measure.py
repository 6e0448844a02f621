import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.fake import FakeUpstream
from bench.gateways.base import GatewayFailed, Launch, Site, running
from bench.gateways.nginx import Nginx
from bench.load import Target, run_wrk
from bench.measure import Bench, Cores, Effort, Row, measure, measure_direct, nonces
from bench.native import build
from bench.prompts import Workload

SMALL = Effort(seconds=0.1, min_requests=50, paced_streams=4, first_event_streams=4)
ROW = Row(30, unique=True, streams=True)


@dataclass(frozen=True)
class Canned:
    """A gateway that answers by itself and never asks the upstream; or one that ends at once."""

    argv: tuple[str, ...]
    name: str = "canned"

    def version(self) -> str:
        return "1"

    def prepare(self, site: Site) -> Launch:
        return Launch((*self.argv, str(site.port)), ready_path="/v1/models")

    def fields(self, answer: str) -> dict[str, str]:
        return {"model": answer}


def small(upstream: FakeUpstream, core: int) -> Bench:
    return Bench(upstream, Cores(core, core), SMALL, nonces())


def test_a_gateway_that_answers_from_a_cache_is_not_given_figures(upstream: FakeUpstream, core: int) -> None:
    got = measure(small(upstream, core), Canned((str(build("upstream")),)), [ROW])
    assert "upstream served 0" in str(got[ROW])


def test_a_gateway_that_ends_at_once_is_reported_with_its_last_words(upstream: FakeUpstream, core: int) -> None:
    got = measure(small(upstream, core), Canned(("python3", "-c", "raise SystemExit('no such thing')")), [ROW])
    assert "no such thing" in str(got[ROW])


def test_a_gateway_that_answers_something_else_is_refused(upstream: FakeUpstream, core: int, tmp_path: Path) -> None:
    serve = (
        "import http.server, sys\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_POST(self):\n"
        "        self.send_response(400); self.end_headers(); self.wfile.write(b'who are you')\n"
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()\n"
    )
    stranger = Canned(("python3", "-c", serve))
    with (
        pytest.raises(GatewayFailed, match="answered 400: b'who are you'"),
        running(stranger, folder=tmp_path, upstream_port=upstream.port, core=core),
    ):
        pass


def test_a_real_proxy_gets_every_figure(upstream: FakeUpstream, core: int) -> None:
    if shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin") is None:
        pytest.skip("nginx is not installed; run bench/setup.sh")
    figures = measure(small(upstream, core), Nginx(), [ROW])[ROW]
    assert not isinstance(figures, str), figures
    # No CPU figure here: over so few requests it may round to no tick at all.
    wanted = {"rps", "p50_ms", "p99_ms", "rss_mb", "ready_s", "first_answer_s", "paced_alone_share", "requests"}
    assert {name for name in wanted if figures[name] <= 0} == set()
    assert {"cpu_ms", "cpu_store_ms", "burst_us_per_event", "added_p50_ms", "connections"} <= figures.keys()
    assert figures["half_rps"] == pytest.approx(figures["rps"] / 2)


def test_the_upstream_alone_is_measured(upstream: FakeUpstream, core: int) -> None:
    got = measure_direct(small(upstream, core))
    assert min(got.values()) > 0
    assert got["upstream_paced_streams_per_s"] <= 512 / 1.02


def test_wrk_sends_what_the_other_generator_sends(upstream: FakeUpstream, core: int) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed; run bench/setup.sh")
    work = Workload((("model", "bench-plain"),), words=30, unique=True)
    before = upstream.served()["plain"]
    rate = run_wrk(Target(upstream.port), work, connections=2, seconds=1, nonce=0, core=core)
    assert upstream.served()["plain"] - before == pytest.approx(rate, rel=0.2)
