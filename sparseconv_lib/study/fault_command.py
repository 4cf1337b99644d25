"""The command itself killed, in a copy of the checkout, with its workers, kernels and trainings.

It trains on generated digits; its records must have the numbers of trainings that nobody
interrupted.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from sparseconv_lib.study import data, records, runner
from sparseconv_lib.study.fault_counts import Count
from sparseconv_lib.study.fault_place import (
    IMAGES,
    NOTES,
    PAGES,
    PATIENCE,
    Before,
    FaultError,
    Place,
    check_finished,
    how_far,
    lay_out,
)
from sparseconv_lib.study.grid import task_of
from sparseconv_lib.study.paths import ROOT
from sparseconv_lib.study.protocol import preset


def killed_in_earnest(folder: Path, tries: int, moments: random.Random) -> Count:
    """The command killed, with its workers and kernels, while it trains on generated digits."""
    count = Count("the real command killed, with kernels and trainings")
    began = time.monotonic()
    while count.tried < tries:
        place = lay_out(folder, PAGES[:2])
        (place.notes / "real").touch()
        _copy_library(place.root)
        while count.tried < tries:
            state = Before.of(place)
            left = len(place.keys) - len(state.whole)
            process = _command(place)
            if not _has_begun(place, process, state.begun + moments.randint(1, max(1, left))):
                if left and len(place.begun()) == state.begun:
                    raise FaultError(f"no training began; {_last_line(place)}")
                break
            time.sleep(moments.uniform(0, 0.5))
            if process.poll() is not None:
                break
            _kill_all(place, process)
            count.tried += 1
            state.compare(count)
            count.note(how_far(place))
        _kill_all(place, process)
        state = Before.of(place)
        process = _command(place)
        try:
            status: int | None = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            status = None
        damage = count.unfinished
        check_finished(place, state, status, count)
        if count.unfinished > damage:  # the folder may be gone when someone looks
            print(f"run again, the command ended with {status}, and had said:\n{_said(place)}")
        count.other_numbers += _other_numbers(place)
    count.seconds = time.monotonic() - began
    return count


def _said(place: Place) -> str:
    return (place.notes / "said").read_text(encoding="utf-8", errors="replace")


def _last_line(place: Place) -> str:
    said = _said(place).splitlines()
    return f"the command's last line: {said[-1]}" if said else "the command said nothing"


def _copy_library(root: Path) -> None:
    """This library, with a grid of two pages a seed."""
    library = root / "sparseconv_lib"
    shutil.copytree(ROOT / "sparseconv_lib", library, ignore=shutil.ignore_patterns("__pycache__"))
    grid = library / "study" / "grid.py"
    text, n = re.subn(
        r"(?m)^MNIST_SPARSITIES = .*$",
        "MNIST_SPARSITIES = (0.0, 0.5)",
        grid.read_text(encoding="utf-8"),
    )
    if n != 1:
        raise FaultError("the grid has no sparsities of MNIST to make fewer")
    grid.write_text(text, encoding="utf-8")


def _command(place: Place) -> "subprocess.Popen[bytes]":
    with (place.notes / "said").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "sparseconv_lib", "sweep", "mnist", "--seeds=1", "--workers=2"],
            cwd=place.root,
            env={**os.environ, NOTES: str(place.notes), "PYTHONPATH": str(place.root)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def _has_begun(place: Place, process: "subprocess.Popen[bytes]", n: int) -> bool:
    """Waits until n trainings have been noted; False if the command ended before."""
    until = time.monotonic() + PATIENCE
    while len(place.begun()) < n:
        if process.poll() is not None or time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def _kill_all(place: Place, process: "subprocess.Popen[bytes]") -> None:
    """Kills the command and whatever it has started: kernels have groups of their own."""
    mark = str(place.notes)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until = time.monotonic() + 60
    while left := [each for each in psutil.process_iter() if _marked(each, mark)]:
        for each in left:
            with contextlib.suppress(psutil.Error):
                each.kill()
        if time.monotonic() > until:
            raise FaultError("a process that was killed is still there after a minute")
        time.sleep(0.01)


def _marked(process: psutil.Process, mark: str) -> bool:
    try:
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.environ().get(NOTES) == mark
    except (OSError, psutil.Error):
        return False


def _other_numbers(place: Place) -> int:
    """How many records differ from what the same training gives without an interruption."""
    dataset = data.synthetic("mnist", IMAGES)
    differ = 0
    for record in records.load("mnist", folder=place.root / "results"):
        protocol = preset(record.key.protocol, task_of(record.key.experiment))
        again = runner.train_one(record.key, protocol, dataset)
        differ += without_times(again.content) != without_times(record.content)
    return differ


def without_times(content: dict[str, Any]) -> Any:
    """What two runs of one training have in common, with the digits that a record keeps."""
    epochs = [{k: v for k, v in each.items() if k != "seconds"} for each in content["epochs"]]
    return records._rounded({**content, "epochs": epochs, "provenance": None})
