"""ResNet18 as the source built it, dense and sparse, with the mask explicit through every block.

It is He et al.'s network with a bias in each convolution: a 7x7 convolution of stride 2 and a 3x3
max pooling of stride 2, four stages of two residual blocks (64, 128, 256, 512 channels), the mean
over the map, one linear layer. The names are those of `networks.NETWORKS`, here for ResNet18 with
plain convolutions, with the mask as a fourth channel, and with `SparseConv2d`.

What a mask becomes on its way is a matter of four rules. Each is an argument:

- through a convolution of stride 1, `mask_update` (of the name): "dilate" marks an output as
  observed if its window held an observed pixel; "keep" leaves the mask alone, as the source does;
- at a stride, `mask_at_stride`: "window", the same question asked of the window of the
  convolution, because that is what its output was computed from; "pool" max pools the mask by the
  stride, as the source does, and so overlooks what the window sees beyond those pixels;
- at the max pooling, `mask_at_pooling`: "any" observed pixel of the window makes the maximum an
  observed one, because its value then says something of the image; "all" asks that every one is;
- at a residual sum, `mask_at_sum`: "union", because a sum tells of the image where either branch
  does (the other adds its bias); "intersection" where both do; "main" or "skip", one branch's.
"""

from collections.abc import Iterator
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseconv_lib.layers import (
    MaskUpdate,
    Scale,
    SparseConv2d,
    check_option,
    max_pool_mask,
)
from sparseconv_lib.networks import NETWORKS

Skip = Literal["strided", "pooled"]
MaskAtStride = Literal["window", "pool"]
MaskAtPooling = Literal["any", "all"]
MaskAtSum = Literal["union", "intersection", "main", "skip"]

STAGES = (64, 128, 256, 512)  # channels of the four stages, two blocks each
SHRINKS = 32  # a side of the image over that of the last map


def combine_masks(main: Tensor, skip: Tensor, rule: MaskAtSum) -> Tensor:
    """The mask of a residual sum, from its two branches' masks, both (N, 1, H, W) of 0s and 1s."""
    check_option("mask_at_sum", rule, get_args(MaskAtSum))
    if rule == "union":
        return torch.maximum(main, skip)
    if rule == "intersection":
        return torch.minimum(main, skip)
    return main if rule == "main" else skip


class MaskedConv(nn.Module):
    """A convolution, dense or sparse, that takes a mask and returns the mask of its output.

    (x, mask) -> (y, mask); padding is 'same' before the stride. Dense, it lets the mask through
    untouched, because nothing will read it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        *,
        sparse: bool,
        scale: Scale,
        mask_update: MaskUpdate,
        mask_at_stride: MaskAtStride,
    ) -> None:
        super().__init__()
        self.sparse = sparse
        # Where the size changes no mask can be kept; the layer's own update is the window's.
        self.pool_mask = stride if stride > 1 and mask_at_stride == "pool" else None
        padding = kernel_size // 2
        if sparse:
            self.conv: nn.Module = SparseConv2d(
                in_channels,
                out_channels,
                kernel_size,
                stride,
                padding,
                scale=scale,
                mask_update=mask_update if stride == 1 else "dilate",
            )
        else:
            self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, C, H, W), mask (N, 1, H, W) -> y (N, C', H', W'), mask (N, 1, H', W')."""
        if not self.sparse:
            return self.conv(x), mask
        y, new_mask = self.conv(x, mask)
        return y, new_mask if self.pool_mask is None else max_pool_mask(mask, self.pool_mask)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm, and a skip around them.

    stride 2 halves the map. The skip is then a 1x1 convolution of stride 2 ("strided"), or a 2x2
    max pooling of image and mask and a 1x1 convolution ("pooled", the source's sparse network).
    second_norm: False leaves out the BatchNorm of the second convolution, as the source's sparse
    network does.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        *,
        second_norm: bool,
        skip: Skip,
        mask_at_sum: MaskAtSum,
        sparse: bool,
        scale: Scale,
        mask_update: MaskUpdate,
        mask_at_stride: MaskAtStride,
    ) -> None:
        super().__init__()
        self.mask_at_sum: MaskAtSum = mask_at_sum
        self.sparse = sparse
        self.pooled_skip = stride if stride > 1 and skip == "pooled" else None

        def convolution(channels_in: int, kernel_size: int, stride: int) -> MaskedConv:
            return MaskedConv(
                channels_in,
                channels,
                kernel_size,
                stride,
                sparse=sparse,
                scale=scale,
                mask_update=mask_update,
                # A 1x1 window of stride 2 sees one pixel of four: only that one may count.
                mask_at_stride="window" if kernel_size == 1 else mask_at_stride,
            )

        self.conv1 = convolution(in_channels, 3, stride)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = convolution(channels, 3, 1)
        self.norm2 = nn.BatchNorm2d(channels) if second_norm else nn.Identity()
        self.skip_conv = None
        if stride > 1:
            self.skip_conv = convolution(in_channels, 1, 1 if self.pooled_skip else stride)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, C, H, W), mask (N, 1, H, W) -> y and its mask, both smaller by the stride."""
        skip, skip_mask = x, mask
        if self.pooled_skip:
            skip = F.max_pool2d(skip, self.pooled_skip)
            skip_mask = max_pool_mask(skip_mask, self.pooled_skip) if self.sparse else skip_mask
        if self.skip_conv is not None:
            skip, skip_mask = self.skip_conv(skip, skip_mask)
        y, y_mask = self.conv1(x, mask)
        y, y_mask = self.conv2(F.relu(self.norm1(y)), y_mask)
        y = F.relu(self.norm2(y) + skip)
        return y, combine_masks(y_mask, skip_mask, self.mask_at_sum) if self.sparse else mask


class ResNet18(nn.Module):
    """ResNet18 for photographs with missing pixels; see the module for the rules of the mask.

    Args:
        name: one of `NETWORKS`.
        classes: outputs of the last layer.
        scale: of the sparse convolutions; see `sparse_conv2d`. With "none" and a mask of ones the
            sparse network is the dense one.
        second_norm, skip: of the sparse networks' blocks; see `ResidualBlock`. The dense networks
            have the second BatchNorm and the strided skip, as the source's has.
        mask_at_stride: by default "pool" for "SparseConvNet-kept", else "window".
        mask_at_pooling, mask_at_sum: see the module.
        train_blocks: of the sparse networks. False freezes the weights of all residual blocks at
            their first values, which is what the source's optimiser, never told of them, did.

    Raises ValueError for an unknown name or option.
    """

    def __init__(
        self,
        name: str,
        *,
        classes: int = 101,
        scale: Scale = "mean",
        second_norm: bool = True,
        skip: Skip = "strided",
        mask_at_stride: MaskAtStride | None = None,
        mask_at_pooling: MaskAtPooling = "any",
        mask_at_sum: MaskAtSum = "union",
        train_blocks: bool = True,
    ) -> None:
        super().__init__()
        if name not in NETWORKS:
            raise ValueError(f"network is {name!r}; choose one of {', '.join(NETWORKS)}")
        kept = name.endswith("-kept")
        at_stride = mask_at_stride
        if at_stride is None:
            at_stride = "pool" if kept else "window"
        check_option("scale", scale, get_args(Scale))
        check_option("skip", skip, get_args(Skip))
        check_option("mask_at_stride", at_stride, get_args(MaskAtStride))
        check_option("mask_at_pooling", mask_at_pooling, get_args(MaskAtPooling))
        check_option("mask_at_sum", mask_at_sum, get_args(MaskAtSum))
        self.mask_as_channel = name == "ConvNet+mask"
        self.sparse = name.startswith("SparseConvNet")
        self.mask_at_pooling: MaskAtPooling = mask_at_pooling
        mask_update: MaskUpdate = "keep" if kept else "dilate"

        self.stem = MaskedConv(
            3 + self.mask_as_channel,
            STAGES[0],
            7,
            2,
            sparse=self.sparse,
            scale=scale,
            mask_update=mask_update,
            mask_at_stride=at_stride,
        )
        self.norm = nn.BatchNorm2d(STAGES[0])
        self.blocks = nn.ModuleList()
        in_channels = STAGES[0]
        for channels in STAGES:
            for first in (True, False):
                self.blocks.append(
                    ResidualBlock(
                        in_channels,
                        channels,
                        2 if first and channels != in_channels else 1,
                        second_norm=second_norm or not self.sparse,
                        skip=skip if self.sparse else "strided",
                        mask_at_sum=mask_at_sum,
                        sparse=self.sparse,
                        scale=scale,
                        mask_update=mask_update,
                        mask_at_stride=at_stride,
                    )
                )
                in_channels = channels
        self.linear = nn.Linear(STAGES[-1], classes)
        if self.sparse and not train_blocks:
            self.blocks.requires_grad_(False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (N, 3, H, W), mask (N, 1, H, W) of 0s and 1s -> logits (N, classes).

        Raises ValueError unless both sides are multiples of 32: elsewhere the maps of the two
        branches, or of image and mask, would not have one size.
        """
        for _, last, _ in self.stages(x, mask):
            x = last
        return self.linear(x.mean((2, 3)))

    def stages(self, x: Tensor, mask: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Name, map (N, C, H, W) and mask (N, 1, H, W) after each stage, "stem" to "stage 4".

        In a dense network the mask stays what came in. Raises ValueError as `forward` does.
        """
        if x.shape[-1] % SHRINKS or x.shape[-2] % SHRINKS:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; ResNet18 halves it five times: give sides that are "
                f"multiples of {SHRINKS}"
            )
        if self.mask_as_channel:
            x = torch.cat([x, mask.to(x.dtype)], dim=1)
        x, mask = self.stem(x, mask)
        x = F.relu(self.norm(x))
        yield "stem", x, mask
        x = F.max_pool2d(x, 3, 2, 1)
        if self.sparse:
            mask = self.pool_mask(mask)
        yield "pooling", x, mask
        for i, block in enumerate(self.blocks):
            x, mask = block(x, mask)
            if i % 2:
                yield f"stage {i // 2 + 1}", x, mask

    def pool_mask(self, mask: Tensor) -> Tensor:
        """The mask (N, 1, H, W) beside the stem's 3x3 max pooling of stride 2."""
        if self.mask_at_pooling == "any":
            return max_pool_mask(mask, 3, 2, 1)
        # Padding of the pooling is never the maximum, so it does not count as missing.
        return (max_pool_mask(mask == 0, 3, 2, 1) == 0).to(mask.dtype)
