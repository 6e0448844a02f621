"""A worker process: one event loop that serves the application on the supervisor's listening socket."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType

import uvicorn
import uvloop

from router import budget_watch
from router.alerts import Alerts
from router.answering import most_seconds_of_request
from router.app import create_app
from router.brief import Brief, read_local_news
from router.config.budgets import outage_holds
from router.directory.follower import DirectoryFollower
from router.gateway import Gateway
from router.http.boundary import log_place
from router.http.protocol import make_protocol
from router.metrics import settle_process_id
from router.online.follower import Follower
from router.store.place import data_dir, lease_of, make_store
from router.store.valkey import ValkeyStore
from router.upstreams.local import LocalNews, LocalUpstream
from router.upstreams.openai import open_session
from router.wiring import make_gateway, make_setup
from router.workers_lock import worker_lock

log = logging.getLogger(__name__)
PUBLISH_EVERY_S = 2.0
GC_THRESHOLDS = (20_000, 20, 50)  # a request leaves few cycles; the default, 700, collects every few requests
ORPHAN_S, SETTLE_S = 1, 5.0


class DrainingServer(uvicorn.Server):
    """uvicorn's server; from the first signal on, new requests on open connections get 503."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """For good: uvicorn's own raises the signal again once it has served, and nobody would settle or sign off."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._gateway.admission.draining = True
        super().handle_exit(sig, frame)

    def orphaned(self) -> None:
        """The supervisor is gone, and with it the embedded store: end soon, so that the next start can recover."""
        log.warning("the supervisor is gone; this worker ends")
        self.config.timeout_graceful_shutdown = ORPHAN_S
        self.handle_exit(signal.SIGTERM, None)

    async def last_words(self) -> None:
        """Wait for requests that were cancelled to settle."""
        if tasks := set(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=SETTLE_S)


async def run(brief: Brief, told: Iterator[bytes]) -> None:
    """Serve until told to stop; requests in flight are answered and settled first. `told`: later configurations."""
    longest_s = most_seconds_of_request(brief.config)
    store = make_store(brief.config.store, name=brief.name, fallen=brief.fallen, longest_s=longest_s)
    news = LocalNews(brief.local_problem)
    local = partial(LocalUpstream, news=news)
    async with open_session() as session:
        starting = asyncio.create_task(store.start())
        gateway = await make_gateway(
            brief.config,
            config_hash=brief.config_hash,
            store=store,
            session=session,
            secret=brief.secret,
            local=local,
        )
        await starting
        follower = Follower(store, gateway.metrics)
        directory = DirectoryFollower(store, secret=brief.secret)
        gateway.setup = directory.take(follower.take(gateway.setup))
        await asyncio.gather(follower.look(gateway), directory.look(gateway))
        await store.keep_slices(lambda: outage_holds(gateway.setup.config))
        server = _server(gateway, brief)

        def reload(line: bytes) -> None:
            problem = read_local_news(line)
            if problem is not None:
                news.problem = problem
                return
            try:
                fresh = Brief.load(line)
                setup = make_setup(
                    fresh.config,
                    config_hash=fresh.config_hash,
                    encoder=gateway.encoder.encoder,
                    session=session,
                    secret=fresh.secret,
                    local=local,
                )
                store.lease_s = lease_of(most_seconds_of_request(fresh.config))
                gateway.setup = directory.take(follower.take(setup))
            except Exception as error:  # the supervisor validated it; what is left must not take a serving process down
                log.error("the new configuration was not taken; the old one stays in force")
                log_place(error)  # without its message, which may quote a key
                return
            log.info("configuration %s is in force", fresh.config_hash)

        _settle_garbage_collector()
        _listen_to_supervisor(asyncio.get_running_loop(), told, reload=reload, server=server)
        alerts = Alerts(session)
        forever = (
            _publish(gateway, store),
            budget_watch.watch(gateway, store, alerts),
            follower.follow(gateway),
            directory.follow(gateway),
        )
        beside = [asyncio.create_task(each) for each in forever]
        try:
            await server.serve(sockets=[socket.socket(fileno=brief.socket_fd)])
        finally:
            await server.last_words()
            for task in beside:
                task.cancel()
            await alerts.aclose()
            await gateway.setup.deployments.aclose()
            gateway.encoder.close()
            await store.aclose()


def _settle_garbage_collector() -> None:
    """What is loaded now stays: the collector need not look at it again, nor run after every few requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _server(gateway: Gateway, brief: Brief) -> DrainingServer:
    settings = brief.config.server
    config = uvicorn.Config(
        create_app(gateway, metrics_dir=brief.metrics_dir, version=brief.version),
        loop="none",
        http=make_protocol(settings.limits),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(settings.drain_s),
    )
    return DrainingServer(config, gateway)


def told_by_supervisor(fd: int) -> Iterator[bytes]:
    """The lines of the supervisor's pipe as they come; its end means that the supervisor is gone.

    Not ``sys.stdin``: the thread that waits in it holds its lock, and Python aborts when it ends meanwhile.
    """
    rest = b""
    while data := os.read(fd, 2**16):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def _listen_to_supervisor(
    loop: asyncio.AbstractEventLoop,
    told: Iterator[bytes],
    *,
    reload: Callable[[bytes], None],
    server: DrainingServer,
) -> None:
    """New configurations arrive as lines; the end of the pipe means that the supervisor is gone: drain and leave."""

    def listen() -> None:
        for line in told:
            loop.call_soon_threadsafe(reload, line)
        with contextlib.suppress(RuntimeError):  # the loop may have ended first
            loop.call_soon_threadsafe(server.orphaned)

    threading.Thread(target=listen, name="supervisor-pipe", daemon=True).start()


async def _publish(gateway: Gateway, store: ValkeyStore, *, every_s: float = PUBLISH_EVERY_S) -> None:
    """Copy what other parts count into the series, for good: what fails once is tried again."""
    metrics, hits, misses = gateway.metrics, 0, 0
    while True:
        encoder = gateway.encoder
        try:
            metrics.encoder_cache_hits.inc(encoder.hits - hits)
            metrics.encoder_cache_misses.inc(encoder.misses - misses)
            hits, misses = encoder.hits, encoder.misses
            _show_standing(gateway, store)
        except Exception as error:
            log_place(error)
        await asyncio.sleep(every_s)


def _show_standing(gateway: Gateway, store: ValkeyStore) -> None:
    metrics, deployments = gateway.metrics, gateway.setup.deployments
    metrics.spool_rows.set(store.waiting_rows)
    metrics.set_aside(store.outage_left)
    now = deployments.clock()
    for model in gateway.setup.standing_for:
        for endpoint in deployments.of(model):
            metrics.breaker_open.labels(endpoint.name).set(not endpoint.breaker.usable(now))


def main() -> None:
    """Read the brief from standard input and serve."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn.error").name = "uvicorn"  # "uvicorn.error: Started" reads like a failure
    told = told_by_supervisor(sys.stdin.fileno())
    brief = Brief.load(next(told))
    settle_process_id()
    with worker_lock(data_dir(brief.config.store)), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(brief, told))


if __name__ == "__main__":
    main()
