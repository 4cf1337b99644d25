"""Faults done to sweeps on purpose, and what is left of their records after each.

`python -m sparseconv_lib.study.faults` kills sweeps at random moments, fills their disk, closes
their folders, starts two at once, kills their kernels and takes their memory; after each fault it
looks at every record and page, and lets the same command finish the job. What it counted is kept in
results/faults.json, which the book shows; KIND after KIND may be tried alone.
"""

import argparse
import contextlib
import ctypes
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
import torch

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import data, provenance, records, replay, runner, stacked, sweep
from sparseconv_lib.study.fault_command import killed_in_earnest
from sparseconv_lib.study.fault_counts import TRIED, Count, save
from sparseconv_lib.study.fault_place import (
    GREEDY,
    IMAGES,
    PAGES,
    PATIENCE,
    Before,
    FaultError,
    Place,
    ended,
    fill,
    finish,
    how_far,
    kill_group,
    lay_out,
    noted,
    start,
)
from sparseconv_lib.study.protocol import Protocol
from sparseconv_lib.study.training import Outcome

# Each takes a folder, how many, and a generator; and counts


def killed(folder: Path, tries: int, moments: random.Random) -> Count:
    """The whole group at moments that are uniform over the time of a sweep without a fault."""
    count = Count("a sweep, its workers and its kernels killed")
    began = time.monotonic()
    finish(lay_out(folder), Count(""))  # the first is slower
    undisturbed = time.monotonic()
    finish(lay_out(folder), count)
    whole_time = time.monotonic() - undisturbed
    while count.tried < tries:
        place = lay_out(folder)
        while count.tried < tries:
            state = Before.of(place)
            child = start(place)
            if ended(child, moments.uniform(0, whole_time)) is not None:
                break
            kill_group(child)
            count.tried += 1
            state.compare(count)
            count.note(how_far(place))
        finish(place, count)
        shutil.rmtree(place.root)
    count.seconds = time.monotonic() - began
    return count


def two_at_once(folder: Path, tries: int, moments: random.Random) -> Count:
    """A second sweep of the same pages, started while the first runs."""
    return _two(folder, tries, moments, kill=False)


def two_and_one_killed(folder: Path, tries: int, moments: random.Random) -> Count:
    """The same, and one of the two is killed: the other and the next command do the rest."""
    return _two(folder, tries, moments, kill=True)


def _two(folder: Path, tries: int, moments: random.Random, kill: bool) -> Count:
    count = Count(f"two sweeps at once{', one of them killed' if kill else ''}")
    began = time.monotonic()
    while count.tried < tries:
        place = lay_out(folder)
        state = Before.of(place)
        first = start(place)
        time.sleep(moments.uniform(0, 0.3))
        second = start(place)
        if kill:
            if ended(first, moments.uniform(0, 1)) is None:
                kill_group(first)
        elif ended(first, PATIENCE) != 0:
            count.unfinished += 1
        if ended(second, PATIENCE) is None:
            count.unfinished += 1
            kill_group(second)
        count.tried += 1
        state.compare(count, once=not kill)
        finish(place, count)
        shutil.rmtree(place.root)
    count.seconds = time.monotonic() - began
    return count


def dead_kernels(folder: Path, tries: int, moments: random.Random) -> Count:
    """Every kernel of a sweep is killed when it begins one of its trainings."""
    count = Count("kernels killed")
    began = time.monotonic()
    while count.tried < tries:
        place = lay_out(folder)
        (place.notes / "die").write_text(str(moments.randint(1, len(NETWORKS))))
        state = Before.of(place)
        _expect_failure(place, start(place), count)
        state.compare(count)
        (place.notes / "die").unlink()
        finish(place, count)
        shutil.rmtree(place.root)
    count.seconds = time.monotonic() - began
    return count


def _expect_failure(place: Place, child: int, count: Count) -> None:
    """Counts a fault that the sweep saw; one that says it has succeeded does not tell the truth."""
    status = ended(child, PATIENCE)
    if status is None:
        kill_group(child)
    count.tried += 1
    count.unfinished += status in (0, None)


def full_disk(folder: Path, tries: int, moments: random.Random) -> Count:
    """A disk of a random size that does not hold all of it; then there is room again.

    Raises FaultError where no file system may be mounted.
    """
    count = Count("a disk that is full (a mounted tmpfs)")
    began = time.monotonic()
    while count.tried < tries:
        place = lay_out(folder)
        size = moments.randint(8, 60) * 4096
        with _mounted(place.root, size):
            fill(place)
            state = Before.of(place)
            child = start(place)
            if (status := ended(child, PATIENCE)) == 0:
                continue  # it was large enough
            if status is None:
                kill_group(child)
                count.unfinished += 1
            count.tried += 1
            state.compare(count)
            _mount("-o", f"remount,size={64 << 20}", str(place.root))
            finish(place, count)
    count.seconds = time.monotonic() - began
    return count


@contextlib.contextmanager
def _mounted(path: Path, size: int) -> Iterator[None]:
    _mount("-t", "tmpfs", "-o", f"size={size}", "none", str(path))
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def _mount(*arguments: str) -> None:
    try:
        subprocess.run(["mount", *arguments], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise FaultError(f"no file system can be mounted here ({error})") from None


def cut_files(folder: Path, tries: int, moments: random.Random) -> Count:
    """No file may grow beyond a random size (RLIMIT_FSIZE): a full disk for who may not mount."""
    count = Count("files that may not grow")
    began = time.monotonic()
    while count.tried < tries:
        place = lay_out(folder)
        size = moments.randint(100, 1900)  # less than any record takes: some file is always cut
        state = Before.of(place)

        def limit(size: int = size) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error, and not the end
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        _expect_failure(place, start(place, limit), count)
        state.compare(count)
        finish(place, count)
        shutil.rmtree(place.root)
    count.seconds = time.monotonic() - began
    return count


CLOSED = (
    "results",
    "results/.partial",
    "results/.partial/mnist",
    "results/mnist",
    "results/mnist/as_written",
    "book",
    "book/runs",
    "book/runs/mnist",
)


def read_only(folder: Path, tries: int, moments: random.Random) -> Count:
    """One of the folders that a sweep writes to is closed; then it is open again.

    To root no folder is closed, so a sweep of root's gives up the right to that.
    """
    count = Count("a folder that is read-only")
    began = time.monotonic()
    for i in range(tries):
        place = lay_out(folder)
        closed = place.root / CLOSED[i % len(CLOSED)]
        closed.mkdir(parents=True, exist_ok=True)
        closed.chmod(0o555)
        state = Before.of(place)
        _expect_failure(place, start(place, _be_no_exception), count)
        state.compare(count)
        closed.chmod(0o755)
        finish(place, count, _be_no_exception)
        shutil.rmtree(place.root)
    count.seconds = time.monotonic() - began
    return count


def _be_no_exception() -> None:
    """Gives up, on Linux, what lets root write to closed folders: CAP_DAC_OVERRIDE."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 bits
    if libc.capget(header, sets):
        raise FaultError("root cannot give up its rights here")
    for i in range(3):
        sets[i] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    if libc.capset(header, sets):
        raise FaultError("root cannot give up its rights here")


def out_of_memory(folder: Path, tries: int, moments: random.Random) -> Count:
    """A GPU too small for a stack of trainings, in a step or in a capture; or for one alone.

    The device is a processor that is told to have no room; the trainings are real.
    """
    count = Count("no memory on the GPU (pretended)")
    began = time.monotonic()
    for i in range(tries):
        place = lay_out(folder, PAGES[:2] if i % 3 == 2 else PAGES)
        alone = i % 3 == 2
        if alone:
            (place.notes / "greedy").touch()
        room = 0 if alone else moments.randint(1, len(PAGES) - 1)
        state = Before.of(place)
        child = start(place, _small_gpu(place, room, captured=i % 3 == 1), together=64)
        if alone:
            _expect_failure(place, child, count)
            state.compare(count)
            (place.notes / "greedy").unlink()
        else:  # fewer at a time is no failure
            count.unfinished += ended(child, PATIENCE) != 0
            count.tried += 1
            state.compare(count, once=True)
        finish(place, count)
        shutil.rmtree(place.root)
    count.seconds = time.monotonic() - began
    return count


def _small_gpu(place: Place, room: int, captured: bool) -> Callable[[], None]:
    def shrink() -> None:
        usual, usual_alone = stacked.fit_stacked, stacked.fit

        def fit(protocol: Protocol, network: str, *arguments: Any, **options: Any) -> Outcome:
            if not room and network == GREEDY:
                raise torch.OutOfMemoryError("CUDA out of memory (told to be)")
            return usual_alone(protocol, network, *arguments, **options)

        def fit_stacked(
            protocol: Protocol, network: str, trainings: Sequence[tuple[float, int]], *images: Any,
            **options: Any,
        ) -> list[Outcome]:  # fmt: skip
            if len(trainings) > room:
                if captured:
                    _capture_without_memory()
                raise torch.OutOfMemoryError("CUDA out of memory (told to be)")
            return usual(protocol, network, trainings, *images, **options)

        sweep._has_gpu = lambda: True  # else the workers share a stack
        stacked.fit_stacked, stacked.fit = fit_stacked, fit
        runner.train_together = noted(runner.train_together, place.notes)
        data.load = _few_images  # type: ignore[assignment]

    return shrink


def _few_images(name: str) -> data.Dataset:
    return data.synthetic(name, IMAGES)


def _capture_without_memory() -> None:
    """What a CUDA graph does whose capture finds no memory: its end fails, too."""

    class Graph:
        def __init__(self, *_: object, **__: object) -> None: ...

        def __enter__(self) -> "Graph":
            return self

        def __exit__(self, *_: object) -> None:
            raise RuntimeError("operation failed due to a previous error during capture")

    def greedy(_: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory (told to be)")

    torch.cuda.CUDAGraph = torch.cuda.graph = Graph  # type: ignore[misc, assignment]
    torch.cuda.current_stream = lambda *_: None  # type: ignore[assignment]
    replay._Replayed(greedy)._capture((torch.zeros(1),))


KINDS: dict[str, tuple[Callable[[Path, int, random.Random], Count], int, int]] = {
    # name -> the fault, how many in full, how many in a quick run
    "killed": (killed, 100, 6),
    "killed-in-earnest": (killed_in_earnest, 6, 0),
    "two": (two_at_once, 10, 1),
    "two-and-one-killed": (two_and_one_killed, 20, 1),
    "kernels": (dead_kernels, 10, 1),
    "full-disk": (full_disk, 20, 1),
    "cut-files": (cut_files, 20, 1),
    "read-only": (read_only, 2 * len(CLOSED), 2),
    "memory": (out_of_memory, 9, 3),
}


def try_all(
    folder: Path, to: Path, quick: bool = False, kinds: Sequence[str] = tuple(KINDS)
) -> bool:
    """Every kind of fault below `folder`, each counted in the file `to` when it has been tried.

    The moments are other ones every time. Returns whether all could be tried, and did no damage.
    """
    os.environ["SPARSECONV_COMMIT"] = provenance.commit()
    for name in ("SPARSECONV_STAGE", "SPARSECONV_PAGE", "SPARSECONV_PROCESSES"):
        os.environ.pop(name, None)
    torch.set_num_threads(1)
    provenance.code_identity()  # read once, before anybody may read less
    records._validator()
    nbformat.validate(nbformat.v4.new_notebook())
    torch.vmap(torch.neg)(torch.zeros(1, 1))  # and what torch imports when it is first used
    torch.optim.SGD([torch.zeros(1, requires_grad=True)]).step()
    moments, fine = random.Random(), True
    for kind in kinds:
        fault, in_full, few = KINDS[kind]
        if not (tries := few if quick else in_full):
            continue
        try:
            count = fault(folder, tries, moments)
        except FaultError as error:
            print(f"{kind}: {error}", file=sys.stderr, flush=True)
            fine = False
            continue
        save([count], to)
        print(count, file=sys.stderr, flush=True)
        fine = fine and not count.damage
    return fine


def main() -> None:
    """Tries faults and writes what was counted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--quick", action="store_true", help="a few of each that is quick")
    parser.add_argument("--to", type=Path, default=TRIED, metavar="FILE")
    arguments = parser.parse_args()
    if unknown := set(arguments.kinds) - set(KINDS):
        parser.error(f"{', '.join(sorted(unknown))}: known are {', '.join(KINDS)}")
    if not arguments.to.parent.is_dir():
        parser.error(f"--to: there is no folder {arguments.to.parent}")
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        os.chmod(folder, 0o755)
        kinds = arguments.kinds or tuple(KINDS)
        fine = try_all(Path(folder), arguments.to, arguments.quick, kinds)
    sys.exit(0 if fine else "a fault did damage, or could not be tried: see above")


if __name__ == "__main__":
    main()
