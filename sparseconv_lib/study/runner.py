"""The trainings of one page: in worker processes on a CPU, with a progress bar, kept as they end.

A page that a sweep runs finds the folder for its records in $SPARSECONV_STAGE. There each training
is written as soon as it ends, and a page that is run again after an interruption takes it from
there. Without that variable nothing is written: a notebook run by hand leaves no records.
"""

import concurrent.futures
import functools
import hashlib
import math
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sparseconv_lib.networks import ClassificationNet
from sparseconv_lib.resnet import ResNet18
from sparseconv_lib.study import (
    data,
    examples,
    provenance,
    reconstructions,
    records,
    stages,
)
from sparseconv_lib.study.data import Dataset
from sparseconv_lib.study.grid import evaluation_of, task_of
from sparseconv_lib.study.images import Images, arrange, draw_masks, shrink
from sparseconv_lib.study.one_line import one_line
from sparseconv_lib.study.processes import (
    children_keep_freed_memory,
    end_children,
    end_with_parent,
    keeps_freed_memory,
    usable_cores,
)
from sparseconv_lib.study.protocol import (
    PRESETS,
    TRAINING_IMAGES,
    ParameterError,
    Protocol,
    check_networks,
    check_source,
    check_sparsity,
    full_name,
    preset,
    whole_number,
)
from sparseconv_lib.study.records import Key, Record
from sparseconv_lib.study.stacked import train_all
from sparseconv_lib.study.training import Outcome, build

# Beyond these a value is a slip, of which a machine would die or not come to an end.
MOST_SEEDS = 1_000
MOST_EPOCHS = 100_000
MOST_SIDE = 224  # photographs have no more


def asked(
    notebook: str,
    sparsity: object,
    protocol: object,
    networks: object,
    seed: object,
    seeds: object,
    source: object,
) -> tuple[list[Key], Protocol, bool]:
    """What the parameters of a notebook ask for, before anything slow happens.

    Returns the trainings, seed after seed; their protocol; and whether to train now (True) or show
    what was run. Raises ParameterError for a value that no training can have.
    """
    try:
        task = task_of(notebook)
        knobs, name = preset(protocol, task), full_name(protocol, task)
        p, chosen = check_sparsity(sparsity), check_networks(networks, knobs.objective)
        first, number = whole_number("seed", seed, 0), whole_number("seeds", seeds, 1)
        if number > MOST_SEEDS:
            raise ParameterError(f"seeds is {number}; give at most {MOST_SEEDS:,}")
        for knob, most in (
            ("batch_size", TRAINING_IMAGES[knobs.dataset]),
            ("epochs", MOST_EPOCHS),
            ("side", MOST_SIDE),
        ):
            if getattr(knobs, knob) > most:
                raise ParameterError(f"{knob} is {getattr(knobs, knob)}; give at most {most:,}")
        keys = [
            Key(notebook, name, network, p, first + i) for i in range(number) for network in chosen
        ]
        return keys, knobs, check_source(source) == "train"
    except (ValueError, OverflowError) as error:  # which tell what was given, whole
        raise ParameterError(one_line(str(error))) from None


def run(
    keys: Iterable[Key], protocol: Protocol, dataset: Dataset, processes: int | None = None
) -> dict[Key, Record]:
    """Trains every key, shows a bar for each, and returns their records in the order of `keys`.

    On a CPU each training has a thread of its own, and `processes` run at a time: by default
    $SPARSECONV_PROCESSES, else the number of cores this process may use. One at a time they run in
    this process, but for photographs, which are trained faster in a process that keeps the memory
    it frees (as those of a sweep do). On a GPU they take turns here.
    """
    keys = list(keys)
    stage = os.environ.get("SPARSECONV_STAGE")
    done: dict[Key, Record] = {}
    if stage:
        for key in keys:
            record = records.find(key, Path(stage))
            if record and record.protocol != protocol:  # kept before what its name means changed
                key.path(Path(stage)).unlink()
            elif record:
                done[key] = record
                print(f"{key}: trained before, at {record.content['provenance']['started']}")
    todo = [key for key in keys if key not in done]
    if processes is None:
        processes = _processes()
    here = not dataset.mapped or keeps_freed_memory()
    in_turn = torch.cuda.is_available() or (min(processes, len(todo)) == 1 and here)

    with _Progress(todo) as progress:
        if in_turn:
            for key in todo:
                record = train_one(key, protocol, dataset, functools.partial(progress.show, key))
                done[key] = _keep(record, stage)
        elif todo:
            done |= _train_in_processes(todo, protocol, dataset, processes, progress, stage)
    return {key: done[key] for key in keys}


def _processes() -> int:
    given = os.environ.get("SPARSECONV_PROCESSES")
    if given is None:
        return usable_cores()
    if not given.isdecimal() or int(given) < 1:
        raise ParameterError(f"SPARSECONV_PROCESSES is {given!r}; set a whole number, or unset it")
    return int(given)


class _Progress:
    """One bar over all trainings of a page.

    A notebook that papermill runs has no terminal, but papermill may: the bar goes there. In
    Jupyter it goes into the notebook, and in a sweep, which has its own reports, nowhere.
    """

    def __init__(self, keys: list[Key]) -> None:
        self.share = dict.fromkeys(keys, 0.0)
        stream = _terminal() or _jupyter()
        self.bar = tqdm(
            total=100 * len(keys),
            desc="training" if len(keys) == 1 else f"{len(keys)} trainings",
            bar_format="{desc}: {percentage:3.0f} %|{bar:30}| {elapsed}, {remaining} left",
            file=stream,
            disable=stream is None or "SPARSECONV_STAGE" in os.environ or not keys,
            leave=False,
            mininterval=0.5,
        )

    def show(self, key: Key, share: float) -> None:
        self.share[key] = share
        self.bar.update(100 * sum(self.share.values()) - self.bar.n)

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()


def _terminal() -> TextIO | None:
    """The terminal behind this process or, in a Jupyter kernel, behind who started it."""
    if sys.stderr.isatty():
        return sys.stderr
    # ipykernel puts a pipe in the place of the standard error and keeps a copy of the original.
    kept = getattr(sys.stderr, "_original_stdstream_copy", None)
    if isinstance(kept, int) and os.isatty(kept):
        return open(os.dup(kept), "w", encoding="utf-8")
    return None


def _jupyter() -> TextIO | None:
    """The notebook, where somebody looks at it: each step of a bar stays in one that is saved."""
    return sys.stderr if "JPY_SESSION_NAME" in os.environ else None


def masked_example(
    dataset: Dataset, protocol: Protocol, seed: int, sparsities: Iterable[float]
) -> tuple[dict[float, np.ndarray], dict[float, np.ndarray], str, str]:
    """One image that this seed tests, as networks see it: what `figures.masked_pictures` takes.

    Sparsity -> its pixels, uint8 (C, H, W); sparsity -> its mask, bool (H, W); its class; a
    sentence on its missing pixels.
    """
    images = shrink(_up_to_the_example(dataset, protocol, seed), protocol.side)
    pictures, masks = {}, {}
    for p in sparsities:
        mask = draw_masks(protocol, images, p, seed, "test")[-1:]
        _, tested = arrange(replace(protocol, split="standard"), p, seed, images[:1], images)
        one = tested[len(tested) - 1 :]
        pictures[p] = examples.as_seen(one, mask, protocol)
        # What compounding masks took earlier is missing, too.
        masks[p] = (mask if one.left is None else mask & one.left)[0, 0].numpy()
    label = dataset.classes[int(images.labels[-1])]
    return pictures, masks, label, examples.missing_in_words(protocol)


def _up_to_the_example(dataset: Dataset, protocol: Protocol, seed: int) -> Images:
    """The test images up to the one to show: masks are drawn one image after the other."""
    if protocol.split == "standard":
        upto = dataset.example + 1
        return Images(dataset.test_images[:upto], dataset.test_labels[:upto])
    # The first test image of the seed's own split, told by its number: to arrange the images
    # themselves would copy them all.
    own = Images(dataset.train_images, dataset.train_labels)
    test = Images(dataset.test_images, dataset.test_labels)
    numbers = torch.arange(len(own) + len(test))
    parts = [Images(n.view(-1, 1, 1, 1), n) for n in numbers.split([len(own), len(test)])]
    _, arranged = arrange(replace(protocol, compounding=False), 0.0, seed, *parts)
    first = int(arranged.labels[0])
    if first < len(own):
        return own[first : first + 1]
    return test[first - len(own) : first - len(own) + 1]


def _keep(record: Record, stage: str | None) -> Record:
    if stage:
        records.write(record, Path(stage))
    return record


def train_one(
    key: Key,
    protocol: Protocol,
    dataset: Dataset,
    progress: Callable[[float], None] | None = None,
) -> Record:
    """One training in this process, on the GPU if there is one, else on one thread; its record."""
    stage = os.environ.get("SPARSECONV_STAGE")
    place = Path(stage) if stage else None, os.environ.get("SPARSECONV_PAGE", "none")
    return train_together([key], protocol, dataset, [place], progress)[0]


def train_together(
    keys: Sequence[Key],
    protocol: Protocol,
    dataset: Dataset,
    places: Sequence[tuple[Path | None, str]],
    progress: Callable[[float], None] | None = None,
) -> list[Record]:
    """The records of trainings that differ in sparsity and seed only, which run as one.

    places: of each, the folder for what it leaves for a chapter to draw, or None, and its page.
    """
    started = datetime.now(UTC)
    provenance.code_identity()  # remembered now, lest the files change while it trains
    train = Images(dataset.train_images, dataset.train_labels)
    test = Images(dataset.test_images, dataset.test_labels)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    if device == "cpu":
        # At the source's batch sizes a second thread gains nothing, and would change the digits.
        torch.set_num_threads(1)
    also = evaluation_of(keys[0].experiment)
    try:
        outcomes = train_all(
            protocol,
            keys[0].network,
            [(key.sparsity, key.seed) for key in keys],
            train,
            test,
            [tuple(sorted({key.sparsity, *also.sparsities})) for key in keys],
            reestimate=also.reestimate,
            other_masks=tuple(kind for kind in also.other_masks if kind != protocol.mask_kind),
            device=device,
            progress=progress,
        )
    finally:
        torch.set_num_threads(threads)
    test = shrink(test, protocol.side)
    # Where they were drawn for the training they need not be drawn again; no pixel is looked at.
    there = Images(torch.empty((), device=device).expand(test.pixels.shape), test.labels)
    made = []
    for key, outcome, (stage, page) in zip(keys, outcomes, places, strict=True):
        masks = draw_masks(protocol, there, key.sparsity, key.seed, "test").cpu()
        if stage and _leaves_example(key, protocol):
            _leave_example(stage, key, protocol, dataset, outcome, masks, train, test)
        made.append(as_record(key, protocol, dataset, outcome, masks, device, started, page))
    return made


def _leave_example(
    stage: Path,
    key: Key,
    protocol: Protocol,
    dataset: Dataset,
    outcome: Outcome,
    masks: Tensor,
    train: Images,
    test: Images,
) -> None:
    """Writes what a chapter draws of a training beside its record."""
    path = key.path(stage).with_suffix(".npz")
    if protocol.objective == "reconstruct":
        reconstructions.leave(path, key, protocol, outcome.weights, train, test)
        return
    net = build(protocol, key.network, key.seed)
    net.load_state_dict(outcome.weights)
    _, test = arrange(protocol, key.sparsity, key.seed, train[:1], test)
    one = slice(dataset.example, dataset.example + 1)
    if isinstance(net, ResNet18):
        stages.write(path, stages.walk(net, protocol, test[one], masks[one]))
    elif isinstance(net, ClassificationNet):
        examples.leave(path, net, protocol, test[one], masks[one])


def _leaves_example(key: Key, protocol: Protocol) -> bool:
    """Whether a training leaves what a chapter draws of it: one seed's, with the usual split.

    Of the simple networks, those of the presets only, trained and tested at one sparsity;
    ResNet18's chapter compares its variants.
    """
    if key.seed or protocol.split != "standard":  # else the test images are others
        return False
    if protocol.architecture == "resnet18":
        return True
    return key.experiment != "invariance" and key.protocol in PRESETS[task_of(key.experiment)]


def as_record(
    key: Key,
    protocol: Protocol,
    dataset: Dataset,
    outcome: Outcome,
    test_masks: Tensor,
    device: str,
    started: datetime,
    page: str,
) -> Record:
    """The record of one training; `test_masks` are those at the training sparsity."""
    where = {"device": provenance.device_name(device)}
    content = {
        "version": records.VERSION,
        **asdict(key),
        "knobs": {**asdict(protocol), "learning_rates": list(protocol.learning_rates)},
        "epochs": [{k: _finite(v) for k, v in epoch.items()} for epoch in outcome.epochs],
        "curve": [_finite(loss) for loss in outcome.curve],
        "candidates": [{k: _finite(v) for k, v in each.items()} for each in outcome.candidates],
        **{
            name: _by_text(scores)
            for name in ("accuracy", "error", "error_missing")
            if (scores := getattr(outcome, name))
        },
        "other_statistics": {
            kind: _by_text(scores) for kind, scores in outcome.other_statistics.items()
        },
        **({"other_masks": outcome.other_masks} if outcome.other_masks else {}),
        **_per_image(protocol, dataset, outcome),
        "images": {"train": len(dataset.train_labels), "test": len(dataset.test_labels)},
        "identity": {
            "code": provenance.code_identity(),
            "data": dataset.identity,
            "split": dataset.split if protocol.split == "standard" else protocol.split,
            "masks": hashlib.sha256(np.packbits(test_masks.cpu().numpy()).tobytes()).hexdigest()[
                :16
            ],
        },
        "provenance": {
            **where,
            "threads": 1 if device == "cpu" else torch.get_num_threads(),
            "versions": provenance.versions(),
            "started": started.isoformat(timespec="seconds"),
            "seconds": outcome.seconds,
            "commit": provenance.commit(),
            "page": page,
            **({"together": outcome.together} if outcome.together > 1 else {}),
        },
    }
    return records.validated(content, str(key))


def _per_image(protocol: Protocol, dataset: Dataset, outcome: Outcome) -> dict[str, dict[str, str]]:
    """Which test images were classified correctly, where a chapter asks which classes were."""
    if dataset.name != "caltech101" or protocol.split != "standard":
        return {}
    return {"correct": {f"{q:g}": records.pack(bits) for q, bits in outcome.correct.items()}}


def _by_text(scores: dict[float, float]) -> dict[str, float]:
    return {f"{q:g}": value for q, value in scores.items()}


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None  # a training that diverged; JSON has no NaN


# Set in each worker process when it starts: the data set travels once, not with every training;
# by its name, where each process can map the same file.
_worker_dataset: Dataset | None = None
_worker_queue: Any = None


def _start_worker(dataset: Dataset | str, queue: Any) -> None:
    global _worker_dataset, _worker_queue
    end_with_parent()
    torch.set_num_threads(1)
    _worker_dataset = data.load(dataset) if isinstance(dataset, str) else dataset
    _worker_queue = queue


def _train_in_worker(key: Key, protocol: Protocol) -> Record:
    assert _worker_dataset is not None
    return train_one(key, protocol, _worker_dataset, lambda share: _worker_queue.put((key, share)))


def _train_in_processes(
    keys: list[Key],
    protocol: Protocol,
    dataset: Dataset,
    processes: int,
    progress: _Progress,
    stage: str | None,
) -> dict[Key, Record]:
    spawn = multiprocessing.get_context("spawn")  # a fork would copy torch's threads half-alive
    queue = spawn.Queue()

    def show_progress() -> None:
        while (message := queue.get()) is not None:
            progress.show(*message)

    watcher = threading.Thread(target=show_progress, daemon=True)
    watcher.start()
    done: dict[Key, Record] = {}
    with (
        children_keep_freed_memory(),
        concurrent.futures.ProcessPoolExecutor(
            min(processes, len(keys)),
            spawn,
            _start_worker,
            (dataset.name if dataset.mapped else dataset, queue),
        ) as pool,
    ):
        futures = {pool.submit(_train_in_worker, key, protocol): key for key in keys}
        try:
            for future in concurrent.futures.as_completed(futures):
                done[futures[future]] = _keep(future.result(), stage)
        except BaseException:
            end_children()  # leaving the pool would wait for them
            raise
    queue.put(None)
    watcher.join()
    return done
