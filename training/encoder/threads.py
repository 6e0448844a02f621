"""One thread for all that computes: the same bytes on every machine, and small steps run faster without a crowd."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the block, or the function it decorates, torch, BLAS and OpenMP use one thread; then as many as before.

    A sum is split by threads, and so rounded by their number.
    """
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits(limits=1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
