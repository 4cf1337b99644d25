"""Whether a block that uses its mask twice differs, on whole images, from one that updates it.

The source blames ResNet18's fall at p = 0 on the first kind. Both are computed here, from the same
weights, on noise.
"""

import functools

import torch

from sparseconv_lib.networks import seed_weights
from sparseconv_lib.resnet import ResNet18
from sparseconv_lib.study.claims import NOT_REPRODUCED, UNDECIDED

SIDE = 64  # pixels of the image


@functools.cache
def largest_difference(sparsity: float = 0.0) -> float:
    """Between the maps of the two networks, behind any pair of blocks, in activations."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, SIDE, SIDE, generator=generator)
    mask = (torch.rand(2, 1, SIDE, SIDE, generator=generator) >= sparsity).float()
    maps = []
    for name in ("SparseConvNet-kept", "SparseConvNet"):
        net = ResNet18(name, skip="pooled").eval()
        seed_weights(net, 0)
        with torch.no_grad():
            maps.append([stage for _, stage, _ in net.stages(x, mask)])
    return max((a - b).abs().max().item() for a, b in zip(*maps, strict=True))


def verdict() -> tuple[str, str]:
    """The word and the reason for the claim `resnet18-mask-twice`, by its rule."""
    difference = largest_difference()
    if difference:
        return UNDECIDED, f"At p = 0 the outputs differ by up to {difference:.3g}; to be trained."
    return NOT_REPRODUCED, (
        "At p = 0 the two kinds of block give the same output from the same weights, bit for bit: "
        "the second use of the mask cannot be what costs the accuracy there."
    )
