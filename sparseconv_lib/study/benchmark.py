"""How fast the layer, its networks and their trainings are, as ratios within one process.

`sparseconv measure` writes results/benchmark-cpu.json, or -cuda.json on a machine with a GPU, from
which the chapter on speed reads. What is compared takes turns, round after round, so that a ratio
compares neighbours in time.
"""

import concurrent.futures
import functools
import multiprocessing
import os
import shutil
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from sparseconv_lib.layers import SparseConv2d, sparse_conv2d
from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import data, denominators, operations, provenance
from sparseconv_lib.study.denominators import SHAPES, Shape
from sparseconv_lib.study.images import Images, draw_masks
from sparseconv_lib.study.paths import RESULTS
from sparseconv_lib.study.processes import children_keep_freed_memory
from sparseconv_lib.study.protocol import Protocol, preset
from sparseconv_lib.study.stacked import Stack
from sparseconv_lib.study.training import Training, build, on_device, optimiser, reproducible

# The source used batches of 4 and of 64 digits.
SOURCE_BATCH = preset("as_written", "mnist").batch_size
DIGITS = replace(preset("as_written", "mnist"), batch_size=64)


def path(device: str) -> Path:
    """Where the committed measurement of a kind of device, "cpu" or "cuda", stands."""
    return RESULTS / f"benchmark-{device}.json"


def load(device: str) -> dict[str, Any] | None:
    """The committed measurement; None where there is none."""
    return denominators.load(path(device))


def save(measured: dict[str, Any]) -> Path:
    """Replaces the committed measurement of that kind of device; returns its path."""
    denominators.save(measured, path(measured["kind"]))
    return path(measured["kind"])


def measure(rounds: int = 30, quick: bool = False) -> dict[str, Any]:
    """All that the chapter shows, on one thread of a CPU or on the GPU if there is one.

    In a process that keeps the memory it frees, as the trainings of a sweep have it.

    quick: the smallest of everything, to see that it runs.
    """
    spawn = multiprocessing.get_context("spawn")
    with children_keep_freed_memory(), concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
        return pool.submit(_measure_here, rounds, quick).result()


def _measure_here(rounds: int, quick: bool) -> dict[str, Any]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rounds = 2 if quick else rounds
    try:
        with reproducible(DIGITS):
            return {
                "kind": device,
                "device": provenance.device_name(device),
                "threads": 1,
                "versions": provenance.versions(),
                "commit": provenance.commit(),
                "rounds": rounds,
                "layers": [row for shape in SHAPES[: 1 if quick else None]
                           for row in layers(shape, device, rounds)],
                "steps": [row for case in cases(device)[: 1 if quick else None]
                          for row in steps(case, device, rounds)],
                "blocks": [row for shape in SHAPES[: 1 if quick else None]
                           for row in blocks(shape, device, rounds)],
                "together": [row for batch in (DIGITS.batch_size, SOURCE_BATCH)
                             for row in together(device, batch,
                                                 (1, 2) if quick else _NUMBERS[device], rounds)],
                "feeding": feeding(device, 256 if quick else 4096, rounds),
                "operations": [operations.of_training(network) for network in NETWORKS],
            }  # fmt: skip
    finally:
        torch.set_num_threads(threads)


# Trainings that run as one.
_NUMBERS = {"cpu": (1, 2, 4, 8, 16), "cuda": (1, 2, 4, 8, 16, 32, 64, 128)}


# Ratios -----------------------------------------------------------------------------------------


def ratios(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds of each, and its time over that of the first in the same round.

    A ratio is told by its median and, for its spread, the 10th and 90th percentile of the rounds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            seconds[name].append(_seconds(run))
    first = seconds[next(iter(runs))]
    told = {}
    for name, taken in seconds.items():
        each = [a / b for a, b in zip(taken, first, strict=True)]
        tenths = statistics.quantiles(each, n=10)
        told[name] = {
            "seconds": statistics.median(taken),
            "time_ratio": statistics.median(each),
            "time_ratio_low": tenths[0],
            "time_ratio_high": tenths[-1],
        }
    return told


def _seconds(run: Callable[[], object]) -> float:
    _wait()
    began = time.perf_counter()
    run()
    _wait()
    return time.perf_counter() - began


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


# One layer --------------------------------------------------------------------------------------


def _plain(shape: Shape, x: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=shape.k // 2)


def _ours(shape: Shape, x: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    return sparse_conv2d(x, mask, weight, padding=shape.k // 2)[0]


def _partial(shape: Shape, x: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """k²/Σ and a mask that is updated, as in partial convolution (Liu et al. 2018)."""
    padding, k2 = shape.k // 2, shape.k**2
    with torch.no_grad():
        ones = torch.ones(1, 1, shape.k, shape.k, device=x.device)
        count = F.conv2d(mask, ones, padding=padding)
        updated = count.clamp(0, 1)
        ratio = k2 / (count + 1e-8) * updated
    return F.conv2d(x * mask, weight, padding=padding) * ratio * updated


# Written from their description; each but the first has the numbers of Eq. 1, or k² of them.
LAYERS: dict[str, Callable[[Shape, Tensor, Tensor, Tensor], Tensor]] = {
    "nn.Conv2d": _plain,
    "SparseConv2d": _ours,
    "frozen convolution, 1 → 1": functools.partial(denominators.layer, "1 → 1"),
    "ones, all → all": functools.partial(denominators.layer, "all → all"),
    "k²/Σ, mask updated": _partial,
}


def layers(shape: Shape, device: str, rounds: int) -> list[dict[str, Any]]:
    """A forward and backward pass of each of LAYERS over that of nn.Conv2d, and its memory."""
    x, mask, weight = denominators.inputs(shape, device)

    def run(name: str) -> None:
        image, w = x.detach().requires_grad_(), weight.detach().requires_grad_()
        LAYERS[name](shape, image, mask, w).sum().backward()

    timed = ratios({name: functools.partial(run, name) for name in LAYERS}, rounds)
    return [
        {
            "shape": str(shape),
            "layer": name,
            **timed[name],
            "peak_bytes": operations.peak_bytes(functools.partial(run, name)),
        }
        for name in LAYERS
    ]


# A compiled block -------------------------------------------------------------------------------


class Block(nn.Module):
    """Convolution, BatchNorm, ReLU: what torch.compile can fuse."""

    def __init__(self, shape: Shape, sparse: bool) -> None:
        super().__init__()
        kind = SparseConv2d if sparse else nn.Conv2d
        self.convolution = kind(shape.c_in, shape.c_out, shape.k, padding=shape.k // 2)
        self.norm = nn.BatchNorm2d(shape.c_out)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (N, C, H, W), mask (N, 1, H, W) -> (N, C', H, W)."""
        if isinstance(self.convolution, SparseConv2d):
            return F.relu(self.norm(self.convolution(x, mask)[0]))
        return F.relu(self.norm(self.convolution(x)))


def can_compile(device: str) -> bool:
    """Whether torch.compile has what it needs: on a CPU a C++ compiler."""
    if device != "cpu":
        return True
    return any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++"))


def blocks(shape: Shape, device: str, rounds: int) -> list[dict[str, Any]]:
    """Forward and backward pass of a compiled block with SparseConv2d over that with nn.Conv2d."""
    if not can_compile(device):
        return []
    x, mask, _ = denominators.inputs(shape, device)
    runs = {}
    for name, sparse in (("nn.Conv2d", False), ("SparseConv2d", True)):
        block = torch.compile(Block(shape, sparse).to(device), fullgraph=True)
        runs[name] = functools.partial(_block_step, block, x, mask)
    timed = ratios(runs, rounds)
    return [{"shape": str(shape), "layer": name, **timed[name]} for name in runs]


def _block_step(block: Callable[[Tensor, Tensor], Tensor], x: Tensor, mask: Tensor) -> None:
    block(x.detach().requires_grad_(), mask).sum().backward()


# A training step of a whole network -------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Networks of one protocol, on images of one size."""

    name: str
    protocol: Protocol
    channels: int
    side: int
    batch: int


def cases(device: str) -> list[Case]:
    """The networks of the source; on a CPU on fewer or smaller photographs."""
    few, side = (16, 64) if device == "cpu" else (64, 224)
    return [
        Case("Table 1, MNIST", DIGITS, 1, 28, 64),
        Case("Table 2, photographs", preset("as_written", "caltech101"), 3, 224, few),
        Case("ResNet18", preset("as_written", "resnet18"), 3, side, few),
    ]


def steps(case: Case, device: str, rounds: int) -> list[dict[str, Any]]:
    """A training step of every network, its optimiser's included, over that of ConvNet."""
    generator = torch.Generator().manual_seed(0)
    shape = (case.batch, case.channels, case.side, case.side)
    x = torch.rand(shape, generator=generator).to(device)
    mask = (torch.rand(case.batch, 1, *shape[2:], generator=generator) >= 0.5).float().to(device)
    labels = torch.randint(0, 10, (case.batch,), generator=generator).to(device)
    runs = {}
    for network in NETWORKS:
        net = build(case.protocol, network, 0).to(device)
        optimise = optimiser(case.protocol, net.parameters(), 1e-3)
        runs[network] = functools.partial(_step, net, optimise, x * mask, mask, labels)
    timed = ratios(runs, max(2, rounds // 3) if case.side > 28 else rounds)
    kind = f"{case.name}, {case.batch} images of {case.side}×{case.side}"
    return [{"case": kind, "network": network, **timed[network]} for network in NETWORKS]


def _step(net: nn.Module, optimise: Any, x: Tensor, mask: Tensor, labels: Tensor) -> None:
    optimise.zero_grad()
    F.cross_entropy(net(x, mask), labels).backward()
    optimise.step()


# Many trainings as one --------------------------------------------------------------------------


def together(
    device: str, batch: int, numbers: tuple[int, ...], rounds: int
) -> list[dict[str, Any]]:
    """Steps of training a second, all trainings counted, where so many run as one.

    The network is SparseConvNet of Table 1, and a step has `batch` images, at most 64. The first
    row is a training alone.
    """
    protocol = replace(DIGITS, batch_size=batch)
    dataset = data.synthetic("mnist", images=64, seed=0)
    images = on_device(protocol, Images(dataset.train_images, dataset.train_labels),
                       Images(dataset.test_images, dataset.test_labels), device)  # fmt: skip
    rows = []
    with reproducible(protocol):  # which computes small batches by other kernels
        for number in numbers:
            candidates = [
                Training(protocol, "SparseConvNet", 0.5, seed, *images).start(1e-3)
                for seed in range(number)
            ]
            shown = [candidate.shown(candidate.begin_epoch()[0]) for candidate in candidates]
            x, mask, labels = (torch.stack(each) for each in zip(*shown, strict=True))
            assert x.shape[:2] == (number, batch)
            if number == 1:
                net, optimise = candidates[0].net, candidates[0].optimiser
                run = functools.partial(_step, net, optimise, x[0], mask[0], labels[0])
            else:
                stack = Stack([candidate.net for candidate in candidates])
                optimise = optimiser(protocol, stack.parameters.values(), 1e-3)
                run = functools.partial(_stacked_step, stack, optimise, x, mask, labels)
            timed = ratios({"stack": run}, max(3, rounds // 3))["stack"]
            pace = number / timed["seconds"]
            rows.append({"batch": batch, "together": number, "steps_a_second": pace})
    return rows


def _stacked_step(stack: Stack, optimise: Any, x: Tensor, mask: Tensor, labels: Tensor) -> None:
    optimise.zero_grad()
    torch.vmap(F.cross_entropy)(stack(DIGITS, x, mask), labels).sum().backward()
    optimise.step()


# Feeding ----------------------------------------------------------------------------------------


class _OneByOne(Dataset[tuple[Tensor, int]]):
    """The report's way: images and masks in lists, an item at a time to floats and masked."""

    def __init__(self, images: Tensor, labels: Tensor, masks: Tensor) -> None:
        self.images, self.labels, self.masks = list(images), labels.tolist(), list(masks)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        mask = self.masks[i].float()
        return torch.cat([self.images[i].float() / 255 * mask, mask]), self.labels[i]


def feeding(device: str, images: int, rounds: int) -> list[dict[str, Any]]:
    """Images a second that reach the network, in batches of 64, without training on them."""
    made = data.synthetic("mnist", images=images, seed=0)
    train = Images(made.train_images, made.train_labels)
    test = Images(made.test_images, made.test_labels)
    masks = draw_masks(DIGITS, train, 0.5, 0, "training epoch 0")
    loader = DataLoader(_OneByOne(train.pixels, train.labels, masks), 64, shuffle=True)
    resident = on_device(DIGITS, train, test, device)
    candidate = Training(DIGITS, "ConvNet", 0.5, 0, *resident).start(1e-3)
    parts = candidate.begin_epoch()

    def ours() -> None:
        for part in parts:
            for x in candidate.shown(part)[0].split(64):
                x.sum()

    def theirs() -> None:
        for x, labels in loader:
            x.to(device).sum(), labels.to(device)

    ways = {"one by one, DataLoader": theirs, "a part at a time": ours}
    timed = ratios(ways, max(3, rounds // 6))
    return [
        {"feeding": name, "images_a_second": images / row["seconds"], **row}
        for name, row in timed.items()
    ]
