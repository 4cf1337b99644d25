"""The grid through papermill: pages that lack their records are executed, published, never redone.

A page is executed under results/.partial, where its trainings are kept as they end. When the whole
page has succeeded it is published: the executed notebook is moved to book/runs, then its records to
results. A sweep that is killed anywhere, even between the two, finishes when it is run again.

Trainings that differ in sparsity and seed only can run as one, ahead of their pages, as a GPU wants
them: their records are put where a page looks for what was trained before it was interrupted.
"""

import concurrent.futures
import contextlib
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sparseconv_lib.study import executors, provenance, records
from sparseconv_lib.study.errors import OneLineError
from sparseconv_lib.study.grid import Page, experiment, task_of
from sparseconv_lib.study.notebooks import forget_machine
from sparseconv_lib.study.paths import NOTEBOOKS, TOP, check_apart
from sparseconv_lib.study.protocol import BASELINES, ParameterError, preset, whole_number
from sparseconv_lib.study.records import Key

START_UP = 30.0  # seconds for a kernel, its imports and the data, which no record holds


class SweepError(OneLineError, RuntimeError):
    """A sweep that cannot go on; the message names the remedy."""


def missing_pages(names: Iterable[str], seeds: int | None = None, root: Path = TOP) -> list[Page]:
    """Pages of the named experiments that lack a record, most valuable first.

    Valuable is the lowest seed first, over all the experiments named: a whole table with a small n
    is worth more than half a table with a large one.
    """
    pages = [page for name in names for page in experiment(name).pages(seeds)]
    pages.sort(key=lambda page: page.seed)  # stable: within a seed, the order of the grid
    return [page for page in pages if missing_keys(page, root)]


def missing_keys(page: Page, root: Path = TOP) -> list[Key]:
    """The page's trainings that have no record; all of them if the executed page is not there.

    Raises RecordError for a record that cannot be read.
    """
    results = root / "results"
    if not (root / page.path).exists():
        return page.keys
    return [key for key in page.keys if records.find(key, results) is None]


def parse_budget(text: str | None) -> float:
    """Seconds in "90s", "8m", "1.5h" or plain seconds; infinity for None. Or ParameterError."""
    if text is None:
        return float("inf")
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not match or float(match[1]) == 0:
        raise ParameterError(f"budget is {text!r}; write a time such as 90s, 8m or 1.5h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


@dataclass(frozen=True)
class Ahead:
    """Pages of one protocol whose trainings run as one, network by network, before the pages."""

    pages: tuple[Page, ...]

    def __str__(self) -> str:
        number = len(self.pages)
        first = self.pages[0]
        return f"{first.experiment}/{first.protocol}, {number} page{'s' * (number > 1)}"


@dataclass
class Done:
    """What happened to one page: published, failed with an `error`, or left to another sweep.

    Or to the trainings ahead of several pages: done, or failed.
    """

    page: Page | Ahead
    seconds: float
    error: str | None = None
    skipped: bool = False

    def __str__(self) -> str:
        if self.skipped:
            return "left to another sweep, which is running it"
        what = "published" if isinstance(self.page, Page) else "trained"
        return self.error or f"{what} after {self.seconds:.0f} s"


def jobs(pages: list[Page], together: int, cpu_workers: int = 0) -> list[Page | Ahead]:
    """The pages, and where several are of one protocol that can be stacked, `together` at a time.

    In the order of the pages, or of the first of those that run as one. `cpu_workers`, each on a
    core of a CPU (0: on a GPU), share the pages of a protocol as evenly as stacks of at least two
    can; each page on photographs is then alone, since it fills gigabytes and keeps a core busy.
    """
    from sparseconv_lib.study.stacked import worth_stacking

    alike: dict[tuple[str, str, int], list[Page]] = {}
    for page in pages:
        protocol = preset(page.protocol, task_of(page.experiment))
        alone = cpu_workers and protocol.dataset == "caltech101"
        most = 1 if alone else min(together, worth_stacking(protocol))
        kind = f"{page.protocol}/{page.networks if page.apart else ''}" if most > 1 else page.name
        alike.setdefault((page.experiment, kind, most), []).append(page)
    found: list[Page | Ahead] = []
    for (_, _, most), several in alike.items():
        if cpu_workers and most > 1:
            rounds = math.ceil(len(several) / (most * cpu_workers))
            most = max(2, math.ceil(len(several) / (rounds * cpu_workers)))
        for start in range(0, len(several), most):
            part = several[start : start + most]
            found.append(Ahead(tuple(part)) if len(part) > 1 else part[0])
    return found


def sweep(
    pages: list[Page],
    *,
    workers: int,
    budget: float = float("inf"),
    together: int = 1,
    scheduler: str | None = None,
    train_only: bool = False,
    root: Path = TOP,
    report: Callable[[str], None] = print,
) -> list[Done]:
    """Executes `pages` in order, and publishes each as it ends.

    Args:
        workers: pages at a time, in processes of this machine.
        budget: in seconds; a page is started only if it can be expected to end in time, by the
            slowest page so far, or by the records that this device has. Nothing is known of a new
            device before its first pages, nor of trainings that run as one before the first that
            did, so those are started.
        together: trainings that differ in sparsity and seed only and run as one. On a machine with
            a GPU one job at a time trains, and beside it pages are executed; on any other as many
            jobs as there are workers, which share the trainings, each on one core.
        scheduler: the address of a dask cluster, such as tcp://host:8786, whose workers are used
            in the place of this machine's; see `executors.cluster`.
        train_only: leave the pages to a later sweep, which finds the trainings' records in
            results/.partial, there or wherever that folder has been carried.

    Returns what happened to each page, or with `train_only` to each stack of trainings.
    """
    whole_number("workers", workers, 1)
    whole_number("together", together, 1)
    _check_writable(root)
    began = time.monotonic()
    slowest = {"page": _recorded_seconds(pages, root), "stack": 0.0, "shown": START_UP}
    on_cpu = scheduler is None and not _has_gpu()
    waiting: list[Page | Ahead] = jobs(pages, together, workers if on_cpu else 0)
    finished: list[Done] = []
    if train_only:
        waiting = [job if isinstance(job, Ahead) else Ahead((job,)) for job in waiting]
    trained: set[Page | Ahead] = set()  # pages whose trainings are done
    one_device = together > 1 and scheduler is None and not on_cpu
    place = executors.cluster(scheduler, root) if scheduler else executors.processes(workers)
    with place as pool:
        running: dict[concurrent.futures.Future[Done], Page | Ahead] = {}

        def kind(job: Page | Ahead) -> str:
            return "stack" if isinstance(job, Ahead) else "shown" if job in trained else "page"

        def startable() -> Page | Ahead | None:
            if len(running) >= pool.count():
                return None
            taken = one_device and any(job not in trained for job in running.values())
            return next((job for job in waiting if job in trained or not taken), None)

        while waiting or running:
            while (job := startable()) is not None:
                left = budget - (time.monotonic() - began)
                expected = slowest[kind(job)]
                if left <= 0 or expected > left:
                    what = "stack" if isinstance(job, Ahead) else "page"
                    report(f"budget: {left:.0f} s left, a {what} takes {expected:.0f} s; stopping")
                    waiting.clear()
                    break
                waiting.remove(job)
                run = run_page if isinstance(job, Page) else train_ahead
                running[pool.submit(run, job, root)] = job
            if not running:
                break
            ended, _ = concurrent.futures.wait(
                running, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in ended:
                job = running.pop(future)
                done = _result(future, job)
                slowest[kind(job)] = max(slowest[kind(job)], done.seconds)
                if isinstance(job, Ahead):
                    report(f"{job}: {done}")
                    if train_only:
                        finished.append(done)
                        continue
                    waiting[:0] = job.pages
                    trained.update(() if done.error else job.pages)
                else:
                    finished.append(done)
                    report(f"[{len(finished)}/{len(pages)}] {job.experiment}/{job.name}: {done}")
    return finished


def _result(future: "concurrent.futures.Future[Done]", job: Page | Ahead) -> Done:
    try:
        return future.result()
    except concurrent.futures.CancelledError:  # a scheduler that went away takes all with it
        raise
    except concurrent.futures.BrokenExecutor:
        raise SweepError(
            f"a worker died while it ran {_name(job)}, perhaps for lack of memory; what was "
            "finished is kept: run the same command again, with fewer --workers or --together"
        ) from None
    except Exception as reason:  # of a cluster, whose workers die alone
        return Done(job, 0.0, _told(reason))


def _name(job: Page | Ahead) -> str:
    return job.path.name if isinstance(job, Page) else str(job)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _check_writable(root: Path) -> None:
    for folder in (root / "results", root / "book"):
        check_apart(folder / "runs")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise SweepError(f"cannot write to {folder}; run in a checkout that is yours")


def _recorded_seconds(pages: list[Page], root: Path) -> float:
    """The longest that a page of these experiments took on this device; 0 if none is recorded.

    Trainings that ran as one do not count: theirs is a share of a time.
    """
    import torch

    device = provenance.device_name("cuda" if torch.cuda.is_available() else "cpu")
    totals: dict[str, float] = {}
    for name in {page.experiment for page in pages}:
        for record in records.load(name, folder=root / "results"):
            source = record.content["provenance"]
            if source["device"] == device and "together" not in source:
                totals.setdefault(record.page, START_UP)
                totals[record.page] += source["seconds"]
    return max(totals.values(), default=0.0)


def run_page(page: Page, root: Path = TOP) -> Done:
    """Executes one page in this process's charge and publishes it; errors come back as text."""
    started = time.monotonic()
    error = None
    with _claimed(page, root) as stage:
        if stage is None:
            return Done(page, time.monotonic() - started, skipped=True)
        if missing_keys(page, root):  # else another sweep has done it in the meantime
            try:
                if not _whole(page, stage):
                    _execute(page, stage, root)
                _publish(page, stage, root)
            except Exception as reason:  # one bad page must not end the sweep
                error = _told(reason)
    return Done(page, time.monotonic() - started, error)


def train_ahead(job: Ahead, root: Path = TOP) -> Done:
    """Trains what these pages lack, and leaves each record where its page will look for it.

    Pages that another sweep is running are left to it. Errors come back as text.
    """
    import torch

    from sparseconv_lib.study import data, field_store, runner  # slow to import

    started = time.monotonic()
    first = job.pages[0]
    protocol = preset(first.protocol, task_of(first.experiment))
    with contextlib.ExitStack() as claims:
        todo: dict[str, list[tuple[Key, tuple[Path, str]]]] = {}
        for page in job.pages:
            stage = claims.enter_context(_claimed(page, root))
            if stage is None or _whole(page, stage):  # which also clears what is of no use there
                continue
            for key in missing_keys(page, root):
                if key.network in BASELINES:  # no training, and left to the page
                    continue
                made = (
                    records.find(key, folder) for folder in (root / "results", stage / "records")
                )
                if not any(made):
                    place = (stage / "records", str(page.path))
                    todo.setdefault(key.network, []).append((key, place))
        try:
            dataset = data.load(protocol.dataset)
            for several in todo.values():
                keys, places = zip(*several, strict=True)
                trained = runner.train_together(keys, protocol, dataset, places)
                for record, (folder, _) in zip(trained, places, strict=True):
                    records.write(record, folder)
        except Exception as reason:  # the pages may still succeed, one by one
            return Done(job, time.monotonic() - started, _told(reason))
        finally:
            field_store.clear()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # the next may run in another of the workers
    return Done(job, time.monotonic() - started)


def _told(reason: Exception) -> str:
    lines = str(reason).strip().splitlines() or [""]
    return f"failed: {type(reason).__name__}: {lines[-1]}"


@contextlib.contextmanager
def _claimed(page: Page, root: Path) -> Iterator[Path | None]:
    """The page's own folder under results/.partial while we hold its lock; None if another does."""
    import filelock

    stage = root / "results" / ".partial" / page.experiment / page.name
    stage.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(
        stage.with_name(f"{page.name}.lock")
    )  # the system lets go if we are killed
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        yield None
        return
    try:
        yield stage
        if not missing_keys(page, root):
            shutil.rmtree(stage, ignore_errors=True)
    finally:
        lock.release()


def _whole(page: Page, stage: Path) -> bool:
    """Whether `stage` holds the executed page with all its records; what is broken goes, and what
    was kept before the protocol of that name changed."""
    there = True
    for key in page.keys:
        try:
            record = records.find(key, stage / "records")
            if record and record.protocol != preset(key.protocol, task_of(key.experiment)):
                raise records.RecordError(f"{key}: made under another {key.protocol}")
            there = record is not None and there
        except records.RecordError:
            key.path(stage / "records").unlink()
            there = False
    return there and (stage / "page.ipynb").exists()


def _execute(page: Page, stage: Path, root: Path) -> None:
    """Runs the notebook; its records and, when all of it succeeded, page.ipynb are in `stage`."""
    import nbformat
    import papermill

    for key in page.keys:  # a record is never made again, though its page may be
        if record := records.find(key, root / "results"):
            with contextlib.suppress(FileExistsError):
                records.write(record, stage / "records")
    notebook = nbformat.read(NOTEBOOKS / f"{page.experiment}.ipynb", as_version=4)
    # A run page shows its own run only; these cells draw on other records.
    notebook.cells = [
        cell for cell in notebook.cells if "chapter" not in cell.metadata.get("tags", [])
    ]
    title, _, rest = notebook.cells[0].source.partition("\n")
    which = f"{page.networks[0]}, " if page.apart else ""
    notebook.cells[
        0
    ].source = f"{title}: {which}p = {page.sparsity:g}, seed {page.seed}, {page.protocol}\n{rest}"
    part = stage / "part.ipynb"
    given = {"SPARSECONV_STAGE": str(stage / "records"), "SPARSECONV_PAGE": str(page.path)}
    os.environ.update(given)
    papermill.execute_notebook(
        notebook,
        str(part),
        parameters=page.parameters,
        kernel_name="python3",
        progress_bar=False,
        cwd=str(NOTEBOOKS),
    )
    executed = nbformat.read(part, as_version=4)
    forget_machine(executed)
    nbformat.write(executed, part)
    os.replace(part, stage / "page.ipynb")


def _publish(page: Page, stage: Path, root: Path) -> None:
    """Moves the page to book/runs, then its records to results; safe to repeat."""
    kept = [records.read(key.path(stage / "records")) for key in page.keys
            if key.path(stage / "records").exists()]  # fmt: skip
    results = root / "results"
    there = {record.key for record in kept} | {k for k in page.keys if k.path(results).exists()}
    if lacking := [str(key) for key in page.keys if key not in there]:
        raise SweepError(f"the page ran but made no record of {', '.join(lacking)}")
    target = root / page.path
    check_apart(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(stage / "page.ipynb", target.with_suffix(".part"))
    os.replace(target.with_suffix(".part"), target)
    for record in kept:
        example = record.key.path(stage / "records").with_suffix(".npz")
        if example.exists():
            place = record.key.path(results).with_suffix(".npz")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(example, place.with_suffix(".npz.part"))
            os.replace(place.with_suffix(".npz.part"), place)
        with contextlib.suppress(FileExistsError):  # published before an interruption
            records.write(record, results)
