"""One training: fit a network at one sparsity, evaluate it at one or more.

Everything random comes from the seed, in separate streams for weights, order and masks, all drawn
on the CPU; so trainings are paired across networks and the masks are the same on every device.
The data set stays on the device as it was stored and is scaled, masked and filled there, a
twentieth of an epoch at a time in training, and in testing some thousand digits or a batch of
photographs; the loop over batches reads nothing back.
"""

import copy
import dataclasses
import functools
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sparseconv_lib.layers import SparseConv2d
from sparseconv_lib.networks import (
    TABLE_1,
    TABLE_2,
    ClassificationNet,
    CompletionNet,
    seed_weights,
    stream_seed,
)
from sparseconv_lib.resnet import ResNet18
from sparseconv_lib.study.images import (
    Images,
    arrange,
    draw_masks,
    draw_sparsities,
    in_units,
    prepare,
    shrink,
)
from sparseconv_lib.study.objectives import OBJECTIVES
from sparseconv_lib.study.protocol import Protocol, check_sparsity, whole_number

ARCHITECTURES = {"mnist": TABLE_1, "caltech101": TABLE_2}
PARTS_OF_AN_EPOCH = 20  # the training loss is recorded this often
AT_ONCE = 1000 * 28 * 28  # pixels of the images that are tested together
REESTIMATED_FROM = 5000  # training images that give BatchNorm other statistics

MaskKind = Literal["bernoulli", "block", "scan_line"]
Network = ClassificationNet | ResNet18 | CompletionNet


@dataclass
class Outcome:
    """What one training gave.

    Accuracies are fractions in [0, 1], errors mean absolute errors: in grey levels, black to white
    being 1, or in the metres of a map. A loss is in nats, or in squared units of the network.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)  # loss, scores, seconds
    curve: list[float] = field(default_factory=list)  # mean loss of each part of an epoch
    candidates: list[dict[str, float]] = field(default_factory=list)  # learning rates tried
    accuracy: dict[float, float] = field(default_factory=dict)  # test sparsity -> accuracy
    error: dict[float, float] = field(default_factory=dict)  # the same of every known pixel
    error_missing: dict[float, float] = field(default_factory=dict)  # of the missing ones alone
    # The accuracy or error with other BatchNorm statistics: kind -> test sparsity -> it.
    other_statistics: dict[str, dict[float, float]] = field(default_factory=dict)
    # And where pixels go missing in another way, at the training sparsity: kind of mask -> it.
    other_masks: dict[str, float] = field(default_factory=dict)
    correct: dict[float, Tensor] = field(default_factory=dict)  # test sparsity -> bool (N_test,)
    seconds: float = 0.0
    together: int = 1  # trainings that ran as one, of whose time this is one's share
    weights: dict[str, Tensor] = field(default_factory=dict)  # state_dict, on the CPU


def build(protocol: Protocol, network: str, seed: int) -> Network:
    """The network before training, on the CPU, its weights drawn from `seed`."""
    net: Network
    with torch.random.fork_rng(devices=[]):  # PyTorch's own first weights leave no trace
        if protocol.architecture == "uhrig":
            net = CompletionNet(network, scale=protocol.scale)
        elif protocol.architecture == "resnet18":
            net = ResNet18(
                network,
                scale=protocol.scale,
                second_norm=protocol.second_norm,
                skip=protocol.skip,
                mask_at_sum=protocol.mask_at_sum,
                train_blocks=protocol.train_blocks,
            )
        else:
            architecture = ARCHITECTURES[protocol.dataset]
            if protocol.objective == "reconstruct":  # an output for each pixel
                pixels = architecture.size**2
                linear = (*architecture.linear[:-1], pixels)
                architecture = dataclasses.replace(architecture, linear=linear)
            net = ClassificationNet(
                network,
                architecture,
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


def forward(
    net: Callable[[Tensor, Tensor], Tensor], protocol: Protocol, x: Tensor, mask: Tensor
) -> Tensor:
    """The network's outputs in float32, computed in the protocol's precision."""
    if protocol.precision == "float32":
        return net(x, mask)
    with torch.autocast(x.device.type, torch.bfloat16):
        return net(x, mask).float()


@torch.no_grad()
def score_images(
    net: nn.Module,
    protocol: Protocol,
    images: Images,
    masks: Tensor,
    sparsity: float | Tensor | None = None,
) -> Tensor:
    """The objective's scores of each image, on the images' device: whether it was classified
    correctly, bool (N,), or its absolute errors, float64 (N, 4)."""
    objective = OBJECTIVES[protocol.objective]
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
    scores = []
    for index in order.split(batch):
        part = images[index]
        x, mask = prepare(part, masks[index], protocol, _of_each(sparsity, index))
        targets = objective.targets(part, protocol)
        scores.append(objective.score(forward(net, protocol, x, mask), targets, mask))
    for name, buffer in net.named_buffers():  # testing must leave no trace in the network
        buffer.copy_(before[name])
    net.train(was_training)
    scored = torch.cat(scores)
    back = torch.empty_like(scored)
    back[order] = scored
    return back


def _of_each(sparsity: float | Tensor | None, index: Tensor) -> float | Tensor | None:
    return sparsity[index.cpu()] if isinstance(sparsity, Tensor) else sparsity


def _mean(scores: Tensor) -> float:
    """Accuracy, or the mean absolute error over known pixels, of scores of many images."""
    if scores.dim() == 1:
        return scores.double().mean().item()
    error, known, *_ = scores.sum(0)
    return (error / known).item()


@torch.no_grad()
def reestimated(
    net: nn.Module, protocol: Protocol, train: Images, sparsity: float, seed: int
) -> nn.Module:
    """A copy of `net` whose BatchNorm statistics are those of training images at `sparsity`.

    They are averaged over batches of the first `REESTIMATED_FROM` of `train`; weights stay.
    """
    net = copy.deepcopy(net)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # a plain average over the batches
    images = train[:REESTIMATED_FROM]
    masks = draw_masks(protocol, images, sparsity, seed, "re-estimation")
    net.train()
    for index in torch.arange(len(images), device=masks.device).split(max(64, protocol.batch_size)):
        forward(net, protocol, *prepare(images[index], masks[index], protocol, sparsity))
    return net


def fit(
    protocol: Protocol,
    network: str,
    sparsity: float,
    seed: int,
    train: Images,
    test: Images,
    *,
    test_sparsities: tuple[float, ...] | None = None,
    reestimate: bool = False,
    other_masks: tuple[MaskKind, ...] = (),
    device: torch.device | str | None = None,
    progress: Callable[[float], None] | None = None,
) -> Outcome:
    """Trains `network` at `sparsity` and tests it.

    Args:
        protocol, network, sparsity, seed: the training's key.
        train, test: the data set's two parts; see `arrange`.
        test_sparsities: sparsities to test at after training; by default the training sparsity.
        reestimate: test each of them also with BatchNorm statistics of training images at that
            sparsity, in the place of the other kind that the source used.
        other_masks: other ways to be missing, to be tested at the training sparsity.
        device: by default the GPU if there is one.
        progress: called with the share of the training done, at most 1, some times an epoch.

    Returns an Outcome. On one machine, device and number of threads, the same call gives the same
    weights, bit for bit.

    Raises ParameterError for a sparsity outside [0, 1) or a negative seed.
    """
    started = time.perf_counter()
    check_sparsity(sparsity)
    tests = tuple(check_sparsity(q, "test sparsity") for q in test_sparsities or (sparsity,))
    with reproducible(protocol):
        images = on_device(protocol, train, test, device)
        training = Training(protocol, network, sparsity, seed, *images)
        candidates, best = _choose(protocol, training.start, progress)
        outcome = training.outcome(candidates, best, tests, reestimate, other_masks)
    outcome.seconds = time.perf_counter() - started
    return outcome


def on_device(
    protocol: Protocol, train: Images, test: Images, device: torch.device | str | None
) -> tuple[Images, Images, float]:
    """Both parts of a data set as `Training` takes them, by default on the GPU if there is one."""
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    # Shrunk before they travel, so that every device gets the same bytes.
    train, test = shrink(train, protocol.side), shrink(test, protocol.side)
    train, test, unit = in_units(protocol, train, test)
    return train.to(device), test.to(device), unit


class Training:
    """One training's images, from which each learning rate starts, and its tests at the end.

    Args: those of `fit`; the images and their unit are what `on_device` returns.
    """

    def __init__(
        self,
        protocol: Protocol,
        network: str,
        sparsity: float,
        seed: int,
        train: Images,
        test: Images,
        unit: float,
    ) -> None:
        self.protocol, self.network, self.unit = protocol, network, unit
        self.sparsity = check_sparsity(sparsity)
        self.seed = whole_number("seed", seed, 0)
        train, self.test = arrange(protocol, sparsity, seed, train, test)
        self.held_out, self.train = train[:0], train
        if protocol.held_out:
            if protocol.held_out >= len(train):
                raise ValueError(f"cannot hold out {protocol.held_out} of {len(train)} images")
            shuffle = torch.Generator().manual_seed(stream_seed(seed, "held-out images"))
            index = torch.randperm(len(train), generator=shuffle).to(train.labels.device)
            self.held_out = train[index[: protocol.held_out]]
            self.train = train[index[protocol.held_out :]]

    def start(self, rate: float) -> "Candidate":
        """A new network, to be trained at that learning rate."""
        return Candidate(self, rate)

    def outcome(
        self,
        candidates: "list[Candidate]",
        best: "Candidate",
        tests: tuple[float, ...],
        reestimate: bool = False,
        other_masks: tuple[MaskKind, ...] = (),
    ) -> Outcome:
        """What the trained candidates gave, the best of them tested; see `fit`."""
        protocol, sparsity, seed, unit = self.protocol, self.sparsity, self.seed, self.unit
        train, test, net = self.train, self.test, best.net
        outcome = Outcome(
            epochs=best.epochs,
            curve=best.curve,
            candidates=[candidate.summary() for candidate in candidates],
        )
        for q in tests:
            masks = draw_masks(protocol, test, q, seed, "test")
            scores = score_images(net, protocol, test, masks, q)
            if protocol.objective == "classify":
                outcome.correct[q] = scores.cpu()
                outcome.accuracy[q] = _mean(scores)
            else:
                outcome.error[q] = unit * _mean(scores)
                if (of_missing := scores[:, 2:].sum(0))[1]:
                    outcome.error_missing[q] = unit * (of_missing[0] / of_missing[1]).item()
            if reestimate:
                again = reestimated(net, protocol, train, q, seed)
                outcome.other_statistics.setdefault("reestimated", {})[q] = unit * _mean(
                    score_images(again, protocol, test, masks, q)
                )
                continue
            for kind, other in _other_statistics(protocol, net):
                outcome.other_statistics.setdefault(kind, {})[q] = _mean(
                    score_images(net, other, test, masks, q)
                )
        for mask_kind in other_masks:
            other = dataclasses.replace(protocol, mask_kind=mask_kind)
            masks = draw_masks(other, test, sparsity, seed, "test")
            scores = score_images(net, protocol, test, masks, sparsity)
            outcome.other_masks[mask_kind] = unit * _mean(scores)
        outcome.weights = {name: value.cpu() for name, value in net.state_dict().items()}
        return outcome


def _choose(
    protocol: Protocol,
    start: Callable[[float], "Candidate"],
    progress: Callable[[float], None] | None,
) -> tuple[list["Candidate"], "Candidate"]:
    """Trains a candidate for each learning rate; returns them, and the best on held-out images.

    With trial epochs only the best of the trial goes on (Jamieson & Talwalkar, 2016, in one step).
    """
    candidates: list[Candidate] = []
    trial = protocol.trial_epochs or protocol.epochs
    rates = protocol.learning_rates
    whole = trial * len(rates) + protocol.epochs - trial  # epochs, at most

    def report(before: float, epochs: float) -> None:
        if progress:
            progress(min((before + epochs) / whole, 1.0))

    for i, rate in enumerate(rates):
        candidates.append(start(rate))
        candidates[-1].train(trial, functools.partial(report, i * trial))
    best = max(candidates, key=lambda candidate: candidate.best_score)  # the first of equals
    best.train(protocol.epochs, functools.partial(report, (len(rates) - 1) * trial))
    best.restore()
    report(whole, 0)
    return candidates, best


class Candidate:
    """One learning rate's training, epoch by epoch; what was best on held-out images is kept."""

    def __init__(self, training: Training, rate: float) -> None:
        self.protocol, self.rate = training.protocol, rate
        self.sparsity, self.seed = training.sparsity, training.seed
        self.images, self.held_out, self.test = training.train, training.held_out, training.test
        self.unit = training.unit
        self.device = self.images.labels.device
        self.objective = OBJECTIVES[self.protocol.objective]
        self.net = build(self.protocol, training.network, self.seed).to(self.device)
        self.optimiser = optimiser(self.protocol, self.net.parameters(), rate)
        self.order = torch.Generator().manual_seed(stream_seed(self.seed, "order"))
        self.test_masks = draw_masks(self.protocol, self.test, self.sparsity, self.seed, "test")
        if len(self.held_out):
            self.held_out_sparsity = draw_sparsities(
                self.protocol, self.held_out, self.sparsity, self.seed, "held-out"
            )
            self.held_out_masks = draw_masks(
                self.protocol, self.held_out, self.held_out_sparsity, self.seed, "held-out"
            )
        self.epochs: list[dict[str, float]] = []
        self.curve: list[float] = []
        self.best_epoch = 0
        self.best_score = 0.0  # higher is better: an accuracy, or an error's negative
        self.best_state: dict[str, Tensor] | None = None

    def train(self, until: int, progress: Callable[[float], None]) -> None:
        """Goes on to epoch `until`, or until patience ends; calls progress with epochs done."""
        while len(self.epochs) < until and not self.out_of_patience:
            self._train_epoch(progress)

    @property
    def out_of_patience(self) -> bool:
        """Whether held-out images say that more epochs gain nothing."""
        patience = self.protocol.patience
        since_best = len(self.epochs) - 1 - self.best_epoch
        return bool(patience and self.epochs and since_best >= patience)

    def restore(self) -> None:
        """Gives the network the weights of its best epoch."""
        if self.best_state is not None:
            self.net.load_state_dict(self.best_state)

    def summary(self) -> dict[str, float]:
        """What a record keeps of a learning rate."""
        scored = {}
        if self.protocol.objective == "classify":
            scored["held_out_accuracy"] = self.best_score
        elif len(self.held_out):
            scored["held_out_error"] = -self.best_score
        return {
            "learning_rate": self.rate,
            "epochs": len(self.epochs),
            "best_epoch": self.best_epoch,
            **scored,
        }

    def _train_epoch(self, progress: Callable[[float], None]) -> None:
        epoch = len(self.epochs)
        if self.protocol.drop_after and epoch == self.protocol.drop_after:
            self.optimiser = optimiser(self.protocol, self.net.parameters(), self.rate / 10)
        parts = self.begin_epoch()
        for i, part in enumerate(parts):
            x, mask, targets = self.shown(part)
            outputs: list[Tensor] = []
            batches = (t.split(self.protocol.batch_size) for t in (x, mask, targets))
            for xb, mb, yb in zip(*batches, strict=True):
                self.optimiser.zero_grad()
                output = forward(self.net, self.protocol, xb, mb)
                self.objective.loss(output, yb).backward()
                self.optimiser.step()
                outputs.append(output.detach())
            self.note(torch.cat(outputs), targets, mask)
            progress(epoch + (i + 1) / len(parts))
        self.end_epoch()

    def begin_epoch(self) -> list[Tensor]:
        """Draws the epoch's masks and order; returns the numbers of the images of each part."""
        protocol, images, epoch = self.protocol, self.images, len(self.epochs)
        self.started = time.perf_counter()
        if epoch == 0 or protocol.masks == "epoch":
            use = f"training epoch {epoch}"
            self.sparsities = draw_sparsities(protocol, images, self.sparsity, self.seed, use)
            self.masks = draw_masks(protocol, images, self.sparsities, self.seed, use)
        # A part is a whole number of batches, so that batches do not depend on how often we record.
        steps = -(-len(images) // protocol.batch_size)
        part = -(-steps // PARTS_OF_AN_EPOCH) * protocol.batch_size
        permutation = torch.randperm(len(images), generator=self.order).to(self.device)
        self.parts = permutation.split(part)
        self.losses: list[Tensor] = []  # mean over the images of each part
        self.scores: list[Tensor] = []
        return list(self.parts)

    def shown(self, part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the network is shown of a part: images, masks and targets."""
        images = self.images[part]
        sparsity = _of_each(self.sparsities, part)
        x, mask = prepare(images, self.masks[part], self.protocol, sparsity)
        return x, mask, self.objective.targets(images, self.protocol)

    def note(self, output: Tensor, targets: Tensor, mask: Tensor) -> None:
        """Takes down what the network answered, in training, to a part."""
        self.losses.append(self.objective.loss(output, targets))
        self.scores.append(self.objective.score(output, targets, mask))

    def end_epoch(self) -> None:
        """Measures the network after an epoch, and keeps it if it is the best so far."""
        protocol, images, epoch = self.protocol, self.images, len(self.epochs)
        self.curve += [loss.item() for loss in self.losses]
        sizes = [len(part) for part in self.parts]
        measured = {
            "loss": sum(l * n for l, n in zip(self.curve[-len(sizes) :], sizes, strict=True))
            / len(images),
            **self._named("train", _mean(torch.cat(self.scores))),
            **self._named("test", self._score(self.test, self.test_masks, self.sparsity)),
        }
        if len(self.held_out):
            value = self._score(self.held_out, self.held_out_masks, self.held_out_sparsity)
            named = self._named("held_out", value)
            measured |= named
            score = value if protocol.objective == "classify" else -next(iter(named.values()))
            score = -math.inf if math.isnan(score) else score  # diverged
            if self.best_state is None or score > self.best_score:
                self.best_state = copy.deepcopy(self.net.state_dict())
                self.best_epoch, self.best_score = epoch, score
        else:
            self.best_epoch = epoch
        measured["seconds"] = time.perf_counter() - self.started
        self.epochs.append(measured)

    def _score(self, images: Images, masks: Tensor, sparsity: float | Tensor) -> float:
        return _mean(score_images(self.net, self.protocol, images, masks, sparsity))

    def _named(self, images: str, score: float) -> dict[str, float]:
        """A score of some images under its name in records: an accuracy, or an error in units."""
        if self.protocol.objective == "classify":
            return {f"{images}_accuracy": score}
        return {f"{images}_error": self.unit * score}


def optimiser(
    protocol: Protocol, parameters: Iterable[Tensor], rate: float
) -> torch.optim.Optimizer:
    """The protocol's optimiser of those parameters that are trained."""
    weights = [parameter for parameter in parameters if parameter.requires_grad]
    if protocol.optimiser == "sgd":
        return torch.optim.SGD(weights, rate, protocol.momentum, fused=True)
    return torch.optim.Adam(weights, rate, fused=True)


def _other_statistics(protocol: Protocol, net: Network) -> Iterator[tuple[str, Protocol]]:
    """The other kind of BatchNorm's statistics in testing that the source used: its name, and the
    protocol with it; nothing where a network has no such choice."""
    # A dense ResNet18 has no blocks that its source left in training mode.
    resnet = protocol.architecture == "resnet18"
    if protocol.objective != "classify" or not protocol.batch_norm or (resnet and not net.sparse):
        return
    other: Literal["batch", "blocks"] = "blocks" if resnet else "batch"
    kind = other if protocol.evaluation == "running" else "running"
    yield kind, dataclasses.replace(protocol, evaluation=kind)


@contextmanager
def reproducible(protocol: Protocol) -> Iterator[None]:
    """Deterministic kernels only, and for very small batches of digits on a CPU the plain ones.

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
    small = protocol.dataset == "mnist" and protocol.batch_size <= 16
    onednn = torch.backends.mkldnn.enabled and not small
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
