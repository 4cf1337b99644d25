"""Images as networks see them: which pixels are lost or missing, the scaling, and the fill.

Masks come from the seed, in streams of their own that are drawn on the CPU, so that they are the
same on every device and for every network. Images stay as they were stored, and are scaled, masked
and filled a part at a time.
"""

import dataclasses
import math
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sparseconv_lib.masks import FIELDS, observe, observed
from sparseconv_lib.networks import stream_seed
from sparseconv_lib.study.field_store import store_of
from sparseconv_lib.study.interpolation import nearest
from sparseconv_lib.study.protocol import MAPS, Protocol

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # R, G, B

# The source's notebook for Caltech-101 masked its one list of images in place, first at a leftover
# 0.3, then at each sparsity of its sweep.
LEFTOVER_SPARSITY = 0.3
SWEEP = tuple(i / 20 for i in range(20))


@dataclass(frozen=True)
class Images:
    """Images of one data set: pixels uint8 (N, C, H, W), labels int64 (N,), on one device.

    Maps have float32 pixels (N, 1, H, W), NaN where the value is not known, which is nowhere
    observed and nowhere asked for.

    left: bool (N, 1, H, W), False where a pixel has been lost that no mask tells of; None: none.
    """

    pixels: Tensor
    labels: Tensor
    left: Tensor | None = None

    def to(self, device: torch.device) -> "Images":
        left = None if self.left is None else self.left.to(device)
        return Images(self.pixels.to(device), self.labels.to(device), left)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> "Images":
        left = None if self.left is None else self.left[index]
        return Images(self.pixels[index], self.labels[index], left)


def draw_masks(
    protocol: Protocol, images: Images, sparsity: float | Tensor, seed: int, use: str
) -> Tensor:
    """Masks for `images`: bool (N, 1, H, W) on their device; `use` names the stream of the seed.

    sparsity: of all images, or of each: (N,), on the CPU.
    """
    device = images.pixels.device
    if device.type == "cuda":
        key, draw = _field(protocol, images, seed, use)
        return _cut(store_of(device).get(key, draw, device), sparsity)
    masks, start = [], 0
    for field in _field_parts(protocol.mask_kind, *_size(images), seed, use):
        own = sparsity[start : start + len(field)] if isinstance(sparsity, Tensor) else sparsity
        masks.append(_cut(field, own))
        start += len(field)
    return torch.cat(masks)


def draw_ahead(protocol: Protocol, images: Images, seeds: Iterable[int], use: str) -> None:
    """On a GPU, begins to draw what `draw_masks` will be asked for."""
    device = images.pixels.device
    if device.type == "cuda":
        store_of(device).ahead(dict(_field(protocol, images, seed, use) for seed in seeds))


def _field(
    protocol: Protocol, images: Images, seed: int, use: str
) -> tuple[Hashable, Callable[[], Tensor]]:
    """What tells a field from others, and how it is drawn."""
    which = (protocol.mask_kind, *_size(images), seed, use)
    return which, lambda: torch.cat(list(_field_parts(*which)))


def _size(images: Images) -> tuple[int, int, int]:
    height, width = images.pixels.shape[2:]
    return len(images), height, width


def _field_parts(
    kind: str, number: int, height: int, width: int, seed: int, use: str
) -> Iterator[Tensor]:
    """The field of `number` images, some at a time: float32 (n, 1, H, W), on the CPU."""
    generator = torch.Generator().manual_seed(stream_seed(seed, f"{use} masks"))
    # A field is four times the size of its mask. A multiple of 16 images, so that the numbers do
    # not depend on how many are drawn at once.
    at_once = max(16, 4096 * 28 * 28 // (height * width) // 16 * 16)
    for start in range(0, number, at_once):
        yield FIELDS[kind](min(at_once, number - start), height, width, generator)


def _cut(field: Tensor, sparsity: float | Tensor) -> Tensor:
    if isinstance(sparsity, Tensor):
        return field >= sparsity.view(-1, 1, 1, 1).to(field.device)
    return observed(field, sparsity)


def draw_sparsities(
    protocol: Protocol, images: Images, sparsity: float, seed: int, use: str
) -> float | Tensor:
    """The sparsity of each of `images`: where the protocol mixes them float32 (N,), on the CPU."""
    if not protocol.mixed_sparsity:
        return sparsity
    generator = torch.Generator().manual_seed(stream_seed(seed, f"{use} sparsities"))
    return sparsity * torch.rand(len(images), generator=generator)


def lost_before(sparsity: float) -> float:
    """Share of pixels that compounding masks have taken before the source's sweep is at `sparsity`.

    One minus the product of 1 - q over the leftover 0.3 and every earlier q of the sweep.
    """
    earlier = [q for q in SWEEP if q < sparsity]
    return 1 - math.prod(1 - q for q in (LEFTOVER_SPARSITY, *earlier))


def shrink(images: Images, side: int) -> Images:
    """`images` with `side` pixels a side, averaged down (bilinear, antialiased), rounded to bytes.

    Computed in float32 where the images are. Images of that side already, or side 0, stay as they
    are. Raises ValueError for pixels that have been lost: masks are drawn after it.
    """
    if side in (0, images.pixels.shape[-1]):
        return images
    if images.left is not None:
        raise ValueError("shrink the images before any pixel of them is lost")
    pixels = torch.cat(
        [
            F.interpolate(part.float(), (side, side), mode="bilinear", antialias=True)
            .round()
            .clamp(0, 255)
            .to(torch.uint8)
            for part in images.pixels.split(256)
        ]
    )
    return Images(pixels, images.labels)


def arrange(
    protocol: Protocol, sparsity: float, seed: int, train: Images, test: Images
) -> tuple[Images, Images]:
    """The training and test images of one training, from the data set's own two parts.

    Where the protocol draws its own split, as many test images are drawn from all images; where
    masks compound, `left` says which pixels the earlier sparsities have left.
    """
    if protocol.split == "by_seed":
        shuffle = torch.Generator().manual_seed(stream_seed(seed, "split"))
        order = torch.randperm(len(train) + len(test), generator=shuffle).to(train.labels.device)
        every = Images(
            torch.cat([train.pixels, test.pixels]), torch.cat([train.labels, test.labels])
        )
        test, train = every[order[: len(test)]], every[order[len(test) :]]
    if protocol.compounding:
        lost = lost_before(sparsity)
        train, test = (
            dataclasses.replace(images, left=draw_masks(protocol, images, lost, seed, use))
            for images, use in ((train, "earlier training"), (test, "earlier test"))
        )
    return train, test


def in_units(protocol: Protocol, train: Images, test: Images) -> tuple[Images, Images, float]:
    """Maps in a network's units, and how many of the data set's units one of those is.

    Under "standard", by mean and deviation of the training pixels; under "unit", by the largest of
    them. Other images are scaled by `prepare`, a part at a time: 1.0.
    """
    if protocol.dataset not in MAPS:
        return train, test, 1.0
    known = train.pixels[~train.pixels.isnan()].double()
    if protocol.scaling == "standard":
        offset, unit = known.mean().item(), known.std().item()
    else:
        offset, unit = 0.0, known.max().item()
    train, test = (
        dataclasses.replace(images, pixels=(images.pixels - offset) / unit)
        for images in (train, test)
    )
    return train, test, unit


def scaled(images: Images, protocol: Protocol) -> Tensor:
    """Pixels in a network's units, nothing missing yet: float32 (N, C, H, W)."""
    if protocol.dataset in MAPS:
        return images.pixels
    x = images.pixels.float() / 255
    if protocol.invert:
        x = 1 - x
    if protocol.scaling == "imagenet":
        mean, deviation = (
            torch.tensor(values, device=x.device).view(1, 3, 1, 1)
            for values in (IMAGENET_MEAN, IMAGENET_DEVIATION)
        )
        x = (x - mean) / deviation
    return x


def prepare(
    images: Images, masks: Tensor, protocol: Protocol, sparsity: float | Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What a network is shown of `images` (N, C, H, W) under bool masks (N, 1, H, W), in float32.

    sparsity: the share p of missing pixels, or that of each image, which `rescale` divides by.
    Returns the scaled images with missing pixels filled, and the masks.
    """
    x = scaled(images, protocol)
    if protocol.dataset in MAPS:
        masks = masks & ~x.isnan()
    if images.left is not None:
        x = observe(x, images.left)  # the source multiplies by the mask
    x = _filled(x, masks, protocol)
    if protocol.rescale:
        if sparsity is None:
            raise ValueError("the protocol rescales by the sparsity: tell it")
        share = 1 - torch.as_tensor(sparsity, dtype=x.dtype, device=x.device)
        x = x / share.view(-1, 1, 1, 1)
    return x, masks.float()


def _filled(x: Tensor, masks: Tensor, protocol: Protocol) -> Tensor:
    if protocol.fill_from == "value":
        return observe(x, masks, protocol.fill)
    if protocol.fill_from == "mean":
        observed_only = observe(x, masks)
        # An image without an observed pixel has no mean: it holds 0.
        count = masks.sum((1, 2, 3), keepdim=True).clamp(min=1)
        mean = observed_only.sum((2, 3), keepdim=True) / count
        return torch.where(masks, x, mean)
    # SciPy's, on the CPU. Every channel is filled alone, and has the same nearest pixel.
    channels = x.shape[1]
    values = x.flatten(0, 1).cpu().numpy()
    observed_at = masks.expand(-1, channels, -1, -1).flatten(0, 1).cpu().numpy()
    filled = torch.from_numpy(nearest(values, observed_at)).to(x).view_as(x)
    return filled.nan_to_num(0.0)  # an image without an observed pixel
