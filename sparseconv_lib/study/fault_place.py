"""A place to do faults to: a sweep of few pages, what it has left, and what is wrong with that.

So that a hundred faults take minutes, a sweep here is a fork of this process: the sweep, its
workers and what stands for a kernel, in one process group, with a stub for the training.
"""

import contextlib
import multiprocessing
import os
import random
import signal
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import papermill
import psutil
import torch

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import data, records, runner, sweep
from sparseconv_lib.study.errors import OneLineError
from sparseconv_lib.study.fault_counts import Count
from sparseconv_lib.study.grid import Page
from sparseconv_lib.study.images import Images, draw_masks
from sparseconv_lib.study.protocol import Protocol
from sparseconv_lib.study.records import Key, Record
from sparseconv_lib.study.training import Outcome

NOTES = "SPARSECONV_FAULTS"  # names the folder of what trainings note and are told
IMAGES = 40  # generated ones to train on
GREEDY = "SparseConvNet"  # which finds no memory where it is told so
PATIENCE = 600.0  # seconds after which a sweep hangs
PAGES = [Page("mnist", "as_written", p, seed, NETWORKS) for seed in (0, 1) for p in (0.0, 0.5)]

CELL = """\
from sparseconv_lib.study import fault_place
fault_place.train(sparsity, protocol, networks, seed)"""


class FaultError(OneLineError, RuntimeError):
    """A fault that cannot be done here."""


@dataclass
class Place:
    """A checkout to sweep into, and the folder where its trainings note that they have begun."""

    root: Path
    notes: Path
    pages: list[Page] = field(default_factory=lambda: list(PAGES))

    @property
    def keys(self) -> list[Key]:
        return [key for page in self.pages for key in page.keys]

    def begun(self) -> list[str]:
        log = self.notes / "begun"
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    def published(self) -> dict[Path, bytes]:
        """The content of each file that stands under the name of a record or an example."""
        found = (self.root / "results").glob("*/*/*")
        return {
            path: path.read_bytes()
            for path in found
            if path.suffix in (".json", ".npz") and ".partial" not in path.parts
        }

    def whole(self) -> set[str]:
        """The trainings that have a whole record, published or waiting for their page."""
        stages = [
            self.root / "results" / ".partial" / page.experiment / page.name / "records"
            for page in self.pages
        ]
        found = set()
        for key in self.keys:
            for folder in (self.root / "results", *stages):
                with contextlib.suppress(records.RecordError):
                    if records.find(key, folder):
                        found.add(str(key))
        return found

    def broken(self) -> list[str]:
        """What stands under its final name and is not whole, or is a record without its page."""
        problems = []
        for path in self.published():
            try:
                if path.suffix == ".npz":
                    with np.load(path, allow_pickle=False) as arrays:
                        _ = [arrays[name] for name in arrays.files]
                elif not (self.root / records.read(path).page).is_file():
                    problems.append(f"{path.name}: without its page")
            except Exception as error:  # whatever reading makes of half a file
                problems.append(f"{path.name}: {type(error).__name__}")
        for path in (self.root / "book" / "runs").glob("*/*.ipynb"):
            try:
                page = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
                nbformat.validate(page)
                outputs = [out for cell in page.cells for out in cell.get("outputs", [])]
                if not outputs or any(out.output_type == "error" for out in outputs):
                    problems.append(f"{path.name}: not executed to its end")
            except Exception as error:
                problems.append(f"{path.name}: {type(error).__name__}")
        return problems


@dataclass
class Before:
    """A place before a fault, to be compared with the same place after it."""

    place: Place
    published: dict[Path, bytes]
    whole: set[str]
    begun: int

    @classmethod
    def of(cls, place: Place) -> "Before":
        return cls(place, place.published(), place.whole(), len(place.begun()))

    def compare(self, count: Count, once: bool = False) -> None:
        """Adds to `count` what is wrong now. once: no training should have begun twice since."""
        now = self.place.published()
        count.lost += sum(now.get(path) != content for path, content in self.published.items())
        count.lost += len(self.whole - self.place.whole())
        begun = self.place.begun()[self.begun :]
        count.repeated += sum(key in self.whole for key in begun)
        if once:
            count.repeated += len(begun) - len(set(begun))
        count.broken += len(self.place.broken())


# What a page of such a sweep does


def train(sparsity: float, protocol: str, networks: str, seed: int) -> None:
    """The trainings of one page, by the runner that all pages have."""
    keys, knobs, _ = runner.asked("mnist", sparsity, protocol, networks, seed, 1, "train")
    notes = Path(os.environ[NOTES])
    usual = runner.train_together
    runner.train_together = noted(usual if (notes / "real").exists() else _stub, notes)
    try:
        made = runner.run(keys, knobs, data.synthetic("mnist", IMAGES))
    finally:
        runner.train_together = usual
    print(*(f"{key}: {record.accuracy:.4f}" for key, record in made.items()), sep="\n")


def noted(trainer: Callable[..., list[Record]], notes: Path) -> Callable[..., list[Record]]:
    """`trainer`, which first notes what begins, and dies or finds no memory where it is told to."""
    begun = 0

    def training(keys: Sequence[Key], *arguments: Any) -> list[Record]:
        nonlocal begun
        with (notes / "begun").open("a", encoding="utf-8") as log:
            log.write("".join(f"{key}\n" for key in keys))
        begun += 1
        if (notes / "die").exists() and begun == int((notes / "die").read_text()):
            os.kill(os.getpid(), signal.SIGKILL)
        if (notes / "greedy").exists() and [key.network for key in keys] == [GREEDY]:
            raise torch.OutOfMemoryError("CUDA out of memory (told to be)")
        return trainer(keys, *arguments)

    return training


def _stub(
    keys: Sequence[Key],
    protocol: Protocol,
    dataset: data.Dataset,
    places: Sequence[tuple[Path | None, str]],
    *_: object,
) -> list[Record]:
    """Records of trainings that did not take place."""
    made = []
    for key, (stage, page) in zip(keys, places, strict=True):
        time.sleep(random.uniform(0, 0.02))
        epoch: dict[str, float] = {
            "loss": 0.5,
            "train_accuracy": 0.5,
            "test_accuracy": 0.5,
            "seconds": 0.0,
        }
        rate: dict[str, float] = {
            "learning_rate": 1e-3,
            "epochs": 2,
            "best_epoch": 1,
            "held_out_accuracy": 0.0,
        }
        outcome = Outcome([epoch] * 2, [0.5] * 40, [rate], {key.sparsity: 0.5}, weights={})
        test = Images(dataset.test_images, dataset.test_labels)
        masks = draw_masks(protocol, test, key.sparsity, key.seed, "test")
        if stage and key.seed == 0:
            path = key.path(stage).with_suffix(".npz")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(path, allow_pickle=False, mask=masks[0].numpy())
        now = datetime.now(UTC)
        made.append(runner.as_record(key, protocol, dataset, outcome, masks, "cpu", now, page))
    return made


# Places, and sweeps that are forks of this process


def lay_out(folder: Path, pages: Sequence[Page] = PAGES) -> Place:
    """A new place below `folder`."""
    name = uuid.uuid4().hex[:8]
    place = Place(folder / name, folder / f"{name}-notes", list(pages))
    place.notes.mkdir(parents=True)
    fill(place)
    return place


def fill(place: Place) -> None:
    """Makes what a checkout has: folders, and a notebook that trains."""
    for part in ("results", "book", "notebooks"):
        (place.root / part).mkdir(parents=True, exist_ok=True)
    v4 = nbformat.v4
    parameters = "sparsity = 0.8\nprotocol = ''\nnetworks = ''\nseed = 0\nsource = 'train'"
    notebook = v4.new_notebook(
        cells=[
            v4.new_markdown_cell("# Digits"),
            v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
            v4.new_code_cell(CELL),
        ],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    nbformat.write(notebook, place.root / "notebooks" / "mnist.ipynb")


def start(place: Place, before: Callable[[], None] = lambda: None, together: int = 1) -> int:
    """Forks a sweep of the place with a process group of its own; returns its id."""
    child = os.fork()
    if child:
        with contextlib.suppress(OSError):  # it may have done so itself
            os.setpgid(child, child)
        return child
    status = 1
    try:
        os.setpgid(0, 0)
        said = os.open(place.notes / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.environ[NOTES] = str(place.notes)
        sweep.NOTEBOOKS = place.root / "notebooks"
        papermill.execute_notebook = _execute_in_a_fork
        fork = multiprocessing.get_context("fork")
        # In this fork alone: its workers are forks, too, and so know the stub.
        multiprocessing.get_context = lambda *_: fork  # type: ignore[assignment]
        before()
        lacking = [page for page in place.pages if sweep.missing_keys(page, place.root)]
        done = sweep.sweep(lacking, workers=2, together=together, root=place.root)
        status = 1 if any(page.error for page in done) else 0
    except OneLineError as error:
        print(f"refused: {error}", flush=True)
    except BaseException:
        traceback.print_exc()  # for who looks for what a sweep failed of
    finally:
        sys.stdout.flush()
        os._exit(status)


def _execute_in_a_fork(notebook: Any, output: str, parameters: dict[str, Any], **_: object) -> None:
    """papermill's part: the cells run in a process of their own, and what came is written."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(_run_cells(notebook, output, parameters))
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        raise RuntimeError("Kernel died")
    if status:
        raise RuntimeError("a cell failed")


def _run_cells(notebook: Any, output: str, parameters: dict[str, Any]) -> int:
    names: dict[str, Any] = dict(parameters)
    for cell in notebook.cells:
        if cell.cell_type != "code" or "parameters" in cell.metadata.get("tags", []):
            continue
        assert cell.source == CELL  # the one that is called below
        train(names["sparsity"], names["protocol"], names["networks"], names["seed"])
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="trained")]
    nbformat.write(notebook, output)
    return 0


def ended(child: int, within: float) -> int | None:
    """The exit status of a child that ends in time; None of one that does not."""
    until = time.monotonic() + within
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            return None
        time.sleep(min(0.002, max(0.0, until - time.monotonic())))


def kill_group(leader: int) -> None:
    """Kills a sweep with its workers and kernels, and waits until none of them is left."""
    os.killpg(leader, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(leader, 0)
    until = time.monotonic() + 60
    while any(_in_group(process, leader) for process in psutil.process_iter()):
        if time.monotonic() > until:
            raise FaultError("a process that was killed is still there after a minute")
        time.sleep(0.002)


def _in_group(process: psutil.Process, leader: int) -> bool:
    try:
        return os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.Error):
        return False


def finish(place: Place, count: Count, before: Callable[[], None] = lambda: None) -> None:
    """The same command once more: afterwards everything is published, and nothing was repeated."""
    state = Before.of(place)
    status = ended(start(place, before), PATIENCE)
    check_finished(place, state, status, count)


def check_finished(place: Place, state: Before, status: int | None, count: Count) -> None:
    state.compare(count, once=True)
    there = {str(record.key) for record in records.load("mnist", folder=place.root / "results")}
    pages = {path.name for path in (place.root / "book" / "runs").glob("*/*.ipynb")}
    finished = there == set(map(str, place.keys)) and pages == {p.path.name for p in place.pages}
    count.unfinished += status != 0 or not finished


def how_far(place: Place) -> str:
    """Where the sweep was, by what it left."""
    there = sum(path.suffix == ".json" for path in place.published())
    if there == len(place.keys):
        return "all was published"
    pages = len(list((place.root / "book" / "runs").glob("*/*.ipynb")))
    if there % len(NETWORKS) or pages * len(NETWORKS) > there:
        return "a page was being published"
    return "trainings were under way" if place.whole() else "nothing was trained"
