"""How the mask fills up on its way through a network: calculated exactly, and measured.

Stages are "input", then "convolution 1", "pooling 1", "convolution 2" ... of an `Architecture`.
Pixels are missing independently with probability p, so an entry of the mask that has looked at n
pixels of the image is 0 with probability p^n, and n is all that has to be counted.
"""

import torch
from torch import Tensor

from sparseconv_lib.layers import MaskUpdate, max_pool_mask, sparse_conv2d
from sparseconv_lib.networks import Architecture

Interval = tuple[int, int]  # first and last pixel, along one side of the image


def stages(architecture: Architecture) -> list[str]:
    """The names of the stages, in order."""
    numbers = range(1, len(architecture.convolutions) + 1)
    return ["input", *(f"{kind} {i}" for i in numbers for kind in ("convolution", "pooling"))]


def seen_along_a_side(architecture: Architecture, update: MaskUpdate) -> list[list[Interval]]:
    """For each stage and position along one side: the pixels of the image that its mask looked at.

    A window looks at a rectangle, so the pixels behind the entry (i, j) are the product of those
    of i and of j. What lies outside the image is cut off.
    """
    seen = [(i, i) for i in range(architecture.size)]
    found = [seen]
    for kernel, _ in architecture.convolutions:
        if update == "dilate":
            radius = kernel // 2
            last = len(seen) - 1
            seen = [
                (seen[max(i - radius, 0)][0], seen[min(i + radius, last)][1])
                for i in range(len(seen))
            ]
        found.append(seen)
        seen = [(seen[i][0], seen[i + 1][1]) for i in range(0, len(seen) - 1, 2)]
        found.append(seen)
    return found


def calculated(architecture: Architecture, update: MaskUpdate, sparsity: float) -> list[float]:
    """The expected share of 1s in the mask at each stage, borders included.

    1 − p^n, averaged over all positions, n being the pixels that each has looked at.
    """
    shares = []
    for seen in seen_along_a_side(architecture, update):
        n = torch.tensor([last - first + 1 for first, last in seen], dtype=torch.float64)
        shares.append(1 - (sparsity ** torch.outer(n, n)).mean().item())
    return shares


def measured(architecture: Architecture, update: MaskUpdate, mask: Tensor) -> list[float]:
    """The share of 1s at each stage for given masks (N, 1, H, W), through the layers themselves."""
    shares = [mask.float().mean().item()]
    for kernel, _ in architecture.convolutions:
        weight = torch.zeros(1, 1, kernel, kernel)
        _, mask = sparse_conv2d(
            torch.zeros(mask.shape), mask, weight, padding=kernel // 2, mask_update=update
        )
        shares.append(mask.float().mean().item())
        mask = max_pool_mask(mask, 2)
        shares.append(mask.float().mean().item())
    return shares
