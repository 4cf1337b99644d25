"""Short seeded trainings on generated images, to tell whether changed code gives the same digits.

A record carries the identity of the code that made it. When the code changes, the book marks the
record as made by other code, unless results/probes.json holds the probes of both identities and
they agree: then the change did not touch the numbers. `sparseconv probe` runs today's.
"""

import dataclasses
import functools
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import baselines, data, provenance
from sparseconv_lib.study.grid import EXPERIMENTS, task_of
from sparseconv_lib.study.images import Images
from sparseconv_lib.study.paths import RESULTS
from sparseconv_lib.study.protocol import BASELINES, PRESETS, Protocol, preset
from sparseconv_lib.study.training import fit

PROBES = RESULTS / "probes.json"
# Relative: what differs between processors in so few steps, and no more. The most that was seen,
# with batches of 4 on an Intel and an AMD processor, is 2.6e-4.
TOLERANCE = 5e-4
# ResNet18's few steps are chaotic: where two processors round differently, the difference grows
# tenfold and more with each. Of such probes the first two losses alone are compared; the most that
# was seen in them, with AVX2 on an AMD and AVX-512 on an Intel processor, is 1.9e-6 and 2.1e-3.
FIRST_LOSSES = (TOLERANCE, 1e-2)
_CHAOTIC = "resnet18/"
_PROCESSORS = "processors"  # in the file, beside the identities: on which processor each was run
# Data set -> training images, and the largest batch; of maps, fewer.
_SIZES = {"mnist": (128, 128), "caltech101": (36, 24)}

Digits = dict[str, list[float]]  # "protocol/network" -> losses of the steps, then the accuracy


def run(protocol: Protocol, network: str) -> list[float]:
    """Two epochs on generated images at p = 0.5: the losses in order, then accuracy or error.

    All else is the protocol's own, so that what it uses is run: its masks, patience, and batches,
    which are smaller only where images are large.
    """
    images, largest_batch = _SIZES.get(protocol.dataset, (8, 8))
    small = 32 if protocol.architecture == "resnet18" else 0
    dataset = data.synthetic(protocol.dataset, images=images, seed=0)
    short = dataclasses.replace(
        protocol,
        epochs=min(protocol.epochs, 2),
        side=small,
        batch_size=min(protocol.batch_size, largest_batch),
        trial_epochs=min(protocol.trial_epochs, 1),
        drop_after=min(protocol.drop_after, 1),
        held_out=min(protocol.held_out, images // 4),
        patience=min(protocol.patience, 1),
        learning_rates=protocol.learning_rates[:2],
    )
    train = Images(dataset.train_images, dataset.train_labels)
    test = Images(dataset.test_images, dataset.test_labels)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as trainings have; several wait for each other on a busy machine
    try:
        if network in BASELINES:
            outcome = baselines.evaluate(short, network, 0, train, test, (0.5,))
        else:
            outcome = fit(short, network, 0.5, 0, train, test, device="cpu")
    finally:
        torch.set_num_threads(threads)
    return [float(f"{x:.6g}") for x in (*outcome.curve, (outcome.accuracy or outcome.error)[0.5])]


def run_all() -> Digits:
    """Every preset's probe with every network, and that of every training of the grid."""
    return {name: run(protocol, network) for name, protocol, network in probes()}


def probes() -> Iterator[tuple[str, Protocol, str]]:
    """(name, protocol, network) of every probe."""
    found = {
        (task, protocol, network): None
        for task, presets in PRESETS.items()
        for protocol in presets
        for network in NETWORKS
    }
    for experiment in EXPERIMENTS.values():
        task = task_of(experiment.notebook)
        for grid in experiment.grids:
            found |= {(task, p, network): None for p in grid.protocols for network in grid.networks}
    for task, protocol, network in found:
        yield probe_name(task, protocol, network), preset(protocol, task), network


def probe_name(task: str, protocol: str, network: str) -> str:
    """The name of a probe in the file; those of MNIST, which came first, do not tell it."""
    return f"{protocol}/{network}" if task == "mnist" else f"{task}/{protocol}/{network}"


def agree(a: list[float], b: list[float], name: str = "", elsewhere: bool = False) -> bool:
    """Whether two runs of the probe `name` gave the same digits, within TOLERANCE.

    elsewhere: they ran on two kinds of processor, between which FIRST_LOSSES hold for ResNet18.
    """
    tolerances: Sequence[float] = (TOLERANCE,) * len(a)
    if elsewhere and name.startswith(_CHAOTIC):
        tolerances = FIRST_LOSSES
    return len(a) == len(b) and all(
        abs(x - y) <= tolerance * max(abs(x), abs(y), 1e-3)
        for x, y, tolerance in zip(a, b, tolerances, strict=False)
    )


def as_committed(name: str, digits: list[float]) -> bool:
    """Whether what today's code gives here is what is committed of it, on whatever processor.

    Raises KeyError where nothing is.
    """
    today = provenance.code_identity()
    elsewhere = processors().get(today, processor()) != processor()
    return agree(digits, load()[today][name], name, elsewhere)


def processor() -> str:
    """This machine's, as the file tells it: "AMD EPYC with AVX2".

    With its vector instructions: processors of one name may round differently for having others.
    """
    name = provenance.device_name("cpu").split(",")[0]
    return f"{name} with {torch.backends.cpu.get_cpu_capability()}"


def processors(path: Path = PROBES) -> dict[str, str]:
    """Code identity -> the processor of its probes, where it is known."""
    return _parsed(path, path.stat().st_mtime_ns).get(_PROCESSORS, {}) if path.exists() else {}


def load(path: Path = PROBES) -> dict[str, Digits]:
    """Code identity -> its probes, not to be changed; empty where none was ever run."""
    if not path.exists():
        return {}
    content = _parsed(path, path.stat().st_mtime_ns)
    return {identity: digits for identity, digits in content.items() if identity != _PROCESSORS}


@functools.lru_cache(4)
def _parsed(path: Path, changed: int) -> dict[str, Any]:
    """The file as it was when it last changed: every number of the book asks for it."""
    return json.loads(path.read_text(encoding="utf-8"))


def save(digits: Digits, path: Path = PROBES) -> None:
    """Adds today's code and its digits to the file; a rename, so that none is lost half-way."""
    today = provenance.code_identity()
    probes = load(path) | {today: digits, _PROCESSORS: processors(path) | {today: processor()}}
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    part.write_text(json.dumps(probes, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


def same_numbers(
    identity: str, task: str, protocol: str, network: str, path: Path = PROBES
) -> bool:
    """Whether code of `identity` and today's give the same numbers for a protocol and network.

    True for today's own identity, or where both have a committed probe and the two agree.
    """
    today = provenance.code_identity()
    if identity == today:
        return True
    probes, name = load(path), probe_name(task, protocol, network)
    if name not in probes.get(identity, {}) or name not in probes.get(today, {}):
        return False
    ran_on = processors(path)
    elsewhere = identity in ran_on and today in ran_on and ran_on[identity] != ran_on[today]
    return agree(probes[identity][name], probes[today][name], name, elsewhere)
