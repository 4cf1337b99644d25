"""Three ways to count the observed pixels of Eq. 1, measured side by side in one process.

All give the same count for every output channel; they differ in what they compute, and keep.
`sparseconv measure` writes results/denominators.json, from which the chapter on the maths reads.
"""

import functools
import json
import os
import statistics
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparseconv_lib.study import provenance
from sparseconv_lib.study.paths import RESULTS

MEASURED = RESULTS / "denominators.json"


@dataclass(frozen=True)
class Shape:
    """A layer: images (batch, c_in, size, size), kernel k, 'same' padding."""

    batch: int
    c_in: int
    c_out: int
    size: int
    k: int

    def __str__(self) -> str:
        channels, size = f"{self.c_in} → {self.c_out}", f"{self.size}×{self.size}"
        return f"{channels}, k = {self.k}, {size}, {self.batch} images"


SHAPES = (Shape(64, 6, 16, 14, 5), Shape(64, 16, 16, 56, 3), Shape(16, 64, 64, 56, 3))

# name -> (channels in, channels out) of the counting convolution
DESIGNS: dict[str, Callable[[Shape], tuple[int, int]]] = {
    "1 → 1": lambda shape: (1, 1),
    "1 → all": lambda shape: (1, shape.c_out),
    "all → all": lambda shape: (shape.c_in, shape.c_out),
}


def weights(design: str, shape: Shape) -> int:
    """Weights of the counting convolution."""
    c_in, c_out = DESIGNS[design](shape)
    return c_in * c_out * shape.k**2


def layer(design: str, shape: Shape, x: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Eq. 1 without bias, its count made by `design`; (N, C_out, H, W)."""
    c_in, c_out = DESIGNS[design](shape)
    padding = shape.k // 2
    with torch.no_grad():
        ones = torch.ones(c_out, c_in, shape.k, shape.k, device=x.device)
        count = F.conv2d(mask.expand(-1, c_in, -1, -1), ones, padding=padding) / c_in
        factor = (count > 0) / count.clamp(min=1)
    return F.conv2d(x * mask, weight, padding=padding) * factor


def inputs(shape: Shape, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """Seeded image, mask (half observed) and weight for a layer of that shape."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape.batch, shape.c_in, shape.size, shape.size, generator=generator)
    mask = torch.rand(shape.batch, 1, shape.size, shape.size, generator=generator) >= 0.5
    weight = torch.randn(shape.c_out, shape.c_in, shape.k, shape.k, generator=generator)
    return x.to(device), mask.float().to(device), weight.to(device)


def _step(design: str, shape: Shape, tensors: tuple[Tensor, Tensor, Tensor]) -> None:
    x, mask, weight = tensors
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    layer(design, shape, x, mask, weight).sum().backward()


def kept_bytes(design: str, shape: Shape) -> int:
    """Memory that the layer keeps from its forward pass for the backward one, each storage once."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    x, mask, weight = inputs(shape)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(design, shape, x.requires_grad_(), mask, weight.requires_grad_())
    return sum(kept.values())


def measure(rounds: int = 30) -> dict[str, Any]:
    """Time of a training step of the layer with each design, over that with one channel.

    Beside it the weights of the counting convolution, and `kept_bytes`. In each of `rounds` the
    designs take turns, so that a ratio compares neighbours in time. A ratio is told by its median,
    and by the 10th and 90th percentile of the rounds.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    try:
        for shape in SHAPES:
            tensors = inputs(shape, device)
            steps: dict[str, Callable[[], None]] = {
                design: functools.partial(_step, design, shape, tensors) for design in DESIGNS
            }
            seconds: dict[str, list[float]] = {design: [] for design in DESIGNS}
            for step in steps.values():
                step()
            for _ in range(rounds):
                for design, step in steps.items():
                    seconds[design].append(_seconds(step))
            for design in DESIGNS:
                ratios = [a / b for a, b in zip(seconds[design], seconds["1 → 1"], strict=True)]
                tenths = statistics.quantiles(ratios, n=10) if rounds > 1 else ratios * 9
                rows.append(
                    {
                        "shape": str(shape),
                        "design": design,
                        "weights": weights(design, shape),
                        "seconds": statistics.median(seconds[design]),
                        "time_ratio": statistics.median(ratios),
                        "time_ratio_low": tenths[0],
                        "time_ratio_high": tenths[-1],
                        "kept_bytes": kept_bytes(design, shape),
                    }
                )
    finally:
        torch.set_num_threads(threads)
    return {
        "device": provenance.device_name(device),
        "threads": 1,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "rounds": rounds,
        "rows": rows,
    }


def _seconds(step: Callable[[], None]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    began = time.perf_counter()
    step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def save(measured: dict[str, Any], path: Path = MEASURED) -> None:
    """Replaces the committed measurement; a rename, so that it is never half there."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    part.write_text(json.dumps(measured, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)


def load(path: Path = MEASURED) -> dict[str, Any] | None:
    """The committed measurement; None where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
