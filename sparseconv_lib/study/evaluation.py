"""Trained networks under test: the scores of every image, for one network or several at a time.

A model is what has a network's `net` (whose flags say how BatchNorm behaves) and its `buffers`, and
is called with images and masks that are stacked along a first axis, one for each of its networks.
"""

import copy
import typing
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from sparseconv_lib.networks import stream_seed
from sparseconv_lib.resnet import ResNet18
from sparseconv_lib.study.images import Images, draw_masks, prepare
from sparseconv_lib.study.objectives import OBJECTIVES
from sparseconv_lib.study.protocol import Protocol
from sparseconv_lib.study.replay import replayed

AT_ONCE = 1000 * 28 * 28  # pixels of each network's images that are prepared together
REESTIMATED_FROM = 5000  # training images that give BatchNorm other statistics

Sparsity = float | Tensor | None


def forward(
    net: Callable[[Tensor, Tensor], Tensor], protocol: Protocol, x: Tensor, mask: Tensor
) -> Tensor:
    """The network's outputs in float32, computed in the protocol's precision."""
    if protocol.precision == "float32":
        return net(x, mask)
    with torch.autocast(x.device.type, torch.bfloat16):
        return net(x, mask).float()


def as_one(tensors: Sequence[Tensor]) -> Tensor:
    """Stacked along a first axis; a single one without a copy."""
    return torch.stack(tuple(tensors)) if len(tensors) > 1 else tensors[0][None]


def of_each(sparsity: Sparsity, index: Tensor) -> Sparsity:
    """The sparsity of the images with those numbers."""
    return sparsity[index.cpu()] if isinstance(sparsity, Tensor) else sparsity


class Model(typing.Protocol):
    """M networks of one kind."""

    net: nn.Module
    buffers: dict[str, Tensor]

    def __call__(self, protocol: Protocol, x: Tensor, mask: Tensor) -> Tensor:
        """x (M, N, C, H, W), mask (M, N, 1, H, W) -> outputs (M, N, ...)."""

    def copy(self) -> "Model":
        """Another, with its own weights and statistics."""


class Alone:
    """One network as a Model."""

    def __init__(self, net: nn.Module) -> None:
        self.net, self.buffers = net, dict(net.named_buffers())

    def __call__(self, protocol: Protocol, x: Tensor, mask: Tensor) -> Tensor:
        return forward(self.net, protocol, x[0], mask[0])[None]

    def copy(self) -> "Alone":
        return Alone(copy.deepcopy(self.net))


@torch.no_grad()
def score_all(
    model: Model,
    protocol: Protocol,
    images: Sequence[Images],
    masks: Sequence[Tensor],
    sparsities: Sequence[Sparsity],
) -> list[Tensor]:
    """The objective's scores of each network's images, on their device.

    Whether an image was classified correctly, bool (N,), or its absolute errors, float64 (N, 4).
    Every network has as many images.
    """
    # With the batch's own statistics the result depends on the batch, so it is the training's.
    batch = protocol.batch_size
    number, device = len(images[0]), images[0].labels.device
    order = torch.arange(number, device=device)
    if protocol.evaluation == "running":
        batch = max(batch, AT_ONCE // images[0].pixels[0, 0].numel())
    elif protocol.dataset == "caltech101":
        # Its test images stand in the order of their classes, and the statistics of a batch of one
        # class are no batch's. The source's test images are shuffled, once.
        shuffle = torch.Generator().manual_seed(stream_seed(0, "order of test images"))
        order = torch.randperm(number, generator=shuffle).to(device)
    net = model.net
    before = {name: buffer.clone() for name, buffer in model.buffers.items()}
    was_training = net.training
    net.train(protocol.evaluation == "batch")
    if protocol.evaluation == "blocks" and isinstance(net, ResNet18) and net.sparse:
        net.blocks.train()
    objective = OBJECTIVES[protocol.objective]
    scores: list[list[Tensor]] = []
    call = replayed(lambda x, mask: model(protocol, x, mask), times=number // batch)
    for parts, x, mask in _parts(protocol, images, masks, sparsities, order, batch):
        batches = zip(x.split(batch, dim=1), mask.split(batch, dim=1), strict=True)
        outputs = torch.cat([call(xb, mb) for xb, mb in batches], dim=1)
        scores.append(
            [
                objective.score(output, objective.targets(part, protocol), m)
                for output, part, m in zip(outputs, parts, mask, strict=True)
            ]
        )
    for name, buffer in model.buffers.items():  # testing must leave no trace in the network
        buffer.copy_(before[name])
    net.train(was_training)
    scored = [torch.cat(of_one) for of_one in zip(*scores, strict=True)]
    back = [torch.empty_like(of_one) for of_one in scored]
    for target, source in zip(back, scored, strict=True):
        target[order] = source
    return back


def score_images(
    net: nn.Module,
    protocol: Protocol,
    images: Images,
    masks: Tensor,
    sparsity: Sparsity = None,
) -> Tensor:
    """`score_all` of one network."""
    return score_all(Alone(net), protocol, [images], [masks], [sparsity])[0]


def _parts(
    protocol: Protocol,
    images: Sequence[Images],
    masks: Sequence[Tensor],
    sparsities: Sequence[Sparsity],
    order: Tensor,
    batch: int,
) -> Iterator[tuple[list[Images], Tensor, Tensor]]:
    """The images as networks see them, some whole batches at a time: (M, n, C, H, W) and masks."""
    at_once = AT_ONCE // images[0].pixels[0, 0].numel()
    for index in order.split(max(1, at_once // batch) * batch):
        parts = [own[index] for own in images]
        shown = [
            prepare(part, mask[index], protocol, of_each(sparsity, index))
            for part, mask, sparsity in zip(parts, masks, sparsities, strict=True)
        ]
        x, mask = (as_one(tensors) for tensors in zip(*shown, strict=True))
        yield parts, x, mask


def mean_score(scores: Tensor) -> float:
    """Accuracy, or the mean absolute error over known pixels, of scores of many images."""
    if scores.dim() == 1:
        return scores.double().mean().item()
    error, known, *_ = scores.sum(0)
    return (error / known).item()


@torch.no_grad()
def reestimated_all(
    model: Model,
    protocol: Protocol,
    train: Sequence[Images],
    sparsities: Sequence[float],
    seeds: Sequence[int],
) -> Model:
    """A copy of `model` whose BatchNorm statistics are those of training images at a sparsity.

    They are averaged over batches of the first `REESTIMATED_FROM` of `train`; weights stay.
    """
    model = model.copy()
    for name, buffer in model.buffers.items():
        buffer.fill_(1 if name.endswith("running_var") else 0)
    norms = [layer for layer in model.net.modules() if isinstance(layer, nn.BatchNorm2d)]
    images = [own[:REESTIMATED_FROM] for own in train]
    masks = [
        draw_masks(protocol, own, p, seed, "re-estimation")
        for own, p, seed in zip(images, sparsities, seeds, strict=True)
    ]
    model.net.train()
    order = torch.arange(len(images[0]), device=images[0].labels.device)
    batch, done = max(64, protocol.batch_size), 0
    for _, x, mask in _parts(protocol, images, masks, sparsities, order, batch):
        for xb, mb in zip(x.split(batch, dim=1), mask.split(batch, dim=1), strict=True):
            done += 1
            for norm in norms:
                norm.momentum = 1 / done  # a plain average over the batches
            model(protocol, xb, mb)
    return model


def reestimated(
    net: nn.Module, protocol: Protocol, train: Images, sparsity: float, seed: int
) -> nn.Module:
    """`reestimated_all` of one network."""
    return reestimated_all(Alone(net), protocol, [train], [sparsity], [seed]).net
