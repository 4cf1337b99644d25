"""Trainings that run as one, against the same trainings one at a time."""

import dataclasses
import re

import pytest
import torch

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import data, provenance, stacked, training
from sparseconv_lib.study.images import Images
from sparseconv_lib.study.protocol import BASELINES, Protocol, preset
from sparseconv_lib.study.stacked import Stack, fit_stacked, stackable, train_all
from sparseconv_lib.study.training import build, fit

pytestmark = pytest.mark.usefixtures("one_thread")

TRAININGS = [(0.5, 0), (0.8, 0), (0.5, 3)]
QUICK = Protocol(epochs=2, batch_size=16, learning_rates=(0.01,))


def synthetic(name="mnist", n=64):
    made = data.synthetic(name, images=n, seed=0)
    return (
        Images(made.train_images, made.train_labels),
        Images(made.test_images, made.test_labels),
    )


def close(a, b, tolerance=1e-4):
    """Whether two outcomes are the same but for rounding. One image may be a tie's other side."""
    assert len(a.epochs) == len(b.epochs)
    assert a.curve == pytest.approx(b.curve, rel=tolerance, abs=tolerance)
    for x, y in zip(a.candidates, b.candidates, strict=True):
        assert x == pytest.approx(y, rel=tolerance)
    for name in ("accuracy", "error", "error_missing", "other_masks"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), rel=tolerance)
    assert a.other_statistics.keys() == b.other_statistics.keys()
    for kind, values in a.other_statistics.items():
        assert values == pytest.approx(b.other_statistics[kind], rel=tolerance)
    for name, value in a.weights.items():
        assert torch.allclose(value.double(), b.weights[name].double(), rtol=tolerance, atol=1e-3)


def both(protocol, network, images, trainings=TRAININGS, **options):
    """The outcomes of trainings that ran as one, each checked against its own."""
    many = fit_stacked(protocol, network, trainings, *images, **options)
    tests = options.pop("test_sparsities", [None] * len(trainings))
    for (sparsity, seed), outcome, each in zip(trainings, many, tests, strict=True):
        alone = fit(protocol, network, sparsity, seed, *images, test_sparsities=each, **options)
        close(outcome, alone)
        assert (alone.together, outcome.together) == (1, len(trainings))
    return many


# The gradient of a bias before a BatchNorm is nothing but rounding, of which Adam, which divides by
# its size, makes whole steps. So Adam is compared without BatchNorm, and photographs with SGD.
OPTIMISERS = pytest.mark.parametrize(
    "knobs", [dict(optimiser="sgd"), dict(optimiser="adam", batch_norm=False)], ids=["sgd", "adam"]
)


@pytest.mark.parametrize("network", NETWORKS)
@OPTIMISERS
def test_every_network_gives_what_it_gives_alone(network, knobs):
    protocol = dataclasses.replace(QUICK, **knobs, learning_rates=(1e-3,), drop_after=1)
    a, b, c = both(protocol, network, synthetic())
    assert not torch.equal(a.weights["linear.0.weight"], b.weights["linear.0.weight"])
    assert not torch.equal(a.weights["linear.0.weight"], c.weights["linear.0.weight"])


@pytest.mark.parametrize(
    "knobs",
    [
        dict(masks="image", block_order="code", evaluation="batch"),
        dict(batch_norm=False, scale="none"),
        dict(split="by_seed", invert=True, fill_from="mean"),
        dict(mixed_sparsity=True, rescale=True),
        dict(mask_kind="block"),
        dict(objective="reconstruct"),
        dict(batch_size=24),  # the last batch of a part is smaller
    ],
    ids=lambda knobs: "-".join(map(str, knobs)),
)
def test_every_kind_of_protocol(knobs):
    both(dataclasses.replace(QUICK, **knobs), "SparseConvNet", synthetic(), TRAININGS[:2])


def test_in_bfloat16_rounding_is_coarser():
    protocol = dataclasses.replace(QUICK, precision="bfloat16")
    (many,) = fit_stacked(protocol, "SparseConvNet", TRAININGS[:1], *synthetic())
    assert many.curve == pytest.approx(
        fit(protocol, "SparseConvNet", *TRAININGS[0], *synthetic()).curve, rel=0.01
    )


def test_all_that_fit_tests():
    options = dict(reestimate=True, other_masks=("block", "scan_line"))
    tests = [(0.0, 0.5, 0.9), (0.8,), (0.5, 0.95)]
    outcomes = both(QUICK, "SparseConvNet", synthetic(), test_sparsities=tests, **options)
    assert [tuple(outcome.accuracy) for outcome in outcomes] == tests


def test_a_training_whose_patience_ends_leaves_and_the_others_go_on():
    protocol = dataclasses.replace(
        QUICK, epochs=8, held_out=32, patience=2, learning_rates=(0.003, 0.01)
    )
    trainings = [(p, seed) for p in (0.5, 0.8) for seed in (0, 1, 2)]
    many = both(protocol, "ConvNet", synthetic(n=96), trainings)
    assert len({outcome.candidates[1]["epochs"] for outcome in many}) > 1


@OPTIMISERS
def test_what_the_optimiser_remembers_stays_with_those_that_go_on(knobs):
    """In float64, where no rounding hides a mistake."""
    protocol = dataclasses.replace(QUICK, **knobs)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 5, 1, 28, 28, generator=generator, dtype=torch.float64)
    mask = (torch.rand(3, 5, 1, 28, 28, generator=generator) < 0.5).double()

    def steps(stack, optimise, which, n):
        for _ in range(n):
            optimise.zero_grad()
            stack(protocol, x[which], mask[which]).square().sum().backward()
            optimise.step()

    kept = []
    for leaves in (False, True):
        nets = [build(protocol, "SparseConvNet", seed).double() for seed in (0, 1, 2)]
        stack = Stack(nets)
        optimise = training.optimiser(protocol, stack.parameters.values(), 0.01)
        steps(stack, optimise, [0, 1, 2], 3)
        if leaves:
            stack.write_back(nets)
            smaller = Stack([nets[0], nets[2]])
            optimise = stacked._with_state_of(optimise, stack, smaller, [0, 2], protocol, 0.01)
            steps(smaller, optimise, [0, 2], 3)
            kept.append(smaller.parameters)
        else:
            steps(stack, optimise, [0, 1, 2], 3)
            kept.append({name: value[[0, 2]] for name, value in stack.parameters.items()})
    for name, value in kept[0].items():
        assert torch.allclose(value, kept[1][name], rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize(
    "dataset, network",
    [("elevation", "SparseConvNet"), ("caltech101", "ConvNet+mask")],
)
def test_maps_and_photographs(dataset, network):
    task = {"elevation": "depth", "caltech101": "caltech101"}[dataset]
    name = {"elevation": "elevation", "caltech101": "as_written"}[dataset]
    protocol = dataclasses.replace(
        preset(name, task),
        epochs=1,
        batch_size=4,
        held_out=0,
        patience=0,
        drop_after=0,
        optimiser="sgd",
    )
    both(protocol, network, synthetic(dataset, 12), TRAININGS[:2])


@pytest.mark.parametrize("train_blocks", [True, False])
def test_resnet18_and_its_blocks_that_are_not_trained(train_blocks):
    protocol = dataclasses.replace(
        preset("reduced", "resnet18"),
        epochs=1,
        optimiser="sgd",
        batch_size=8,
        side=32,
        drop_after=0,
        train_blocks=train_blocks,
        evaluation="blocks",
    )
    (a, _) = both(protocol, "SparseConvNet-kept", synthetic("caltech101", 16), [(0.5, 0), (0.5, 1)])
    start = build(protocol, "SparseConvNet-kept", 0).state_dict()
    name = "blocks.0.conv1.conv.weight"
    assert torch.equal(a.weights[name], start[name]) is not train_blocks


def test_a_stack_is_its_networks():
    protocol = QUICK
    nets = [build(protocol, "SparseConvNet", seed) for seed in (0, 1)]
    stack = Stack(nets)
    x, mask = torch.rand(2, 5, 1, 28, 28), (torch.rand(2, 5, 1, 28, 28) < 0.5).float()
    found = stack(protocol, x, mask)
    for net, a, m, output in zip(nets, x, mask, found, strict=True):
        assert torch.allclose(net(a, m), output, atol=1e-5)  # BatchNorm's statistics move, too
    others = [build(protocol, "SparseConvNet", seed) for seed in (2, 3)]
    stack.write_back(others)
    for net, other in zip(nets, others, strict=True):
        for name, value in net.state_dict().items():
            assert torch.allclose(value.double(), other.state_dict()[name].double(), atol=1e-6), (
                name
            )


def test_what_cannot_run_as_one():
    compounding = preset("as_coded", "caltech101")
    trial = dataclasses.replace(QUICK, trial_epochs=1, learning_rates=(0.1, 0.01), held_out=16)
    assert stackable(QUICK) and not stackable(compounding) and not stackable(trial)
    for protocol in (compounding, trial):
        with pytest.raises(ValueError, match="cannot run as one"):
            fit_stacked(protocol, "ConvNet", TRAININGS, *synthetic())


def test_progress_reaches_the_end_and_never_goes_back():
    shares = []
    protocol = dataclasses.replace(QUICK, learning_rates=(0.1, 0.01), held_out=16)
    fit_stacked(protocol, "ConvNet", TRAININGS[:2], *synthetic(), progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1 and len(shares) > 8


def test_what_does_not_fit_into_memory_is_halved(monkeypatch):
    asked = []

    def small_gpu(protocol, network, trainings, *images, **options):
        asked.append(len(trainings))
        if len(trainings) > 2:
            raise torch.OutOfMemoryError("no room")
        return fit_stacked(protocol, network, trainings, *images, **options)

    monkeypatch.setattr(stacked, "fit_stacked", small_gpu)
    trainings = [(0.5, seed) for seed in range(5)]
    protocol, tests = dataclasses.replace(QUICK, epochs=1), [(0.5,)] * 5
    many = train_all(protocol, "ConvNet", trainings, *synthetic(), tests)
    assert asked == [5, 2, 3, 2]  # of three the first is trained alone
    assert [outcome.together for outcome in many] == [2, 2, 1, 2, 2]
    for (p, seed), outcome in zip(trainings, many, strict=True):
        close(outcome, fit(protocol, "ConvNet", p, seed, *synthetic()))


def test_what_is_not_trained_is_evaluated():
    protocol = dataclasses.replace(preset("digits", "depth"), epochs=1)
    found = train_all(
        protocol, "nearest", [(0.5, 0), (0.5, 1)], *synthetic(), [(0.5, 0.9), (0.5,)],
        reestimate=False,
    )  # fmt: skip
    assert "nearest" in BASELINES
    assert [tuple(outcome.error) for outcome in found] == [(0.5, 0.9), (0.5,)]
    assert all(not outcome.epochs for outcome in found)


def test_all_that_decides_a_number_is_in_the_identity():
    deciding = provenance.deciding_modules()
    for module in ("stacked", "training", "baselines", "images", "objectives", "protocol"):
        assert f"sparseconv_lib.study.{module}" in deciding
    assert not [name for name in deciding if re.search("runner|sweep|records|report", name)]
