"""A sweep on a dask cluster: a real scheduler and two workers, one of which is killed."""

import asyncio
import concurrent.futures
import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from test_sweep import (  # noqa: F401
    BOTH,
    alive,
    checkout,
    gone,
    hanging,
    start,
    whole,
    without_jupyter,
)

from sparseconv_lib.study import executors, provenance
from sparseconv_lib.study.executors import ExecutorError


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextlib.contextmanager
def scheduler():
    """The address of one that runs on this machine."""
    address = f"tcp://127.0.0.1:{free_port()}"
    host, port = address.removeprefix("tcp://").split(":")
    with running("scheduler", "--host", host, "--port", port, "--no-dashboard", "--no-show"):
        until = time.monotonic() + 60
        while time.monotonic() < until:  # it takes a while to listen
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection((host, int(port))).close()
                break
            time.sleep(0.1)
        yield address


@contextlib.contextmanager
def running(*command, cwd=None, **environment):
    """One of dask's commands, until the block ends."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    with subprocess.Popen(
        [sys.executable, "-m", "dask", *command],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def workers(address, checkout, threads="1"):
    options = ("--nworkers", "2", "--nthreads", threads, "--no-dashboard")
    return running(
        *("worker", address, *options, "--local-directory", str(checkout.folder / "dask")),
        cwd=checkout.path,
        PYTHONPATH=str(checkout.path),
        STUB=str(checkout.folder),
    )


def test_a_worker_that_is_killed_costs_only_the_training_it_was_at(checkout):
    """Both pages hang at their third training. One worker is killed: a worker does its page again,
    and takes from it what was trained. Every record is whole, and none was made twice."""
    checkout.switch("hang-2")
    with (
        scheduler() as address,
        workers(address, checkout),
        start(checkout, "--scheduler", address) as process,
    ):
        (kernel, worker), (_, other) = hanging(checkout, 2, process)
        assert worker != other
        os.kill(worker, signal.SIGKILL)
        assert gone([worker, kernel], within=60)
        checkout.switch("hang-2", on=False)
        said, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert said.splitlines()[0] == f"2 pages to run (8 trainings), on {address}"
        assert said.splitlines()[-1] == "2 published, 0 failed"
        assert without_jupyter(errors) == ""
        assert alive(other)
    whole(checkout, BOTH)


def test_workers_with_several_threads_or_other_code_are_refused(checkout, monkeypatch):
    with (
        scheduler() as address,
        workers(address, checkout, threads="2"),
        pytest.raises(ExecutorError, match="has 2 threads; start workers with --nthreads 1"),
        executors.cluster(address, checkout.path),
    ):
        pass
    with scheduler() as address, workers(address, checkout):
        with executors.cluster(address, checkout.path) as pool:
            assert pool.count() in (1, 2)
            code = pool.submit(provenance.code_identity).result(timeout=60)
            assert code == provenance.code_identity()
            assert pool.submit(os.getenv, "SPARSECONV_PROCESSES").result(timeout=60) == "1"
        monkeypatch.setattr(provenance, "code_identity", lambda *_, **__: "another")
        with (
            pytest.raises(ExecutorError, match="has other code in"),
            executors.cluster(address, checkout.path),
        ):
            pass


def test_a_lost_scheduler_is_told_from_a_full_disk(checkout):
    """What goes wrong in the sweep itself while the scheduler is there is not the scheduler's."""
    with scheduler() as address, workers(address, checkout):
        with (
            pytest.raises(OSError, match="No space left on device"),
            executors.cluster(address, checkout.path),
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with executors.cluster(address, checkout.path) as pool:
            assert pool.submit(abs, -1).result(timeout=60) == 1

    def wait_for_what_never_comes():
        with contextlib.ExitStack() as cluster:
            address = cluster.enter_context(scheduler())
            cluster.enter_context(workers(address, checkout))
            with executors.cluster(address, checkout.path) as pool:
                future = pool.submit(time.sleep, 60)
                cluster.close()
                future.result(timeout=60)

    with pytest.raises(ExecutorError, match=r"went away .*; what was finished is kept"):
        wait_for_what_never_comes()


def test_nobody_answers(monkeypatch, tmp_path):
    for address in (
        f"tcp://127.0.0.1:{free_port()}",
        f"tls://127.0.0.1:{free_port()}",
        "nonsense",
        "tcp://",
        "tcp://no.such.host.invalid:8786",
    ):
        began = time.monotonic()
        with (
            pytest.raises(ExecutorError, match="start one with `dask scheduler`") as error,
            executors.cluster(address, tmp_path),
        ):
            pass
        assert "\n" not in str(error.value)
        assert time.monotonic() - began < executors.PATIENCE

    async def within_a_loop():  # as in a notebook
        with executors.cluster(f"tcp://127.0.0.1:{free_port()}", tmp_path):
            pass

    # In a thread of its own: playwright leaves a running loop in this one.
    with (
        pytest.raises(ExecutorError, match="Connection refused"),
        concurrent.futures.ThreadPoolExecutor(1) as thread,
    ):
        thread.submit(lambda: asyncio.run(within_a_loop())).result()
    monkeypatch.setattr(executors, "PATIENCE", 2)
    with (
        scheduler() as address,
        pytest.raises(ExecutorError, match=f"no worker at {address}; start some with"),
        executors.cluster(address, tmp_path),
    ):
        pass


def test_without_dask(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(ExecutorError, match="pip install"),
        executors.cluster("tcp://127.0.0.1:1", tmp_path),
    ):
        pass


def test_processes_are_the_same_code(monkeypatch):
    with executors.processes(2) as pool:
        assert pool.count() == 2
        assert pool.submit(os.getenv, "SPARSECONV_PROCESSES").result() == "1"
        assert pool.submit(os.getenv, "SPARSECONV_COMMIT").result() == provenance.commit()
