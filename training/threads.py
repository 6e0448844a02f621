"""One thread for all that computes: the same bytes on every machine, and small steps run faster without a crowd."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def one_thread(*libraries: str) -> Iterator[None]:
    """Within the block, or the function it decorates, BLAS, OpenMP and torch use one thread; then as many as before.

    A sum is split by threads, and so rounded by their number. Only what is loaded already can be told, so the block's
    ``libraries`` are imported first: LightGBM on one thread still starts a crowd that waits for it, which takes
    most of a fit's time where cores are shared.

    Raises:
        ImportError: A library is not installed.
    """
    from threadpoolctl import threadpool_limits

    loaded = {name: import_module(name) for name in libraries}
    torch = loaded.get("torch")
    before = None if torch is None else torch.get_num_threads()
    with threadpool_limits(limits=1):
        if torch is not None:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch is not None:
                torch.set_num_threads(before)
