"""Many trainings as one: the same network at several sparsities and seeds, its weights stacked.

A GPU does the small steps of one training as slowly as those of a hundred. So the weights of all
trainings are stacked along a first axis, `torch.vmap` turns the network of one into that of all
(its convolutions become grouped ones), and one optimiser, which works number by number, moves them.
Images, order and masks remain each training's own; what it gives differs from `training.fit` by
rounding alone.
"""

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sparseconv_lib.study.baselines import evaluate
from sparseconv_lib.study.evaluation import as_one, forward
from sparseconv_lib.study.field_store import clear as forget_fields
from sparseconv_lib.study.images import Images, draw_ahead
from sparseconv_lib.study.protocol import BASELINES, Protocol, check_sparsity
from sparseconv_lib.study.replay import replayed
from sparseconv_lib.study.training import (
    Candidate,
    MaskKind,
    Outcome,
    Training,
    fit,
    on_device,
    optimiser,
    report_training,
    reproducible,
    score_epoch,
    test_all,
)


def stackable(protocol: Protocol) -> bool:
    """Whether trainings under `protocol` can run as one.

    Not where a trial chooses the learning rate, since each training then goes on at its own; and
    not where earlier sparsities take pixels away, since each then needs a copy of all images.
    """
    return not protocol.trial_epochs and not protocol.compounding


def worth_stacking(protocol: Protocol) -> int:
    """How many trainings, at most, a GPU gains from running as one.

    A step of ResNet18 keeps it busy alone; a step of other photographs is long, and BatchNorm's
    kernels, a block for each channel, are the last to fill it.
    """
    if not stackable(protocol) or protocol.architecture == "resnet18":
        return 1
    return 16 if protocol.dataset == "caltech101" else 64


class Stack:
    """Networks of one kind with their parameters and buffers stacked: (M, ...) each."""

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        self.net = nets[0]  # the code; its own weights are not used
        self.parameters = {
            name: torch.stack([net.get_parameter(name).detach() for net in nets])
            for name, _ in self.net.named_parameters()
        }
        for name, parameter in self.net.named_parameters():
            self.parameters[name].requires_grad_(parameter.requires_grad)
        self.buffers = {
            name: torch.stack([net.get_buffer(name) for net in nets])
            for name, _ in self.net.named_buffers()
        }

    def __call__(self, protocol: Protocol, x: Tensor, mask: Tensor) -> Tensor:
        """x (M, N, C, H, W), mask (M, N, 1, H, W) -> each network's outputs (M, N, ...)."""

        def one(state: dict[str, Tensor], x: Tensor, mask: Tensor) -> Tensor:
            return forward(lambda *xs: functional_call(self.net, state, xs), protocol, x, mask)

        return torch.vmap(one)({**self.parameters, **self.buffers}, x, mask)

    def copy(self) -> "Stack":
        """Another, with its own weights and statistics."""
        twin = copy.copy(self)
        twin.net = copy.deepcopy(self.net)
        twin.parameters = {name: value.detach().clone() for name, value in self.parameters.items()}
        twin.buffers = {name: value.clone() for name, value in self.buffers.items()}
        return twin

    @torch.no_grad()
    def write_back(self, nets: Sequence[nn.Module]) -> None:
        """Gives every network its own weights and statistics."""
        for name, values in (*self.parameters.items(), *self.buffers.items()):
            for net, value in zip(nets, values, strict=True):
                net.state_dict(keep_vars=True)[name].copy_(value)


def train_all(
    protocol: Protocol,
    method: str,
    trainings: Sequence[tuple[float, int]],
    train: Images,
    test: Images,
    test_sparsities: Sequence[tuple[float, ...]],
    **options: Any,
) -> list[Outcome]:
    """What each (sparsity, seed) gives, however many there are: several run as one.

    method: a network, or one of BASELINES, which are not trained. `options` are those of `fit`.
    Where all together do not fit into a GPU's memory, half of them do, one after the other.
    """
    if method in BASELINES:
        return [
            evaluate(protocol, method, seed, train, test, tests)
            for (_, seed), tests in zip(trainings, test_sparsities, strict=True)
        ]
    if len(trainings) == 1:
        ((sparsity, seed),), (tests,) = trainings, test_sparsities
        arguments = (protocol, method, sparsity, seed, train, test)
        return [fit(*arguments, test_sparsities=tests, **options)]
    try:
        return fit_stacked(
            protocol, method, trainings, train, test, test_sparsities=test_sparsities, **options
        )
    except torch.OutOfMemoryError:
        pass  # outside this block, so that the error no longer holds what filled the memory
    forget_fields()
    torch.cuda.empty_cache()
    half = len(trainings) // 2
    return [
        outcome
        for part in (slice(half), slice(half, None))
        for outcome in train_all(
            protocol, method, trainings[part], train, test, test_sparsities[part], **options
        )
    ]


def fit_stacked(
    protocol: Protocol,
    network: str,
    trainings: Sequence[tuple[float, int]],
    train: Images,
    test: Images,
    *,
    test_sparsities: Sequence[tuple[float, ...]] | None = None,
    reestimate: bool = False,
    other_masks: tuple[MaskKind, ...] = (),
    device: torch.device | str | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Outcome]:
    """`training.fit` for several (sparsity, seed) at once, one Outcome each, in their order.

    Args: as those of `fit`, and
        test_sparsities: for each training those it is tested at, by default its own.
        progress: called with the share of all trainings done, at most 1.

    The `seconds` of an Outcome and of its epochs are the training's share: the time of all, over
    their number. Raises ValueError where `stackable` says no.
    """
    if not stackable(protocol):
        raise ValueError("trainings with trial epochs or compounding masks cannot run as one")
    tests = [
        tuple(check_sparsity(q, "test sparsity") for q in several)
        for several in test_sparsities or [(p,) for p, _ in trainings]
    ]
    started = time.perf_counter()
    with reproducible(protocol), _own_stream():
        images = on_device(protocol, train, test, device)
        each = _trainings(protocol, network, trainings, images)
        by_rate: list[list[Candidate]] = []
        for rate in protocol.learning_rates:
            by_rate.append([training.start(rate) for training in each])
            done = len(by_rate) - 1

            def report(epochs: float, done: int = done) -> None:
                if progress:
                    whole = len(protocol.learning_rates) * protocol.epochs
                    progress(min((done * protocol.epochs + epochs) / whole, 1.0))

            _train(protocol, by_rate[-1], rate, report)
        tried = list(zip(*by_rate, strict=True))
        best = [max(of_one, key=lambda candidate: candidate.best_score) for of_one in tried]
        for candidate in best:
            candidate.restore()
        model = Stack([candidate.net for candidate in best])
        outcomes = test_all(model, each, tests, reestimate, other_masks)
        for outcome, candidates, chosen in zip(outcomes, tried, best, strict=True):
            report_training(outcome, candidates, chosen)
    if progress:
        progress(1.0)
    for outcome in outcomes:
        outcome.together = len(outcomes)
        outcome.seconds = (time.perf_counter() - started) / len(outcomes)
    return outcomes


@contextlib.contextmanager
def _own_stream() -> Iterator[None]:
    """On a GPU, a stream of our own: in the default one no graph of kernels can be captured."""
    if not torch.cuda.is_available():
        yield
        return
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        torch.cuda.current_stream().wait_stream(stream)


def _trainings(
    protocol: Protocol,
    network: str,
    trainings: Sequence[tuple[float, int]],
    images: tuple[Images, Images, float],
) -> list[Training]:
    """One for each (sparsity, seed); those of a seed share their images."""
    of_seed: dict[int, Training] = {}
    each = []
    for p, seed in trainings:
        each.append(Training(protocol, network, p, seed, *images, of_seed.get(seed)))
        of_seed.setdefault(seed, each[-1])
    some = each[0]
    for part, use in ((some.train, "training epoch 0"), (some.test, "test")):
        draw_ahead(protocol, part, of_seed, use)
    return each


def _train(
    protocol: Protocol,
    candidates: list[Candidate],
    rate: float,
    progress: Callable[[float], None],
) -> None:
    """Trains all `candidates`; those whose patience has ended leave the stack."""
    active = candidates
    stack = Stack([candidate.net for candidate in active])
    optimise = optimiser(protocol, stack.parameters.values(), rate)
    step = _step(protocol, stack, optimise, active)
    for epoch in range(protocol.epochs):
        if protocol.drop_after and epoch == protocol.drop_after:
            optimise = optimiser(protocol, stack.parameters.values(), rate / 10)
            step = _step(protocol, stack, optimise, active)
        _train_epoch(protocol, stack, step, active, progress)
        keep = [i for i, candidate in enumerate(active) if not candidate.out_of_patience]
        if not keep:
            break
        if len(keep) < len(active):
            active = [active[i] for i in keep]
            smaller = Stack([candidate.net for candidate in active])
            optimise = _with_state_of(optimise, stack, smaller, keep, protocol, rate)
            stack = smaller
            step = _step(protocol, stack, optimise, active)


def _step(
    protocol: Protocol,
    stack: Stack,
    optimise: torch.optim.Optimizer,
    candidates: list[Candidate],
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """One step of training: images, masks and targets (M, N, ...) each -> the outputs before it."""
    objective = candidates[0].objective

    def step(x: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
        optimise.zero_grad()
        output = stack(protocol, x, mask)
        # No training's loss depends on another's weights, so the sum has each one's gradient.
        torch.vmap(objective.loss)(output, targets).sum().backward()
        optimise.step()
        return output.detach()

    steps = len(candidates[0].images) // protocol.batch_size
    return replayed(step, times=steps * protocol.epochs)


def _with_state_of(
    before: torch.optim.Optimizer,
    stack: Stack,
    smaller: Stack,
    keep: list[int],
    protocol: Protocol,
    rate: float,
) -> torch.optim.Optimizer:
    """The optimiser of `smaller`, which goes on with what `before` remembers of those kept."""
    after = optimiser(protocol, smaller.parameters.values(), rate)
    after.param_groups[0]["lr"] = before.param_groups[0]["lr"]
    for old, new in zip(stack.parameters.values(), smaller.parameters.values(), strict=True):
        after.state[new] = {
            name: value[keep] if value.dim() else value  # a count of steps is that of all
            for name, value in before.state[old].items()
        }
    return after


def _train_epoch(
    protocol: Protocol,
    stack: Stack,
    step: Callable[[Tensor, Tensor, Tensor], Tensor],
    candidates: list[Candidate],
    progress: Callable[[float], None],
) -> None:
    started = time.perf_counter()
    epoch = len(candidates[0].epochs)
    parts = list(zip(*[candidate.begin_epoch() for candidate in candidates], strict=True))
    if protocol.masks == "epoch" and epoch + 1 < protocol.epochs:
        seeds = {candidate.seed for candidate in candidates}
        draw_ahead(protocol, candidates[0].images, seeds, f"training epoch {epoch + 1}")
    for i, part in enumerate(parts):
        shown = [candidate.shown(own) for candidate, own in zip(candidates, part, strict=True)]
        x, mask, targets = (as_one(tensors) for tensors in zip(*shown, strict=True))
        batches = (t.split(protocol.batch_size, dim=1) for t in (x, mask, targets))
        outputs = torch.cat([step(*batch) for batch in zip(*batches, strict=True)], dim=1)
        for candidate, output, y, m in zip(candidates, outputs, targets, mask, strict=True):
            candidate.note(output, y, m)
        progress(epoch + (i + 1) / len(parts))
    stack.write_back([candidate.net for candidate in candidates])
    for candidate, *scores in zip(candidates, *score_epoch(stack, candidates), strict=True):
        candidate.end_epoch(*scores)
    for candidate in candidates:
        candidate.epochs[-1]["seconds"] = (time.perf_counter() - started) / len(candidates)
