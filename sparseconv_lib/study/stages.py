"""What ResNet18 makes of one photograph, stage by stage: a small file beside each record.

From it the chapter shows where the two networks part, without data or weights.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sparseconv_lib.resnet import ResNet18
from sparseconv_lib.study.images import Images, prepare
from sparseconv_lib.study.protocol import Protocol

SHOWN = 4  # channels whose maps are kept: the first ones, which start from the same weights
LARGEST_MAP = 32  # pixels a side; larger maps are averaged down


@dataclass(frozen=True)
class Stage:
    """One stage. size: pixels a side of its map, channels: how many.

    valid: share of the mask that is 1, None in a dense network; scale: root mean square of the
    activations; maps: float (SHOWN, H, W), at most LARGEST_MAP a side.
    """

    name: str
    size: int
    channels: int
    valid: float | None
    scale: float
    maps: np.ndarray


@dataclass(frozen=True)
class Walk:
    """image: uint8 (3, H, W); mask: bool (H, W), True where observed; label: index of the class;
    guess, confidence: the network's, and its probability in [0, 1]."""

    image: np.ndarray
    mask: np.ndarray
    label: int
    guess: int
    confidence: float
    stages: tuple[Stage, ...]


@torch.no_grad()
def walk(net: ResNet18, protocol: Protocol, one: Images, mask: Tensor) -> Walk:
    """Follows `one` image with its bool mask (1, 1, H, W) through `net`, running statistics used.

    A network whose blocks are tested with the batch's own statistics has none for one image.
    """
    net.eval()
    x, seen = prepare(one, mask, protocol)
    stages, last = [], x
    for name, last, stage_mask in net.stages(x, seen):
        maps = last[0, :SHOWN]
        if maps.shape[-1] > LARGEST_MAP:
            maps = F.adaptive_avg_pool2d(maps, LARGEST_MAP)
        stages.append(
            Stage(
                name,
                last.shape[-1],
                last.shape[1],
                stage_mask.float().mean().item() if net.sparse else None,
                last.square().mean().sqrt().item(),
                maps.numpy(),
            )
        )
    probabilities = net.linear(last.mean((2, 3))).softmax(1)[0]
    guess = int(probabilities.argmax())
    return Walk(
        one.pixels[0].numpy(),
        (mask if one.left is None else mask & one.left)[0, 0].numpy(),
        int(one.labels[0]),
        guess,
        float(probabilities[guess]),
        tuple(stages),
    )


def write(path: Path, walked: Walk) -> None:
    """Writes the file; maps become bytes between their own minimum and maximum."""
    stream = io.BytesIO()
    Image.fromarray(walked.image.transpose(1, 2, 0)).save(stream, format="png")
    arrays: dict[str, np.ndarray] = {
        "image": np.frombuffer(stream.getvalue(), np.uint8),
        "mask": np.packbits(walked.mask),
        "told": np.array([walked.label, walked.guess, walked.confidence]),
        "names": np.array([stage.name for stage in walked.stages]),
        "valid": np.array([np.nan if s.valid is None else s.valid for s in walked.stages]),
        "measures": np.array([[s.size, s.channels, s.scale] for s in walked.stages]),
    }
    for i, stage in enumerate(walked.stages):
        low = stage.maps.min((1, 2), keepdims=True)
        high = stage.maps.max((1, 2), keepdims=True)
        share = (stage.maps - low) / np.maximum(high - low, 1e-12)
        arrays[f"maps{i}"] = np.rint(share * 255).astype(np.uint8)
        arrays[f"range{i}"] = np.stack([low[:, 0, 0], high[:, 0, 0]])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def read(path: Path) -> Walk | None:
    """The walk in `path`, or None where there is none."""
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        image = np.asarray(Image.open(io.BytesIO(file["image"].tobytes()))).transpose(2, 0, 1)
        height, width = image.shape[1:]
        label, guess, confidence = file["told"].tolist()
        mask = np.unpackbits(file["mask"], count=height * width).reshape(height, width)
        return Walk(
            image,
            mask.astype(bool),
            int(label),
            int(guess),
            confidence,
            tuple(_stages(file)),
        )


def _stages(file: "np.lib.npyio.NpzFile") -> Iterator[Stage]:
    for i, name in enumerate(file["names"].tolist()):
        size, channels, scale = file["measures"][i].tolist()
        valid = float(file["valid"][i])
        low, high = file[f"range{i}"][:, :, None, None]
        maps = low + file[f"maps{i}"] / 255 * (high - low)
        yield Stage(name, int(size), int(channels), None if np.isnan(valid) else valid, scale, maps)
