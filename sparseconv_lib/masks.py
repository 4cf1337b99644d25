"""Which pixels are observed: random fields, the masks cut from them, and `observe`.

A mask is (N, 1, H, W), 1 where the pixel is observed and 0 where it is missing. The sparsity p is
the share of missing pixels. Every mask is a random *field*, uniform on [0, 1), cut at p:

    observed = field >= p

so the masks of one field nest as p grows (what is missing at 0.5 is missing at 0.8), and one draw
serves every sparsity. Fields are drawn on the CPU, where a seed gives the same numbers on every
machine, and moved to the device afterwards.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def bernoulli_field(images: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Independent pixels: the masks of the source (Section 3.1), each pixel missing with chance p.

    Returns (images, 1, height, width), float32. The first k images do not depend on `images`.
    """
    return torch.rand(images, 1, height, width, generator=generator)


def block_field(
    images: int, height: int, width: int, generator: torch.Generator, block: int = 4
) -> Tensor:
    """Squares of `block` x `block` pixels that are observed or missing together.

    The grid of squares is shifted by a random offset in every image, so that no pixel is always
    at the border of a square. Returns (images, 1, height, width), float32.
    """
    if block < 1:
        raise ValueError(f"block is {block}; give the side of a square in pixels, at least 1")
    rows, columns = -(-height // block) + 1, -(-width // block) + 1
    # One draw per image, squares and offsets together, so that the first k images do not depend
    # on how many follow.
    draws = torch.rand(images, rows * columns + 2, generator=generator)
    down, right = (draws[:, -2:] * block).long().unbind(1)  # (N,) each, in 0 .. block - 1
    row = (torch.arange(height) + down[:, None]) // block  # (N, H)
    column = (torch.arange(width) + right[:, None]) // block  # (N, W)
    square = row[:, :, None] * columns + column[:, None, :]  # (N, H, W)
    return draws.gather(1, square.flatten(1)).view(images, 1, height, width)


def scan_line_field(images: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Whole rows that are observed or missing together, as a laser scanner leaves them.

    Returns (images, 1, height, width), float32; the width is an expanded view.
    """
    return torch.rand(images, 1, height, 1, generator=generator).expand(-1, -1, -1, width)


Field = Callable[[int, int, int, torch.Generator], Tensor]
FIELDS: dict[str, Field] = {
    "bernoulli": bernoulli_field,
    "block": block_field,
    "scan_line": scan_line_field,
}


def observed(field: Tensor, sparsity: float) -> Tensor:
    """The mask that `field` gives at `sparsity`: bool, of the field's shape, True where observed.

    Raises ValueError unless 0 <= sparsity < 1: at 1 nothing would be observed.
    """
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(f"sparsity is {sparsity}; it must be at least 0 and below 1")
    return field >= sparsity


def observe(x: Tensor, mask: Tensor, fill: float = 0.0) -> Tensor:
    """x where the mask is 1, `fill` where it is 0; what x held there (NaN too) has no effect.

    x is (N, C, H, W), mask (N, 1, H, W) of 0s and 1s, or both are without N. Returns x's shape, in
    x's dtype if that can hold `fill`: whole numbers become floats unless `fill` is an int.

    Raises ValueError for x or a mask of another shape, which would be broadcast in silence.
    """
    if x.dim() < 3:
        raise ValueError(f"x has shape {tuple(x.shape)}; it must be (N, C, H, W) or (C, H, W)")
    if mask.shape != (*x.shape[:-3], 1, *x.shape[-2:]):
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}; for x of shape {tuple(x.shape)} it must be "
            f"{(*x.shape[:-3], 1, *x.shape[-2:])}"
        )
    return torch.where(mask != 0, x, fill)
