"""The grid through papermill: pages that lack their records are executed, published, never redone.

A page is executed under results/.partial, where its trainings are kept as they end. When the whole
page has succeeded it is published: the executed notebook is moved to book/runs, then its records to
results. A sweep that is killed anywhere, even between the two, finishes when it is run again.
"""

import concurrent.futures
import contextlib
import multiprocessing
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sparseconv_lib.study import provenance, records
from sparseconv_lib.study.errors import OneLineError
from sparseconv_lib.study.grid import Page, experiment, task_of
from sparseconv_lib.study.notebooks import forget_machine
from sparseconv_lib.study.paths import NOTEBOOKS, RESULTS, ROOT
from sparseconv_lib.study.processes import children_keep_freed_memory, end_children, end_with_parent
from sparseconv_lib.study.protocol import ParameterError, preset, whole_number
from sparseconv_lib.study.records import Key

START_UP = 30.0  # seconds for a kernel, its imports and the data, which no record holds


class SweepError(OneLineError, RuntimeError):
    """A sweep that cannot go on; the message names the remedy."""


def missing_pages(names: Iterable[str], seeds: int | None = None, root: Path = ROOT) -> list[Page]:
    """Pages of the named experiments that lack a record, most valuable first.

    Valuable is the lowest seed first, over all the experiments named: a whole table with a small n
    is worth more than half a table with a large one.
    """
    pages = [page for name in names for page in experiment(name).pages(seeds)]
    pages.sort(key=lambda page: page.seed)  # stable: within a seed, the order of the grid
    return [page for page in pages if missing_keys(page, root)]


def missing_keys(page: Page, root: Path = ROOT) -> list[Key]:
    """The page's trainings that have no record; all of them if the executed page is not there.

    Raises RecordError for a record that cannot be read.
    """
    results = root / RESULTS.relative_to(ROOT)
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


@dataclass
class Done:
    """What happened to one page: published, failed with an `error`, or left to another sweep."""

    page: Page
    seconds: float
    error: str | None = None
    skipped: bool = False

    def __str__(self) -> str:
        if self.skipped:
            return "left to another sweep, which is running it"
        return self.error or f"published after {self.seconds:.0f} s"


def sweep(
    pages: list[Page],
    *,
    workers: int,
    budget: float = float("inf"),
    root: Path = ROOT,
    report: Callable[[str], None] = print,
) -> list[Done]:
    """Executes `pages` on `workers` processes, in order, and publishes each as it ends.

    With a budget in seconds, a page is started only if it can be expected to end in time, by the
    slowest page so far, or by the records that this device has. Nothing is known of a new device
    before its first pages, so those are started.
    """
    whole_number("workers", workers, 1)
    _check_writable(root)
    began = time.monotonic()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["SPARSECONV_PROCESSES"] = "1"  # the sweep's workers are all the parallelism
    os.environ.setdefault("SPARSECONV_COMMIT", provenance.commit())
    slowest = _recorded_seconds(pages, root)
    waiting, finished = list(pages), []
    spawn = multiprocessing.get_context("spawn")
    with (
        children_keep_freed_memory(),
        concurrent.futures.ProcessPoolExecutor(workers, spawn, end_with_parent) as pool,
    ):
        running: dict[concurrent.futures.Future[Done], Page] = {}
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    left = budget - (time.monotonic() - began)
                    if left <= 0 or slowest > left:
                        report(f"budget: {left:.0f} s left, a page takes {slowest:.0f} s; stopping")
                        waiting.clear()
                        break
                    page = waiting.pop(0)
                    running[pool.submit(run_page, page, root)] = page
                if not running:
                    break
                ended, _ = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for future in ended:
                    page = running.pop(future)
                    try:
                        done = future.result()
                    except concurrent.futures.BrokenExecutor:
                        raise SweepError(
                            f"a worker died while it ran {page.path.name}, perhaps for lack of "
                            "memory; what was finished is kept: run the same command again, with "
                            "fewer --workers"
                        ) from None
                    finished.append(done)
                    slowest = max(slowest, done.seconds)
                    report(f"[{len(finished)}/{len(pages)}] {page.experiment}/{page.name}: {done}")
        except BaseException:
            end_children()  # leaving the pool would wait for them
            raise
    return finished


def _check_writable(root: Path) -> None:
    for folder in (root / "results", root / "book"):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise SweepError(f"cannot write to {folder}; run in a checkout that is yours")


def _recorded_seconds(pages: list[Page], root: Path) -> float:
    """The longest that a page of these experiments took on this device; 0 if none is recorded."""
    import torch

    device = provenance.device_name("cuda" if torch.cuda.is_available() else "cpu")
    totals: dict[str, float] = {}
    for name in {page.experiment for page in pages}:
        for record in records.load(name, folder=root / "results"):
            source = record.content["provenance"]
            if source["device"] == device:
                totals.setdefault(record.page, START_UP)
                totals[record.page] += source["seconds"]
    return max(totals.values(), default=0.0)


def run_page(page: Page, root: Path = ROOT) -> Done:
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
                lines = str(reason).strip().splitlines() or [""]
                error = f"failed: {type(reason).__name__}: {lines[-1]}"
    return Done(page, time.monotonic() - started, error)


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
