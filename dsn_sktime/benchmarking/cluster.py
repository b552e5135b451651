"""A dask cluster that joblib runs jobs on, and that may lose workers meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from dask.distributed import Client
from joblib import parallel_config
from joblib._dask import DaskDistributedBackend

__all__ = ["connect", "on_cluster"]


class _Backend(DaskDistributedBackend):
    """joblib's backend, which waits for ever for a task whose worker was killed.

    It (1.6) passes on results but no errors of dask's own. Here they are passed on too.
    """

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any]) -> Any:
        future = super().submit(func, callback)
        future.add_done_callback(lambda done: done.exception() and callback(done.exception()))
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        if isinstance(out, BaseException):
            raise out
        return super().retrieve_result_callback(out)


def connect(address: str) -> Client:
    """Connect to a dask scheduler.

    Raises
    ------
    ValueError
        If there is none at the address.
    """
    try:
        return Client(address, timeout="20s")
    except (OSError, ValueError) as error:
        raise ValueError(f"there is no dask scheduler at {address!r} ({error}).") from error


def on_cluster(client: Client) -> AbstractContextManager:
    """Return the context in which joblib's calls run on a cluster, closing the client after."""
    stack = ExitStack()
    stack.enter_context(client)
    stack.enter_context(parallel_config(_Backend(client=client), n_jobs=-1))
    return stack
