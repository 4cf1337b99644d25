"""Where a sweep's pages run: processes of this machine, or a dask cluster.

Both are used as `concurrent.futures` uses executors; nothing here schedules anything.
"""

import asyncio
import concurrent.futures
import contextlib
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, TypeVar

from sparseconv_lib.study import provenance
from sparseconv_lib.study.errors import OneLineError
from sparseconv_lib.study.processes import (
    children_keep_freed_memory,
    end_children,
    end_with_parent,
)

T = TypeVar("T")
REACH = 4  # seconds to reach the machine of a cluster's scheduler
PATIENCE = 60  # seconds for the scheduler to answer, and for its first worker to come


class ExecutorError(OneLineError, RuntimeError):
    """Workers that cannot be used; the message names the remedy."""


class Workers:
    """An executor, and how many jobs it should be given at a time."""

    def __init__(
        self, executor: Executor, count: Callable[[], int], code: str | None = None
    ) -> None:
        self.executor, self.count, self.code = executor, count, code
        self.environment = {"SPARSECONV_COMMIT": provenance.commit(), "SPARSECONV_PROCESSES": "1"}

    def submit(self, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Runs `function` in a worker, where all the parallelism is that of the workers."""
        return self.executor.submit(_in_worker, self.code, self.environment, function, *arguments)


def _in_worker(
    code: str | None, environment: dict[str, str], function: Callable[..., T], *arguments: Any
) -> T:
    if code is not None:  # a worker of a cluster, which may have come after the first were checked
        from distributed import get_worker

        worker = get_worker()
        if worker.state.nthreads > 1 or provenance.code_identity() != code:
            raise ExecutorError(
                f"the worker {worker.address} has several threads or other code; start it with "
                "--nthreads 1 from this checkout"
            )
    os.environ.update(environment)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return function(*arguments)


@contextlib.contextmanager
def processes(workers: int) -> Iterator[Workers]:
    """`workers` processes of this machine, which end with this one, or where it is interrupted."""
    spawn = multiprocessing.get_context("spawn")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when a process starts
    with (
        children_keep_freed_memory(),
        concurrent.futures.ProcessPoolExecutor(workers, spawn, end_with_parent) as pool,
    ):
        try:
            yield Workers(pool, lambda: workers)
        except BaseException:
            end_children()  # leaving the pool would wait for them
            raise


@contextlib.contextmanager
def cluster(address: str, root: Path) -> Iterator[Workers]:
    """The workers of a dask scheduler, however many come and go.

    Each must see the checkout `root` under the same path, with the same code, and have one thread:
    a page tells its kernel by the environment, which threads share. Raises ExecutorError where that
    is not so, where nobody answers at `address`, or where dask is not installed.
    """
    try:
        from distributed import Client
        from distributed.comm import CommClosedError
    except ImportError:
        raise ExecutorError("dask is not installed; pip install '.[cluster]'") from None
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as apart:  # here a loop may run: in Jupyter
            apart.submit(_ask, address).result()
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except Exception as reason:  # dask's own errors, the system's, or those of a bad address
        told = (str(reason) and _first_line(reason)) or "no answer"
        raise ExecutorError(
            f"no dask scheduler at {address} ({told}); start one with `dask scheduler`"
        ) from None
    with client:
        _check(client, address, root)
        executor = client.get_executor(pure=False)
        try:
            ours = provenance.code_identity(root=root)
            yield Workers(executor, lambda: max(1, len(client.nthreads())), ours)
        except (OSError, concurrent.futures.CancelledError) as reason:
            lost = (CommClosedError, concurrent.futures.CancelledError)
            if not isinstance(reason, lost) and client.status == "running":
                raise  # a full disk, say
            raise ExecutorError(
                f"the scheduler at {address} went away ({_first_line(reason)}); what was "
                "finished is kept: run the same command again"
            ) from None
        finally:
            executor.shutdown(wait=False)  # after an interruption, what runs there is let go


def _ask(address: str) -> None:
    asyncio.run(asyncio.wait_for(_identity(address), PATIENCE))


async def _identity(address: str) -> None:
    """Asks a scheduler who it is: a Client that finds none is a traceback and half a minute."""
    from distributed import rpc
    from distributed.comm import get_address_host_port
    from distributed.security import Security

    _wait_for(get_address_host_port(address))
    how = Security().get_connection_args("client")  # by dask's configuration, as a Client connects
    async with rpc(address, connection_args=how) as scheduler:
        await scheduler.identity()


def _wait_for(place: tuple[str, int]) -> None:
    """Until somebody listens there; an OSError after REACH seconds. dask would go on trying."""
    until = time.monotonic() + REACH
    while True:
        try:
            socket.create_connection(place, REACH).close()
            return
        except ConnectionRefusedError:  # perhaps it is just starting
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def _first_line(reason: Exception) -> str:
    return (str(reason).splitlines() or [type(reason).__name__])[0][:100]


def _check(client: Any, address: str, root: Path) -> None:
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError:
        raise ExecutorError(
            f"no worker at {address}; start some with `dask worker {address} --nthreads 1`"
        ) from None
    threads = max(client.nthreads().values())
    if threads > 1:
        raise ExecutorError(
            f"a worker at {address} has {threads} threads; start workers with --nthreads 1"
        )
    try:
        found = client.run(_code_in, root)
    except Exception as reason:
        raise ExecutorError(
            f"a worker at {address} cannot run this code ({_first_line(reason)}); install this "
            "checkout where its workers run"
        ) from None
    ours = provenance.code_identity(root=root)
    for worker, code in found.items():
        if code != ours:
            raise ExecutorError(
                f"the worker {worker} has other code in {root}, or none; all workers must see this "
                "checkout under that path"
            )


def _code_in(root: Path) -> str | None:
    try:
        return provenance.code_identity(root=root)
    except OSError:
        return None
