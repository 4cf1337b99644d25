"""Tables and figures of the chapter on ResNet18, as HTML, made from records."""

from collections.abc import Sequence

import pandas
from torch import nn

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.resnet import STAGES, ResNet18
from sparseconv_lib.study.protocol import Protocol
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.report import as_html, percent
from sparseconv_lib.study.training import build

CLAIM = "resnet18-75-to-50"
SPARSE, PLAIN = "SparseConvNet-kept", "ConvNet"

TOLD = {"running": "running means everywhere", "blocks": "the test batch's own in the blocks"}


def architecture_table(protocol: Protocol) -> str:
    """Each part's output and parameters, counted on the networks; those not trained apart."""
    nets = {name: build(protocol, name, 0) for name in NETWORKS}
    side = protocol.side or 224
    rows = []

    def row(part: str, output: str, modules: dict[str, list[nn.Module]]) -> None:
        rows.append([part, output, *(_parameters(found) for found in modules.values())])

    resnets = {name: net for name, net in nets.items() if isinstance(net, ResNet18)}
    row(
        "convolution 7×7, stride 2; BatchNorm",
        f"{STAGES[0]}×{side // 2}×{side // 2}",
        {name: [net.stem, net.norm] for name, net in resnets.items()},
    )
    rows.append(["max pooling 3×3, stride 2", f"{STAGES[0]}×{side // 4}×{side // 4}"])
    rows[-1] += ["0"] * len(resnets)
    for i, channels in enumerate(STAGES):
        size = side // 4 >> i
        row(
            f"stage {i + 1}: two residual blocks",
            f"{channels}×{size}×{size}",
            {name: [net.blocks[2 * i], net.blocks[2 * i + 1]] for name, net in resnets.items()},
        )
    row("mean, linear", "101", {name: [net.linear] for name, net in resnets.items()})
    row("all", "", {name: [net] for name, net in resnets.items()})
    return as_html(
        pandas.DataFrame(rows, columns=["part", "output", *resnets]),
        "Parameters of each part; in brackets those that are not trained.",
    )


def _parameters(modules: Sequence[nn.Module]) -> str:
    parameters = [p for module in modules for p in module.parameters()]
    all_of_them = sum(p.numel() for p in parameters)
    frozen = sum(p.numel() for p in parameters if not p.requires_grad)
    return f"{all_of_them:,}" + (f" ({frozen:,})" if frozen else "")


def statistics_table(trained: Sequence[Record]) -> str:
    """A page's trainings, each tested with both kinds of BatchNorm statistics."""
    if not trained:
        return "<p>Not run yet.</p>"
    rows = []
    for record in trained:
        key = record.key
        accuracies = {
            told: measured[key.sparsity]
            for kind, told in TOLD.items()
            if (measured := record.with_statistics(kind)) is not None
        }
        rows.append(
            {"network": key.network, "seed": key.seed}
            | {told: percent(accuracy) for told, accuracy in accuracies.items()}
        )
    return as_html(
        pandas.DataFrame(rows),
        "Test accuracy by the statistics that BatchNorm uses in testing. The source's sparse "
        "blocks are never switched to their running means.",
    )
