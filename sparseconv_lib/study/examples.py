"""What a chapter shows of a training without data or weights: one small file beside its record.

The test image that chapters show, its mask, the maps of the first convolution and the class
probabilities. Photographs are kept as JPEG, their maps at a quarter of their size.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sparseconv_lib.networks import ClassificationNet
from sparseconv_lib.study.images import IMAGENET_DEVIATION, IMAGENET_MEAN, Images, prepare
from sparseconv_lib.study.protocol import Protocol

LARGEST_MAP = 56  # pixels a side; larger maps are averaged down


@dataclass(frozen=True)
class Example:
    """image uint8 (C, H, W); mask bool (H, W), True where observed; label, an index.

    maps: the first convolution's, float (channels, H, W), at most LARGEST_MAP a side;
    probabilities: of each class, (classes,).
    """

    image: np.ndarray
    mask: np.ndarray
    label: int
    maps: np.ndarray
    probabilities: np.ndarray


def as_seen(one: Images, mask: Tensor, protocol: Protocol) -> np.ndarray:
    """What a network is shown of `one` image under its mask (1, 1, H, W), as pixels again.

    Returns uint8 (C, H, W): the scaling undone, so that a missing pixel has the colour that its
    fill stands for, or the nearest there is.
    """
    x = prepare(one, mask, protocol)[0][0]
    if protocol.scaling == "imagenet":
        mean, deviation = (
            torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_DEVIATION)
        )
        x = x * deviation + mean
    return (255 * x.clamp(0, 1)).round().to(torch.uint8).numpy()


def missing_in_words(protocol: Protocol) -> str:
    """A sentence on what stands for missing pixels: in a picture of `as_seen`, and in a network."""
    fill = protocol.fill
    if protocol.dataset == "mnist":  # grey, so that a picture may mark them by a colour
        shown = "are blue here"
    elif protocol.scaling == "imagenet":
        shown = "have ImageNet's mean colour" if fill == 0 else "have one colour"
    else:
        shown = "are black" if fill <= 0 else "are white" if fill >= 1 else "are grey"
    earlier = ", and 0 where earlier masks took them" if protocol.compounding and fill else ""
    return f"Missing pixels {shown}; the network sees {fill:g}{earlier}."


def leave(
    path: Path, net: ClassificationNet, protocol: Protocol, one: Images, mask: Tensor
) -> None:
    """Writes the file for `one` image and its mask (1, 1, H, W), as `net` sees them; a pixel that
    compounding masks took counts as missing in what is shown.

    Maps are stored as uint8 between their own minimum and maximum.
    """
    net.eval()
    seen: list[Tensor] = []
    hook = net.convolutions[0].register_forward_hook(
        lambda _, __, output: seen.append(output[0] if isinstance(output, tuple) else output)
    )
    with torch.no_grad():
        probabilities = net(*prepare(one, mask, protocol)).softmax(1)[0]
    hook.remove()
    maps = seen[0][0]  # (C, H, W)
    if maps.shape[-1] > LARGEST_MAP:
        maps = F.adaptive_avg_pool2d(maps, LARGEST_MAP)
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    quantised = ((maps - low) / (high - low).clamp(min=1e-12) * 255).round().to(torch.uint8)
    image = one.pixels[0].numpy()
    if len(image) == 3:
        stream = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(stream, format="jpeg", quality=85)
        shown = {"jpeg": np.frombuffer(stream.getvalue(), np.uint8)}
    else:
        shown = {"image": image}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        allow_pickle=False,
        **shown,
        mask=(mask if one.left is None else mask & one.left)[0, 0].numpy(),
        label=int(one.labels[0]),
        maps=quantised.numpy(),
        maps_low=low.flatten().numpy(),
        maps_high=high.flatten().numpy(),
        probabilities=probabilities.numpy(),
    )


def read(path: Path) -> Example | None:
    """The example in `path`, or None where there is none."""
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        if "jpeg" in file:
            picture = Image.open(io.BytesIO(file["jpeg"].tobytes()))
            image = np.array(picture).transpose(2, 0, 1)  # its own, so that torch takes it
        else:
            image = file["image"]
        low, high = (file[f"maps_{end}"][:, None, None] for end in ("low", "high"))
        maps = low + file["maps"] / 255 * (high - low)
        return Example(image, file["mask"], int(file["label"]), maps, file["probabilities"])
