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
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from sparseconv_lib.study.evaluation import (
    Alone,
    Model,
    forward,
    mean_score,
    of_each,
    reestimated_all,
    score_all,
)
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
        model = Alone(best.net)
        (outcome,) = test_all(model, [training], [tests], reestimate, other_masks)
        report_training(outcome, candidates, best)
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
    """One training's images, from which each learning rate starts.

    Args: those of `fit`; the images and their unit are what `on_device` returns, and
        like: another training of that protocol and seed, whose images are shared.
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
        like: "Training | None" = None,
    ) -> None:
        self.protocol, self.network, self.unit = protocol, network, unit
        self.train: Images
        self.held_out: Images
        self.test: Images
        self.sparsity = check_sparsity(sparsity)
        self.seed = whole_number("seed", seed, 0)
        if like is not None and not protocol.compounding:
            self.train, self.held_out, self.test = like.train, like.held_out, like.test
            return
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


def test_all(
    model: Model,
    trainings: "Sequence[Training]",
    tests: Sequence[tuple[float, ...]],
    reestimate: bool,
    other_masks: tuple[MaskKind, ...],
) -> list[Outcome]:
    """How the model's networks, one for each training, do in the tests that `fit` tells of.

    tests: for each training the sparsities that it is tested at.
    """
    outcomes = [Outcome() for _ in trainings]
    for turn in range(max(map(len, tests))):
        # Who has fewer tests repeats the last of them.
        now = [qs[min(turn, len(qs) - 1)] for qs in tests]
        _test(model, trainings, outcomes, now, reestimate)
    protocol, images = trainings[0].protocol, [training.test for training in trainings]
    own = [training.sparsity for training in trainings]
    for kind in other_masks:
        other = dataclasses.replace(protocol, mask_kind=kind)
        masks = [draw_masks(other, t.test, t.sparsity, t.seed, "test") for t in trainings]
        scores = score_all(model, protocol, images, masks, own)
        for training, outcome, score in zip(trainings, outcomes, scores, strict=True):
            outcome.other_masks[kind] = training.unit * mean_score(score)
    return outcomes


def _test(
    model: Model,
    trainings: "Sequence[Training]",
    outcomes: Sequence[Outcome],
    sparsities: Sequence[float],
    reestimate: bool,
) -> None:
    """One test of each network, and what other BatchNorm statistics give."""
    protocol, images = trainings[0].protocol, [training.test for training in trainings]
    masks = [
        draw_masks(protocol, training.test, q, training.seed, "test")
        for training, q in zip(trainings, sparsities, strict=True)
    ]
    scores = score_all(model, protocol, images, masks, sparsities)
    for training, outcome, q, score in zip(trainings, outcomes, sparsities, scores, strict=True):
        if protocol.objective == "classify":
            outcome.correct[q] = score.cpu()
            outcome.accuracy[q] = mean_score(score)
        else:
            outcome.error[q] = training.unit * mean_score(score)
            if (of_missing := score[:, 2:].sum(0))[1]:
                outcome.error_missing[q] = training.unit * (of_missing[0] / of_missing[1]).item()
    if reestimate:
        train, seeds = ([t.train for t in trainings], [t.seed for t in trainings])
        again = reestimated_all(model, protocol, train, sparsities, seeds)
        others = [("reestimated", score_all(again, protocol, images, masks, sparsities))]
    else:
        others = [
            (kind, score_all(model, other, images, masks, sparsities))
            for kind, other in _other_statistics(protocol, model.net)
        ]
    for kind, scores in others:
        for training, outcome, q, score in zip(
            trainings, outcomes, sparsities, scores, strict=True
        ):
            value = training.unit * mean_score(score)
            outcome.other_statistics.setdefault(kind, {})[q] = value


def report_training(outcome: Outcome, candidates: "Sequence[Candidate]", best: "Candidate") -> None:
    """Adds to a tested training's outcome how it went, and its weights."""
    outcome.epochs, outcome.curve = best.epochs, best.curve
    outcome.candidates = [candidate.summary() for candidate in candidates]
    outcome.weights = {name: value.cpu() for name, value in best.net.state_dict().items()}


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
        model = Alone(self.net)
        self.end_epoch(*(scores[0] for scores in score_epoch(model, [self])))

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
        sparsity = of_each(self.sparsities, part)
        x, mask = prepare(images, self.masks[part], self.protocol, sparsity)
        return x, mask, self.objective.targets(images, self.protocol)

    def note(self, output: Tensor, targets: Tensor, mask: Tensor) -> None:
        """Takes down what the network answered, in training, to a part."""
        self.losses.append(self.objective.loss(output, targets))
        self.scores.append(self.objective.score(output, targets, mask))

    def end_epoch(self, test: Tensor, held_out: Tensor | None = None) -> None:
        """Takes down an epoch and its scores, and keeps the network if it is the best so far."""
        protocol, images, epoch = self.protocol, self.images, len(self.epochs)
        self.curve += [loss.item() for loss in self.losses]
        sizes = [len(part) for part in self.parts]
        measured = {
            "loss": sum(l * n for l, n in zip(self.curve[-len(sizes) :], sizes, strict=True))
            / len(images),
            **self._named("train", mean_score(torch.cat(self.scores))),
            **self._named("test", mean_score(test)),
        }
        if held_out is not None:
            value = mean_score(held_out)
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

    def _named(self, images: str, score: float) -> dict[str, float]:
        """A score of some images under its name in records: an accuracy, or an error in units."""
        if self.protocol.objective == "classify":
            return {f"{images}_accuracy": score}
        return {f"{images}_error": self.unit * score}


def score_epoch(model: Model, candidates: Sequence[Candidate]) -> list[list[Tensor]]:
    """The scores of the model's networks on their test images and, where held out, on those."""
    protocol, several = candidates[0].protocol, []
    images, masks = [c.test for c in candidates], [c.test_masks for c in candidates]
    several.append(score_all(model, protocol, images, masks, [c.sparsity for c in candidates]))
    if len(candidates[0].held_out):
        images, masks = [c.held_out for c in candidates], [c.held_out_masks for c in candidates]
        sparsities = [c.held_out_sparsity for c in candidates]
        several.append(score_all(model, protocol, images, masks, sparsities))
    return several


def optimiser(
    protocol: Protocol, parameters: Iterable[Tensor], rate: float
) -> torch.optim.Optimizer:
    """The protocol's optimiser of those parameters that are trained."""
    weights = [parameter for parameter in parameters if parameter.requires_grad]
    if protocol.optimiser == "sgd":
        return torch.optim.SGD(weights, rate, protocol.momentum, fused=True)
    # What a graph of kernels replays must not be counted in Python.
    capturable = any(weight.is_cuda for weight in weights)
    return torch.optim.Adam(weights, rate, fused=True, capturable=capturable)


def _other_statistics(protocol: Protocol, net: nn.Module) -> Iterator[tuple[str, Protocol]]:
    """The other kind of BatchNorm's statistics in testing that the source used: its name, and the
    protocol with it; nothing where a network has no such choice."""
    # A dense ResNet18 has no blocks that its source left in training mode.
    resnet = isinstance(net, ResNet18)
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
    tf32 = torch.backends.cudnn.allow_tf32
    memory: Any = torch.utils.deterministic  # a module whose attributes are properties
    fill = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory that it has not written, and filling it takes time.
    memory.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    # Photographs and maps in TF32, which is PyTorch's default: in full float32 the only
    # deterministic weight gradient of Table 2's first layer takes 86 of a step's 100 ms (H200).
    torch.backends.cudnn.allow_tf32 = protocol.dataset != "mnist"
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
        torch.backends.cudnn.allow_tf32 = tf32
