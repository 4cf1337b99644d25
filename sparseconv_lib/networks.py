"""The source's plain networks (its Tables 1 and 2) and the original paper's network for maps.

Each comes as ConvNet, ConvNet+mask and SparseConvNet. All take `forward(x, mask)`, x (N, C, H, W)
with missing pixels already filled, mask (N, 1, H, W):

- "ConvNet" never looks at the mask;
- "ConvNet+mask" reads it as one more input channel, the original paper's other baseline;
- "SparseConvNet" replaces each convolution by `SparseConv2d`, the mask dilated as in the paper;
- "SparseConvNet-kept" leaves the mask as it is through convolutions, and only max pools it
  with the image, as the source's code does.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseconv_lib.layers import Scale, SparseConv2d, check_option, max_pool_mask

BlockOrder = Literal["text", "code"]


@dataclass(frozen=True)
class Architecture:
    """One table of the source.

    in_channels, size: of the square input image. convolutions: (kernel size, output channels) of
    each 'same' convolution, every one followed by a 2x2 max pooling of stride 2. linear: outputs
    of each fully connected layer, the last one the number of classes.

    Raises ValueError for an even kernel, whose padding could not be the same on all sides.
    """

    in_channels: int
    size: int
    convolutions: tuple[tuple[int, int], ...]
    linear: tuple[int, ...]

    def __post_init__(self) -> None:
        for kernel_size, _ in self.convolutions:
            if kernel_size % 2 == 0:
                raise ValueError(f"a kernel is {kernel_size} pixels wide; give an odd number")


TABLE_1 = Architecture(1, 28, ((5, 6), (5, 16)), (120, 84, 10))
TABLE_2 = Architecture(3, 224, ((7, 6), (5, 16), (3, 16), (3, 16)), (240, 120, 101))

# (kernel size, output channels) of each 'same' convolution of the network of Uhrig et al. 2017.
COMPLETION = ((11, 16), (7, 16), (5, 16), (3, 16), (3, 16), (1, 1))

NETWORKS = ("ConvNet", "ConvNet+mask", "SparseConvNet", "SparseConvNet-kept")


class ClassificationNet(nn.Module):
    """Convolution blocks, then fully connected layers with ReLU between them.

    Args:
        name: one of `NETWORKS`.
        architecture: `TABLE_1` (MNIST) or `TABLE_2` (Caltech-101).
        block_order: "text" is convolution, BatchNorm, ReLU, max pooling (the source's text);
            "code" is convolution, ReLU, max pooling, BatchNorm (the source's notebooks).
        batch_norm: False leaves BatchNorm out.
        scale: of the sparse convolutions; see `sparse_conv2d`.

    Raises ValueError for an unknown name or option, and in `forward` for images of another size
    than the architecture's.
    """

    def __init__(
        self,
        name: str,
        architecture: Architecture,
        *,
        block_order: BlockOrder = "text",
        batch_norm: bool = True,
        scale: Scale = "mean",
    ) -> None:
        super().__init__()
        _check_name(name)
        if block_order not in get_args(BlockOrder):
            raise ValueError(f"block_order is {block_order!r}; choose 'text' or 'code'")
        check_option("scale", scale, get_args(Scale))
        self.size = (architecture.size, architecture.size)
        self.mask_as_channel = name == "ConvNet+mask"
        self.sparse = name.startswith("SparseConvNet")
        self.block_order = block_order

        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        channels = architecture.in_channels + self.mask_as_channel
        size = architecture.size
        for kernel_size, out_channels in architecture.convolutions:
            self.convolutions.append(_convolution(name, channels, out_channels, kernel_size, scale))
            self.norms.append(nn.BatchNorm2d(out_channels) if batch_norm else nn.Identity())
            channels, size = out_channels, size // 2
        widths = (channels * size * size, *architecture.linear)
        self.linear = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (N, C, H, W), mask (N, 1, H, W) of 0s and 1s -> logits (N, classes)."""
        if x.shape[2:] != self.size:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; the network's images are {self.size[0]} pixels a "
                "side: scale yours, or build it with another Architecture"
            )
        if self.mask_as_channel:
            x = torch.cat([x, mask.to(x.dtype)], dim=1)
        last = len(self.convolutions) - 1
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            if self.sparse:
                x, mask = convolution(x, mask)
                if i < last:  # after the last block nothing reads the mask
                    mask = max_pool_mask(mask, 2)
            else:
                x = convolution(x)
            # ReLU and max pooling commute; in this order there is a quarter for ReLU to do.
            if self.block_order == "text":
                x = F.relu(F.max_pool2d(norm(x), 2))
            else:
                x = norm(F.relu(F.max_pool2d(x, 2)))
        x = x.flatten(1)
        for layer in self.linear[:-1]:
            x = F.relu(layer(x))
        return self.linear[-1](x)


class CompletionNet(nn.Module):
    """The network of Uhrig et al. 2017 for depth maps: `COMPLETION`, with ReLU between layers.

    Six 'same' convolutions without BatchNorm or pooling, 16 channels, the last one 1×1 to one
    channel.

    Args:
        name: one of `NETWORKS`.
        scale: of the sparse convolutions; see `sparse_conv2d`.

    Raises ValueError for an unknown name or option.
    """

    def __init__(self, name: str, *, scale: Scale = "mean") -> None:
        super().__init__()
        _check_name(name)
        check_option("scale", scale, get_args(Scale))
        self.mask_as_channel = name == "ConvNet+mask"
        self.sparse = name.startswith("SparseConvNet")
        self.convolutions = nn.ModuleList()
        channels = 1 + self.mask_as_channel
        for kernel_size, out_channels in COMPLETION:
            self.convolutions.append(_convolution(name, channels, out_channels, kernel_size, scale))
            channels = out_channels

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (N, 1, H, W), mask (N, 1, H, W) of 0s and 1s -> the whole map (N, 1, H, W)."""
        if self.mask_as_channel:
            x = torch.cat([x, mask.to(x.dtype)], dim=1)
        for i, convolution in enumerate(self.convolutions):
            x = F.relu(x) if i else x
            if self.sparse:
                x, mask = convolution(x, mask)
            else:
                x = convolution(x)
        return x


def _check_name(name: str) -> None:
    if name not in NETWORKS:
        raise ValueError(f"network is {name!r}; choose one of {', '.join(NETWORKS)}")


def _convolution(
    name: str, channels: int, out_channels: int, kernel_size: int, scale: Scale
) -> nn.Module:
    """The convolution of a network of that name."""
    padding = kernel_size // 2  # 'same', for odd kernels
    if not name.startswith("SparseConvNet"):
        return nn.Conv2d(channels, out_channels, kernel_size, padding=padding)
    return SparseConv2d(
        channels,
        out_channels,
        kernel_size,
        padding=padding,
        scale=scale,
        mask_update="keep" if name.endswith("-kept") else "dilate",
    )


def stream_seed(seed: int, stream: str) -> int:
    """A 63-bit seed of its own for each use of `seed` ("weights", "order", "test masks" ...).

    Separate streams keep trainings paired: two networks that draw a different number of weights
    still see the same masks and the same order of images.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{stream}".encode()).digest()[:8]) >> 1


def seed_weights(module: nn.Module, seed: int) -> None:
    """Draws the initial weights of `module`, in place, by PyTorch's own default rules.

    Every layer has its own stream, so networks that differ in one layer start equal in all others
    (ConvNet and both SparseConvNets start with identical weights).
    """
    with torch.random.fork_rng(devices=[]):
        for name, layer in module.named_modules():
            if hasattr(layer, "reset_parameters"):
                torch.manual_seed(stream_seed(seed, f"weights of {name}"))
                layer.reset_parameters()
