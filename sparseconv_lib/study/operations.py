"""What a training does, run eagerly: its operations, the bytes that its kernels move, its memory.

From them follows how long a device would take that is never idle. Kernels that a compiler fuses
move fewer bytes, and may be faster.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from sparseconv_lib.networks import TABLE_1, ClassificationNet


@dataclass(frozen=True)
class Machine:
    """What a maker says of a device: float32 operations a second, and bytes from memory."""

    name: str
    operations: float
    bytes: float


# NVIDIA's data sheet of the H200 (SXM): 67 TFLOP/s in float32 without tensor cores, 4.8 TB/s.
H200 = Machine("NVIDIA H200", 67e12, 4.8e12)


class _Bytes(TorchDispatchMode):
    """Adds up what every operation reads and writes, views left out."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            for leaf in tree_leaves((args, kwargs, result)):
                if isinstance(leaf, torch.Tensor):
                    self.total += leaf.numel() * leaf.element_size()
        return result


def of_step(network: str, batch: int) -> tuple[int, int]:
    """Operations and bytes of one training step of a network of Table 1, on a CPU, eager.

    Operations are those of convolutions and matrices, a multiplication and an addition being two.
    Bytes are what every kernel reads and writes; a compiler that fuses some moves fewer.
    """
    net = ClassificationNet(network, TABLE_1)
    optimise = torch.optim.SGD(net.parameters(), 1e-3, 0.9, fused=True)
    x, mask = torch.rand(batch, 1, 28, 28), torch.ones(batch, 1, 28, 28)
    labels = torch.zeros(batch, dtype=torch.int64)

    def step() -> None:
        optimise.zero_grad()
        F.cross_entropy(net(x, mask), labels).backward()
        optimise.step()

    step()
    with FlopCounterMode(display=False) as flops:
        step()
    with _Bytes() as moved:
        step()
    return flops.get_total_flops(), moved.total


def of_training(
    network: str, batch: int = 64, images: int = 60_000, epochs: int = 2
) -> dict[str, Any]:
    """Operations and bytes of the steps of one training on MNIST, as the source trained."""
    operations, moved = of_step(network, batch)
    steps = -(-images // batch) * epochs
    return {"network": network, "batch": batch, "epochs": epochs,
            "operations": operations * steps, "bytes": moved * steps}  # fmt: skip


def floor(counted: dict[str, Any], trainings: int, machine: Machine = H200) -> float:
    """Seconds that so many trainings take, eagerly, on a machine that is never idle."""
    return trainings * max(
        counted["operations"] / machine.operations, counted["bytes"] / machine.bytes
    )


class _Peak(TorchDispatchMode):
    """The most memory that tensors held at a time which were made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}  # address -> storage, bytes
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self.alive[storage.data_ptr()] = StorageWeakRef(storage), storage.nbytes()
        self.alive = {at: held for at, held in self.alive.items() if not held[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


def peak_bytes(run: Callable[[], object]) -> int:
    """The most memory that what `run` makes takes at a time; on a GPU, as its allocator says."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with _Peak() as peak:
        run()
    return peak.peak
