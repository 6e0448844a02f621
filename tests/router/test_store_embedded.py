"""The embedded server: one per data directory, gone with its supervisor, never cut short."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import redis

from router.config.schema import StoreConfig
from router.store.base import StoreUnavailable
from router.store.embedded import EmbeddedValkey, StoreBusy, is_answering, is_gateway_up, socket_path
from router.store.place import open_store_for_cli, store_url

SUPERVISOR = """
import sys
from pathlib import Path
from router.store.embedded import EmbeddedValkey
server = EmbeddedValkey(Path(sys.argv[1]))
server.start()
print(server.process.pid, flush=True)
sys.stdin.read()
server.stop()
"""


def client(server: EmbeddedValkey) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(server.socket))


def supervisor(directory: Path) -> tuple[subprocess.Popen[str], psutil.Process]:
    """A process that runs a server, and that server."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, psutil.Process(int(process.stdout.readline()))


def closed(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.wait(20)
    process.stdout.close()


def test_data_survives_a_restart(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as server:
        client(server).set("k", "v")
    assert not is_answering(tmp_path)
    with EmbeddedValkey(tmp_path) as server:
        assert client(server).get("k") == b"v"


def test_it_is_ready_in_half_a_second(tmp_path: Path) -> None:
    times_s = []
    for _ in range(3):  # the best of three: the machine may be busy
        began_s = time.perf_counter()
        with EmbeddedValkey(tmp_path):
            times_s.append(time.perf_counter() - began_s)
    assert min(times_s) <= 0.5


def test_only_its_user_reaches_it_and_no_port_is_open(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "data") as server:
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert server.process is not None
        assert [c for c in psutil.Process(server.process.pid).net_connections("inet") if c.status == "LISTEN"] == []
        settings = client(server).config_get("*")
    assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "everysec")
    assert (settings["save"], settings["maxmemory-policy"]) == ("", "noeviction")


def test_a_deep_directory_gets_a_short_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    assert len(os.fsencode(socket_path(deep))) < 108
    with EmbeddedValkey(deep) as server:
        assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700
        assert client(server).ping()
    server.socket.parent.rmdir()


def test_a_second_gateway_on_the_directory_is_refused(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path), pytest.raises(StoreBusy, match=f"process {os.getpid()}"):
        EmbeddedValkey(tmp_path).start(wait_s=0.0)


def test_kill_9_of_the_supervisor_ends_the_server_and_the_next_start_has_its_data(tmp_path: Path) -> None:
    process, valkey = supervisor(tmp_path)
    client(EmbeddedValkey(tmp_path)).set("k", "v")
    process.kill()
    with EmbeddedValkey(tmp_path) as server:  # waits for the old server by itself
        assert client(server).get("k") == b"v"
        assert not valkey.is_running() or valkey.status() == psutil.STATUS_ZOMBIE
    closed(process)


def test_the_lock_lasts_as_long_as_the_server(tmp_path: Path) -> None:
    process, valkey = supervisor(tmp_path)
    valkey.suspend()  # SIGTERM waits: as a server that still writes
    process.kill()
    process.wait(20)
    with pytest.raises(StoreBusy):
        EmbeddedValkey(tmp_path).start(wait_s=0.05)
    valkey.resume()
    with EmbeddedValkey(tmp_path) as server:
        assert client(server).ping()
    closed(process)


def test_an_interrupt_of_the_terminal_does_not_reach_the_server(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as server:
        assert server.process is not None
        assert os.getpgid(server.process.pid) != os.getpgid(0)


def test_a_server_that_is_slow_to_stop_is_left_to_finish(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    server.start()
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    with pytest.raises(StoreBusy, match="left running"):
        server.stop(wait_s=0.05)
    server.process.send_signal(signal.SIGCONT)
    server.stop()
    assert not is_answering(tmp_path)


def test_a_server_that_cannot_read_its_data_says_where_its_log_is(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("not a folder")
    with pytest.raises(StoreUnavailable, match=r"valkey\.log"):
        EmbeddedValkey(tmp_path).start()
    (tmp_path / "appendonlydir").unlink()
    with EmbeddedValkey(tmp_path) as server:  # the lock was released
        assert client(server).ping()


def test_the_cli_reads_the_store_whether_the_gateway_is_up_or_down(tmp_path: Path) -> None:
    config = StoreConfig(dir=str(tmp_path))
    with EmbeddedValkey(tmp_path) as server:
        client(server).set("k", "v")
        with open_store_for_cli(config) as url:
            assert redis.Redis.from_url(url).get("k") == b"v"
        assert is_answering(tmp_path)
    with open_store_for_cli(config) as url:
        assert redis.Redis.from_url(url).get("k") == b"v"
    assert not is_answering(tmp_path)


def test_the_cli_makes_no_store_where_none_was(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreUnavailable, match="no gateway has run"),
        open_store_for_cli(StoreConfig(dir=str(tmp_path / "none"))),
    ):
        pass
    assert not (tmp_path / "none").exists()


def test_a_shared_store_is_used_by_its_url() -> None:
    with open_store_for_cli(StoreConfig(url="redis://db:6379/1")) as url:
        assert url == store_url(StoreConfig(url="redis://db:6379/1")) == "redis://db:6379/1"


def test_the_cli_does_not_join_a_server_whose_gateway_is_dead(tmp_path: Path) -> None:
    process, valkey = supervisor(tmp_path)
    process.kill()
    process.wait(20)  # its server may well answer still
    with open_store_for_cli(StoreConfig(dir=str(tmp_path))) as url:
        assert not valkey.is_running() or valkey.status() == psutil.STATUS_ZOMBIE
        assert redis.Redis.from_url(url).ping()
    closed(process)


def test_a_second_reader_waits_for_the_first(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path, holder="reader"):
        assert not is_gateway_up(tmp_path)
        with pytest.raises(StoreBusy):
            EmbeddedValkey(tmp_path, holder="reader").start(wait_s=0.0)


def test_a_server_that_died_is_started_again_under_the_same_lock(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as server:
        assert server.process is not None
        client(server).set("k", "v")
        server.process.kill()
        server.process.wait(20)
        assert not server.is_running()
        server.start()
        assert client(server).get("k") == b"v"
        assert is_gateway_up(tmp_path)
    assert not is_gateway_up(tmp_path)
