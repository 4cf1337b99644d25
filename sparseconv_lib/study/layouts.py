"""How a training step on photographs is fastest: order of the channels, and precision.

Trainings have the channels first, whatever their precision. What bfloat16 does to the accuracy is
not measured here.

`sparseconv measure` writes results/layouts.json, from which the chapter on Caltech-101 reads. The
variants take turns in one process, so that a ratio compares neighbours in time.
"""

import concurrent.futures
import multiprocessing
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from sparseconv_lib.networks import TABLE_2, ClassificationNet, seed_weights
from sparseconv_lib.study import denominators, provenance
from sparseconv_lib.study.paths import RESULTS
from sparseconv_lib.study.processes import children_keep_freed_memory

MEASURED = RESULTS / "layouts.json"
NETWORKS = ("ConvNet", "SparseConvNet-kept")
# name -> (channels last, bfloat16). The first is how trainings are done, and the third how those
# with precision=bfloat16 are.
VARIANTS = {
    "float32": (False, False),
    "float32, channels last": (True, False),
    "bfloat16": (False, True),
    "bfloat16, channels last": (True, True),
}


def step(net: ClassificationNet, batch: int, channels_last: bool, bfloat16: bool) -> float:
    """Seconds of one training step of `net` on generated photographs, its optimiser's included."""
    device = next(net.parameters()).device
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(batch, 3, TABLE_2.size, TABLE_2.size, generator=generator).to(device)
    mask = (torch.rand(batch, 1, *x.shape[2:], generator=generator) >= 0.5).float().to(device)
    labels = torch.randint(0, 101, (batch,), generator=generator).to(device)
    x = (x * mask).contiguous(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )
    optimiser = torch.optim.Adam(net.parameters(), 1e-3, fused=True)
    began = _now()
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        logits = net(x, mask)
    F.cross_entropy(logits.float(), labels).backward()
    optimiser.step()
    return _now() - began


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(rounds: int = 5, batch: int = 64) -> dict[str, Any]:
    """Images a second of every variant, and its time over that of the first, in `rounds` rounds.

    A ratio is told by its median and its extremes. On one thread, in a process that keeps the
    memory it frees, as trainings have it.
    """
    spawn = multiprocessing.get_context("spawn")
    with children_keep_freed_memory(), concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
        return pool.submit(_measure_here, rounds, batch).result()


def _measure_here(rounds: int, batch: int) -> dict[str, Any]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    rows = []
    for network in NETWORKS:
        net = ClassificationNet(network, TABLE_2)
        seed_weights(net, 0)
        net.to(device)
        seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
        step(net, batch, False, False)
        for _ in range(rounds):
            for name, variant in VARIANTS.items():
                seconds[name].append(step(net, batch, *variant))
        for name in VARIANTS:
            ratios = [a / b for a, b in zip(seconds[name], seconds["float32"], strict=True)]
            rows.append(
                {
                    "network": network,
                    "variant": name,
                    "images_a_second": batch / statistics.median(seconds[name]),
                    "time_ratio": statistics.median(ratios),
                    "time_ratio_low": min(ratios),
                    "time_ratio_high": max(ratios),
                }
            )
    return {
        "device": provenance.device_name(device),
        "threads": 1,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "rounds": rounds,
        "batch": batch,
        "rows": rows,
    }


def save(measured: dict[str, Any], path: Path = MEASURED) -> None:
    """Replaces the committed measurement, whole or not at all."""
    denominators.save(measured, path)


def load(path: Path = MEASURED) -> dict[str, Any] | None:
    """The committed measurement; None where there is none."""
    return denominators.load(path)
