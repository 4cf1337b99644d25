"""How far the same code gives the same numbers elsewhere: other versions of PyTorch, a GPU.

Three things are compared, from the small to the large: the layer's outputs and gradients, every
network's weights after one step of training, and the losses and scores of short trainings (those of
`probe`). results/sameness.json states the tolerance of each and the largest difference that was
measured; `make versions` measures it again.

    python -m sparseconv_lib.study.sameness --other .venv-oldest/bin/python

runs the digits with the other interpreter and with this one, and writes the file.
"""

import argparse
import dataclasses
import itertools
import json
import os
import platform
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F

from sparseconv_lib.layers import MaskUpdate, Scale, sparse_conv2d
from sparseconv_lib.masks import bernoulli_field, observe, observed
from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import data, probe, provenance, training
from sparseconv_lib.study.images import Images
from sparseconv_lib.study.paths import RESULTS, ROOT
from sparseconv_lib.study.probe import Digits
from sparseconv_lib.study.protocol import Protocol, preset

SAMENESS = RESULTS / "sameness.json"
# The most that two numbers may differ, by the largest of their kind (a layer's outputs, say). In
# float32 a sum of a hundred products, in another order, is off by about 1e-6 of its largest term.
TOLERANCES = {"layers": 1e-5, "steps": 1e-4, "trainings": probe.TOLERANCE}

# (kernel, stride, padding, dilation, groups) beside each scale and mask update of the layer.
_SHAPES: tuple[tuple[int, int, int | str, int, int], ...] = (
    (3, 1, "same", 1, 1),
    (5, 2, 2, 1, 2),
    (2, 1, 0, 2, 1),
    (1, 1, "same", 1, 1),
)


def layers(device: str = "cpu") -> Digits:
    """Outputs, masks and gradients of the layer, of every kind, for the same images."""
    found: Digits = {}
    kinds = itertools.product(_SHAPES, ("mean", "partial", "none"), ("dilate", "keep"))
    with training.reproducible(preset("as_written")):
        for (kernel, stride, padding, dilation, groups), scale, update in kinds:
            if update == "keep" and padding != "same":
                continue
            draws = torch.Generator().manual_seed(len(found))
            tensors = [
                torch.randn(shape, generator=draws)
                for shape in ((3, 4, 13, 12), (6, 4 // groups, kernel, kernel), (6,))
            ]
            mask = observed(bernoulli_field(3, 13, 12, draws), 0.7).float().to(device)
            x, weight, bias = (tensor.to(device).requires_grad_() for tensor in tensors)
            y, new = sparse_conv2d(
                x, mask, weight, bias, stride, padding, dilation, groups,
                scale=cast(Scale, scale), mask_update=cast(MaskUpdate, update),
            )  # fmt: skip
            gradients = torch.autograd.grad(y.square().sum(), (x, weight, bias))
            name = f"{scale}, {update}, kernel {kernel}, stride {stride}, dilation {dilation}"
            parts = {"y": y, "mask": new} | dict(zip(("dx", "dw", "db"), gradients, strict=True))
            for part, tensor in parts.items():
                found[f"{name}: {part}"] = tensor.detach().flatten().tolist()
    return found


def steps(device: str = "cpu") -> Digits:
    """The weights of every network for digits after one step of gradient descent, by layer."""
    found: Digits = {}
    protocol = preset("as_written")
    digits = data.synthetic("mnist", images=32, seed=0)
    mask = observed(bernoulli_field(32, 28, 28, torch.Generator().manual_seed(0)), 0.5).float()
    x = observe(digits.train_images.float() / 255, mask)
    with training.reproducible(protocol):
        for network in NETWORKS:
            net = training.build(protocol, network, seed=0).to(device)
            loss = F.cross_entropy(
                net(x.to(device), mask.to(device)), digits.train_labels.long().to(device)
            )
            loss.backward()
            with torch.no_grad():
                for name, weight in net.named_parameters():
                    assert weight.grad is not None
                    moved = (weight - 0.1 * weight.grad).flatten()
                    # Each 37th is enough of the largest layers.
                    found[f"{network}: {name}"] = moved[:: 37 if len(moved) > 999 else 1].tolist()
    return found


def short_trainings(device: str) -> Digits:
    """Two epochs of every network on 128 generated digits, as `probe.run`, on some device."""
    digits = data.synthetic("mnist", images=128, seed=0)
    parts = [Images(digits.train_images, digits.train_labels),
             Images(digits.test_images, digits.test_labels)]  # fmt: skip
    short: Protocol = dataclasses.replace(preset("as_written"), batch_size=16)
    outcomes = {n: training.fit(short, n, 0.5, 0, *parts, device=device) for n in NETWORKS}
    return {n: [*outcome.curve, outcome.accuracy[0.5]] for n, outcome in outcomes.items()}


def all_digits() -> dict[str, Digits]:
    """What two interpreters are compared by; on one thread, which no machine has too few of."""
    torch.set_num_threads(1)
    return {"layers": layers(), "steps": steps(), "trainings": probe.run_all()}


def difference(a: list[float], b: list[float]) -> float:
    """The largest difference of two lists, as a share of the largest number in them."""
    if len(a) != len(b):
        return float("inf")
    largest = max((abs(x) for x in (*a, *b)), default=0.0)
    return max((abs(x - y) for x, y in zip(a, b, strict=True)), default=0.0) / (largest or 1.0)


def compared(a: dict[str, Digits], b: dict[str, Digits]) -> dict[str, Any]:
    """Of each kind: how many lists, how many are equal bit for bit, the largest difference."""
    return {
        kind: {
            "compared": len(a[kind]),
            "equal": sum(a[kind][name] == b[kind].get(name) for name in a[kind]),
            "largest_difference": float(
                f"{max(difference(a[kind][n], b[kind].get(n, [])) for n in a[kind]):.3g}"
            ),
            "tolerance": TOLERANCES[kind],
        }
        for kind in TOLERANCES
    }


def load(path: Path = SAMENESS) -> dict[str, Any]:
    """The committed measurement."""
    return json.loads(path.read_text(encoding="utf-8"))


def measure(other: str) -> dict[str, Any]:
    """Compares today's interpreter with another one; what is written to the file."""
    theirs = json.loads(
        subprocess.run(
            [other, "-m", "sparseconv_lib.study.sameness", "--print"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
    )
    ours = _described()
    return {
        "code": provenance.code_identity(),
        "device": provenance.device_name("cpu"),
        "oldest": theirs["versions"],
        "newest": ours["versions"],
        **compared(theirs["digits"], ours["digits"]),
    }


def _described() -> dict[str, Any]:
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    return {"versions": versions, "digits": all_digits()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compares the numbers of two environments.")
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--print", action="store_true", help="this one's digits, as JSON")
    group.add_argument("--other", help="the other one's Python")
    asked = parser.parse_args()
    if asked.print:
        json.dump(_described(), sys.stdout)
        return
    try:
        found = measure(asked.other)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"{asked.other} cannot be asked ({error}); name a Python that has this library")
    part = SAMENESS.with_name(f"{SAMENESS.name}.{uuid.uuid4().hex}.part")
    part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os.replace(part, SAMENESS)
    for kind, tolerance in TOLERANCES.items():
        largest = found[kind]["largest_difference"]
        print(f"{kind}: {found[kind]['equal']} of {found[kind]['compared']} equal, "
              f"largest difference {largest:g} (tolerance {tolerance:g})")  # fmt: skip
    if any(found[kind]["largest_difference"] > t for kind, t in TOLERANCES.items()):
        sys.exit("a difference is above its tolerance")


if __name__ == "__main__":
    main()
