"""One thread for all that computes, libraries that are loaded late included."""

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from training.threads import one_thread


def test_one_thread_binds_blas_and_gives_back_what_there_was() -> None:
    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    if not threads():
        pytest.skip("numpy was built with a BLAS that threadpoolctl cannot bind")
    with threadpool_limits(limits=2):
        with one_thread():
            assert threads() == {1}
        assert threads() == {2}
        with pytest.raises(ZeroDivisionError), one_thread():
            _ = 1 / 0
        assert threads() == {2}


def test_a_library_is_loaded_before_its_threads_are_bound() -> None:
    with one_thread("lightgbm", "torch"):
        pools = threadpool_info()
        assert {pool["num_threads"] for pool in pools} == {1}
        assert any(pool["user_api"] == "openmp" for pool in pools)


def test_a_library_that_is_not_there_is_named() -> None:
    with pytest.raises(ImportError, match="no_such_library"), one_thread("no_such_library"):
        raise AssertionError("never entered")
