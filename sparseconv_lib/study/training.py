"""One training: fit a network at one sparsity, evaluate it at one or more.

Everything random comes from the seed, in separate streams for weights, order and masks, all drawn
on the CPU; so trainings are paired across networks and the masks are the same on every device.
The data set stays on the device as uint8 and is scaled, masked and filled there, a twentieth of an
epoch at a time in training, and in testing some thousand digits or a batch of photographs; the loop
over batches reads nothing back.
"""

import copy
import dataclasses
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseconv_lib.layers import SparseConv2d
from sparseconv_lib.masks import FIELDS, observe, observed
from sparseconv_lib.networks import (
    TABLE_1,
    TABLE_2,
    ClassificationNet,
    seed_weights,
    stream_seed,
)
from sparseconv_lib.resnet import ResNet18
from sparseconv_lib.study.protocol import Protocol, check_sparsity, whole_number

ARCHITECTURES = {"mnist": TABLE_1, "caltech101": TABLE_2}
PARTS_OF_AN_EPOCH = 20  # the training loss is recorded this often
AT_ONCE = 1000 * 28 * 28  # pixels of the images that are tested together

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # R, G, B

# The source's notebook for Caltech-101 masked its one list of images in place, first at a leftover
# 0.3, then at each sparsity of its sweep.
LEFTOVER_SPARSITY = 0.3
SWEEP = tuple(i / 20 for i in range(20))


@dataclass(frozen=True)
class Images:
    """Images of one data set: pixels uint8 (N, C, H, W), labels int64 (N,), on one device.

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


@dataclass
class Outcome:
    """What one training gave. Accuracies are fractions in [0, 1]; losses are in nats."""

    epochs: list[dict[str, float]] = field(default_factory=list)  # loss, accuracies, seconds
    curve: list[float] = field(default_factory=list)  # mean loss of each part of an epoch
    candidates: list[dict[str, float]] = field(default_factory=list)  # learning rates tried
    accuracy: dict[float, float] = field(default_factory=dict)  # test sparsity -> accuracy
    # The same with the other kind of BatchNorm statistics: kind -> test sparsity -> accuracy.
    other_statistics: dict[str, dict[float, float]] = field(default_factory=dict)
    correct: dict[float, Tensor] = field(default_factory=dict)  # test sparsity -> bool (N_test,)
    seconds: float = 0.0
    weights: dict[str, Tensor] = field(default_factory=dict)  # state_dict, on the CPU


def build(protocol: Protocol, network: str, seed: int) -> ClassificationNet | ResNet18:
    """The network before training, on the CPU, its weights drawn from `seed`."""
    net: ClassificationNet | ResNet18
    with torch.random.fork_rng(devices=[]):  # PyTorch's own first weights leave no trace
        if protocol.architecture == "resnet18":
            net = ResNet18(
                network,
                scale=protocol.scale,
                second_norm=protocol.second_norm,
                skip=protocol.skip,
                mask_at_sum=protocol.mask_at_sum,
                train_blocks=protocol.train_blocks,
            )
        else:
            net = ClassificationNet(
                network,
                ARCHITECTURES[protocol.dataset],
                block_order=protocol.block_order,
                batch_norm=protocol.batch_norm,
                scale=protocol.scale,
            )
    seed_weights(net, seed)
    if protocol.sparse_bias == "zero":
        for layer in net.modules():
            if isinstance(layer, SparseConv2d) and layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return net


def draw_masks(protocol: Protocol, images: Images, sparsity: float, seed: int, use: str) -> Tensor:
    """Masks for `images`: bool (N, 1, H, W) on their device; `use` names the stream of the seed."""
    generator = torch.Generator().manual_seed(stream_seed(seed, f"{use} masks"))
    draw = FIELDS[protocol.mask_kind]
    height, width = images.pixels.shape[2:]
    # A field is four times the size of its mask. A multiple of 16 images, so that the numbers do
    # not depend on how many are drawn at once.
    at_once = max(16, 4096 * 28 * 28 // (height * width) // 16 * 16)
    masks = []
    for start in range(0, len(images), at_once):
        count = min(at_once, len(images) - start)
        mask = observed(draw(count, height, width, generator), sparsity)
        masks.append(mask.to(images.pixels.device))
    return torch.cat(masks)


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


def prepare(images: Images, masks: Tensor, protocol: Protocol) -> tuple[Tensor, Tensor]:
    """What a network is shown of `images` (N, C, H, W) under bool masks (N, 1, H, W), in float32.

    Returns the scaled images with missing pixels filled, and the masks.
    """
    x = images.pixels.float() / 255
    if protocol.scaling == "imagenet":
        mean, deviation = (
            torch.tensor(values, device=x.device).view(1, 3, 1, 1)
            for values in (IMAGENET_MEAN, IMAGENET_DEVIATION)
        )
        x = (x - mean) / deviation
    if images.left is not None:
        x = observe(x, images.left)  # the source multiplies by the mask
    return observe(x, masks, protocol.fill), masks.float()


def _forward(net: nn.Module, protocol: Protocol, x: Tensor, mask: Tensor) -> Tensor:
    """Logits (N, classes) in float32, computed in the protocol's precision."""
    if protocol.precision == "float32":
        return net(x, mask)
    with torch.autocast(x.device.type, torch.bfloat16):
        return net(x, mask).float()


@torch.no_grad()
def predict_correct(net: nn.Module, protocol: Protocol, images: Images, masks: Tensor) -> Tensor:
    """Whether each image is classified correctly: bool (N,), on the images' device."""
    # With the batch's own statistics the result depends on the batch, so it is the training's.
    batch = protocol.batch_size
    order = torch.arange(len(images), device=images.labels.device)
    if protocol.evaluation == "running":
        batch = max(batch, AT_ONCE // images.pixels[0, 0].numel())
    elif protocol.dataset == "caltech101":
        # Its test images stand in the order of their classes, and the statistics of a batch of one
        # class are no batch's. The source's test images are shuffled, once.
        shuffle = torch.Generator().manual_seed(stream_seed(0, "order of test images"))
        order = torch.randperm(len(images), generator=shuffle).to(order.device)
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    was_training = net.training
    net.train(protocol.evaluation == "batch")
    if protocol.evaluation == "blocks" and isinstance(net, ResNet18) and net.sparse:
        net.blocks.train()
    correct = torch.empty(len(images), dtype=torch.bool, device=order.device)
    for index in order.split(batch):
        part = images[index]
        x, mask = prepare(part, masks[index], protocol)
        correct[index] = _forward(net, protocol, x, mask).argmax(1) == part.labels
    for name, buffer in net.named_buffers():  # testing must leave no trace in the network
        buffer.copy_(before[name])
    net.train(was_training)
    return correct


def fit(
    protocol: Protocol,
    network: str,
    sparsity: float,
    seed: int,
    train: Images,
    test: Images,
    *,
    test_sparsities: tuple[float, ...] | None = None,
    device: torch.device | str | None = None,
    progress: Callable[[float], None] | None = None,
) -> Outcome:
    """Trains `network` at `sparsity` and tests it.

    Args:
        protocol, network, sparsity, seed: the training's key.
        train, test: the data set's two parts; see `arrange`.
        test_sparsities: sparsities to test at after training; by default the training sparsity.
        device: by default the GPU if there is one.
        progress: called with the share of the training done, at most 1, some times an epoch.

    Returns an Outcome. On one machine, device and number of threads, the same call gives the same
    weights, bit for bit.

    Raises ParameterError for a sparsity outside [0, 1) or a negative seed.
    """
    check_sparsity(sparsity)
    whole_number("seed", seed, 0)
    tests = tuple(check_sparsity(q, "test sparsity") for q in test_sparsities or (sparsity,))
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    started = time.perf_counter()
    outcome = Outcome()
    with _reproducible(protocol):
        # Before they travel, so that every device gets the same bytes.
        train, test = shrink(train, protocol.side), shrink(test, protocol.side)
        train, test = arrange(protocol, sparsity, seed, train.to(device), test.to(device))
        held_out = train[:0]
        if protocol.held_out:
            if protocol.held_out >= len(train):
                raise ValueError(f"cannot hold out {protocol.held_out} of {len(train)} images")
            shuffle = torch.Generator().manual_seed(stream_seed(seed, "held-out images"))
            index = torch.randperm(len(train), generator=shuffle).to(device)
            held_out, train = train[index[: protocol.held_out]], train[index[protocol.held_out :]]

        best: _Candidate | None = None
        for i, rate in enumerate(protocol.learning_rates):
            share = _part_of(progress, i, len(protocol.learning_rates))
            candidate = _fit_one_rate(
                protocol, network, sparsity, seed, rate, train, held_out, test, device, share
            )
            outcome.candidates.append(
                {
                    "learning_rate": rate,
                    "epochs": len(candidate.epochs),
                    "best_epoch": candidate.best_epoch,
                    "held_out_accuracy": candidate.held_out_accuracy,
                }
            )
            if best is None or candidate.held_out_accuracy > best.held_out_accuracy:
                best = candidate
        assert best is not None
        outcome.epochs, outcome.curve = best.epochs, best.curve
        other = _with_other_statistics(protocol)
        # A dense ResNet18 has no blocks that its source left in training mode.
        both = protocol.batch_norm and (protocol.architecture == "cnn" or best.net.sparse)
        if both:
            outcome.other_statistics[other.evaluation] = {}
        for q in tests:
            masks = draw_masks(protocol, test, q, seed, "test")
            correct = predict_correct(best.net, protocol, test, masks)
            outcome.correct[q] = correct.cpu()
            outcome.accuracy[q] = correct.double().mean().item()
            if both:
                accuracy = _accuracy(best.net, other, test, masks)
                outcome.other_statistics[other.evaluation][q] = accuracy
    outcome.weights = {name: value.cpu() for name, value in best.net.state_dict().items()}
    outcome.seconds = time.perf_counter() - started
    return outcome


@dataclass
class _Candidate:
    """One learning rate's training; the network as it was after its best epoch."""

    net: ClassificationNet | ResNet18
    epochs: list[dict[str, float]]
    curve: list[float]
    best_epoch: int
    held_out_accuracy: float


def _fit_one_rate(
    protocol: Protocol,
    network: str,
    sparsity: float,
    seed: int,
    rate: float,
    train: Images,
    held_out: Images,
    test: Images,
    device: torch.device,
    progress: Callable[[float], None] | None,
) -> _Candidate:
    net = build(protocol, network, seed).to(device)
    optimiser = _optimiser(protocol, net, rate)
    order = torch.Generator().manual_seed(stream_seed(seed, "order"))
    test_masks = draw_masks(protocol, test, sparsity, seed, "test")
    held_out_masks = None
    if len(held_out):
        held_out_masks = draw_masks(protocol, held_out, sparsity, seed, "held-out")
    # A part is a whole number of batches, so that batches do not depend on how often we record.
    steps = -(-len(train) // protocol.batch_size)
    part = -(-steps // PARTS_OF_AN_EPOCH) * protocol.batch_size

    best = _Candidate(net, [], [], 0, 0.0)
    best_state: dict[str, Tensor] | None = None
    for epoch in range(protocol.epochs):
        started = time.perf_counter()
        if protocol.drop_after and epoch == protocol.drop_after:
            optimiser = _optimiser(protocol, net, rate / 10)
        if epoch == 0 or protocol.masks == "epoch":
            masks = draw_masks(protocol, train, sparsity, seed, f"training epoch {epoch}")
        losses: list[Tensor] = []  # sum over the images of each part
        correct = torch.zeros((), dtype=torch.int64, device=device)
        permutation = torch.randperm(len(train), generator=order).to(device)
        for index in permutation.split(part):
            shown = train[index]
            x, mask = prepare(shown, masks[index], protocol)
            labels = shown.labels
            outputs: list[Tensor] = []
            batches = (t.split(protocol.batch_size) for t in (x, mask, labels))
            for xb, mb, yb in zip(*batches, strict=True):
                optimiser.zero_grad()
                logits = _forward(net, protocol, xb, mb)
                F.cross_entropy(logits, yb).backward()
                optimiser.step()
                outputs.append(logits.detach())
            logits = torch.cat(outputs)
            losses.append(F.cross_entropy(logits, labels, reduction="sum"))
            correct += (logits.argmax(1) == labels).sum()
            if progress:
                done = (epoch + len(losses) * part / len(train)) / protocol.epochs
                progress(min(done, 1.0))
        sizes = [len(index) for index in permutation.split(part)]
        best.curve += [loss.item() / size for loss, size in zip(losses, sizes, strict=True)]
        measured = {
            "loss": sum(loss.item() for loss in losses) / len(train),
            "train_accuracy": correct.item() / len(train),
            "test_accuracy": _accuracy(net, protocol, test, test_masks),
        }
        if held_out_masks is not None:
            accuracy = measured["held_out_accuracy"] = _accuracy(
                net, protocol, held_out, held_out_masks
            )
            if best_state is None or accuracy > best.held_out_accuracy:
                best_state = copy.deepcopy(net.state_dict())
                best.best_epoch, best.held_out_accuracy = epoch, accuracy
        else:
            best.best_epoch = epoch
        measured["seconds"] = time.perf_counter() - started
        best.epochs.append(measured)
        if protocol.patience and epoch - best.best_epoch >= protocol.patience:
            break
    if best_state is not None:
        net.load_state_dict(best_state)
    if progress:
        progress(1.0)
    return best


def _optimiser(protocol: Protocol, net: nn.Module, rate: float) -> torch.optim.Optimizer:
    weights = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if protocol.optimiser == "sgd":
        return torch.optim.SGD(weights, rate, protocol.momentum, fused=True)
    return torch.optim.Adam(weights, rate, fused=True)


def _with_other_statistics(protocol: Protocol) -> Protocol:
    """The same but for BatchNorm's statistics in testing: the other kind that the source used."""
    other: Literal["batch", "blocks"] = "blocks" if protocol.architecture == "resnet18" else "batch"
    evaluation = other if protocol.evaluation == "running" else "running"
    return dataclasses.replace(protocol, evaluation=evaluation)


def _accuracy(net: nn.Module, protocol: Protocol, images: Images, masks: Tensor) -> float:
    return predict_correct(net, protocol, images, masks).double().mean().item()


def _part_of(
    progress: Callable[[float], None] | None, i: int, of: int
) -> Callable[[float], None] | None:
    return None if progress is None else lambda share: progress((i + share) / of)


@contextmanager
def _reproducible(protocol: Protocol) -> Iterator[None]:
    """Deterministic kernels only, and for very small batches on a CPU the plain ones.

    oneDNN's convolutions set up more than they compute for a batch of 4: without them a training
    of the source's MNIST network takes a sixth less time.
    """
    # cuBLAS reads this when it starts; PyTorch asks for it before it calls itself deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    memory: Any = torch.utils.deterministic  # a module whose attributes are properties
    fill = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory that it has not written, and filling it takes time.
    memory.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    onednn = torch.backends.mkldnn.enabled and protocol.batch_size > 16
    try:
        with warnings.catch_warnings():
            # The switch itself warns of a GPU format that has nothing to do with it.
            warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")
            with torch.backends.mkldnn.flags(enabled=onednn):
                yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        memory.fill_uninitialized_memory = fill
        torch.backends.cudnn.benchmark = benchmark
