"""Many trainings as one: the same network at several sparsities and seeds, its weights stacked.

A GPU does the small steps of one training as slowly as those of a hundred. So the weights of all
trainings are stacked along a first axis, `torch.vmap` turns the network of one into that of all
(its convolutions become grouped ones), and one optimiser, which works number by number, moves them.
Images, order and masks remain each training's own, and so do its tests; what it gives differs from
`training.fit` by rounding alone.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sparseconv_lib.study.baselines import evaluate
from sparseconv_lib.study.images import Images
from sparseconv_lib.study.protocol import BASELINES, Protocol, check_sparsity
from sparseconv_lib.study.training import (
    Candidate,
    MaskKind,
    Outcome,
    Training,
    fit,
    forward,
    on_device,
    optimiser,
    reproducible,
)


def stackable(protocol: Protocol) -> bool:
    """Whether trainings under `protocol` can run as one.

    Not where a trial chooses the learning rate, since each training then goes on at its own; and
    not where earlier sparsities take pixels away, since each then needs a copy of all images.
    """
    return not protocol.trial_epochs and not protocol.compounding


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
    with reproducible(protocol):
        images = on_device(protocol, train, test, device)
        each = [Training(protocol, network, p, seed, *images) for p, seed in trainings]
        by_rate: list[list[Candidate]] = []
        for rate in protocol.learning_rates:
            by_rate.append([training.start(rate) for training in each])
            done = len(by_rate) - 1

            def report(epochs: float, done: int = done) -> None:
                if progress:
                    whole = len(protocol.learning_rates) * protocol.epochs
                    progress(min((done * protocol.epochs + epochs) / whole, 1.0))

            _train(protocol, by_rate[-1], rate, report)
        outcomes = []
        for i, training in enumerate(each):
            candidates = [those[i] for those in by_rate]
            best = max(candidates, key=lambda candidate: candidate.best_score)
            best.restore()
            outcomes.append(training.outcome(candidates, best, tests[i], reestimate, other_masks))
    if progress:
        progress(1.0)
    for outcome in outcomes:
        outcome.together = len(outcomes)
        outcome.seconds = (time.perf_counter() - started) / len(outcomes)
    return outcomes


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
    for epoch in range(protocol.epochs):
        if protocol.drop_after and epoch == protocol.drop_after:
            optimise = optimiser(protocol, stack.parameters.values(), rate / 10)
        _train_epoch(protocol, stack, optimise, active, progress)
        keep = [i for i, candidate in enumerate(active) if not candidate.out_of_patience]
        if not keep:
            break
        if len(keep) < len(active):
            active = [active[i] for i in keep]
            smaller = Stack([candidate.net for candidate in active])
            optimise = _with_state_of(optimise, stack, smaller, keep, protocol, rate)
            stack = smaller


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
    optimise: torch.optim.Optimizer,
    candidates: list[Candidate],
    progress: Callable[[float], None],
) -> None:
    started = time.perf_counter()
    epoch, objective = len(candidates[0].epochs), candidates[0].objective
    parts = list(zip(*[candidate.begin_epoch() for candidate in candidates], strict=True))
    for i, part in enumerate(parts):
        shown = [candidate.shown(own) for candidate, own in zip(candidates, part, strict=True)]
        x, mask, targets = (torch.stack(tensors) for tensors in zip(*shown, strict=True))
        outputs: list[Tensor] = []
        batches = (t.split(protocol.batch_size, dim=1) for t in (x, mask, targets))
        for xb, mb, yb in zip(*batches, strict=True):
            optimise.zero_grad()
            output = stack(protocol, xb, mb)
            # No training's loss depends on another's weights, so the sum has each one's gradient.
            torch.vmap(objective.loss)(output, yb).sum().backward()
            optimise.step()
            outputs.append(output.detach())
        for candidate, output, (_, m, y) in zip(
            candidates, torch.cat(outputs, 1), shown, strict=True
        ):
            candidate.note(output, y, m)
        progress(epoch + (i + 1) / len(parts))
    stack.write_back([candidate.net for candidate in candidates])
    for candidate in candidates:
        candidate.end_epoch()
    for candidate in candidates:
        candidate.epochs[-1]["seconds"] = (time.perf_counter() - started) / len(candidates)
