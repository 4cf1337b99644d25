"""The report's tables, as HTML, made from records and from the committed verdict rules."""

import dataclasses
import html
from collections.abc import Sequence

import pandas

from sparseconv_lib.networks import NETWORKS, Architecture, ClassificationNet
from sparseconv_lib.study import verdicts
from sparseconv_lib.study.protocol import Protocol
from sparseconv_lib.study.records import Key, Record


def as_html(table: pandas.DataFrame, caption: str) -> str:
    """A table with a caption, in a container that scrolls where the page is narrow."""
    body = table.to_html(index=False, border=0, escape=True, na_rep="–")
    body = body.replace(">", f"><caption>{html.escape(caption)}</caption>", 1)
    return f'<div class="table-scroll" tabindex="0">{body}</div>'


def percent(accuracy: float) -> str:
    return f"{100 * accuracy:.2f} %"


def architecture_table(architecture: Architecture, protocol: Protocol) -> str:
    """Each network's layers' outputs and parameters, counted on the networks themselves."""
    rows = []
    nets = {
        name: ClassificationNet(
            name,
            architecture,
            block_order=protocol.block_order,
            batch_norm=protocol.batch_norm,
            scale=protocol.scale,
        )
        for name in NETWORKS
    }
    size = architecture.size
    for i, (kernel, channels) in enumerate(architecture.convolutions):
        rows.append([f"convolution {kernel}×{kernel}, {channels}", f"{channels}×{size}×{size}"])
        rows[-1] += [_parameters(net.convolutions[i]) for net in nets.values()]
        if protocol.batch_norm:
            rows.append([f"BatchNorm, {channels}", f"{channels}×{size}×{size}"])
            rows[-1] += [_parameters(net.norms[i]) for net in nets.values()]
        size //= 2
        rows.append(["max pooling 2×2", f"{channels}×{size}×{size}"] + ["0"] * len(nets))
    for i, width in enumerate(architecture.linear):
        rows.append([f"fully connected, {width}", f"{width}"])
        rows[-1] += [_parameters(net.linear[i]) for net in nets.values()]
    rows.append(["all", ""] + [_parameters(net) for net in nets.values()])
    table = pandas.DataFrame(rows, columns=["layer", "output", *nets])
    return as_html(table, "Trainable parameters of each layer.")


def _parameters(module) -> str:  # noqa: ANN001
    return f"{sum(p.numel() for p in module.parameters() if p.requires_grad):,}"


def run_table(trained: Sequence[Record], keys: Sequence[Key]) -> str:
    """One row for each training of a page: its accuracy beside the source's, and where it ran."""
    by_key = {record.key: record for record in trained}
    rows = []
    for key in keys:
        source = source_accuracy(key.network, key.sparsity)
        row = {"network": key.network, "seed": key.seed}
        if key in by_key:
            content = by_key[key].content
            where = content["provenance"]
            row |= {
                "test accuracy": percent(by_key[key].accuracy),
                "source": percent(source) if source is not None else "–",
                "last training loss": f"{content['epochs'][-1]['loss']:.4f}",
                "seconds": f"{where['seconds']:.0f}",
                "device": where["device"],
                "commit": _short(where["commit"]),
            }
        else:
            row |= {"test accuracy": "not run"}
        rows.append(row)
    return as_html(
        pandas.DataFrame(rows).fillna("–"),
        f"Test accuracy at p = {keys[0].sparsity:g} after training at the same p. "
        "The source has one run of each network.",
    )


def _short(commit: str) -> str:
    head, plus, changes = commit.partition("+")
    return head[:10] + plus + changes


def protocol_table(name: str, protocol: Protocol) -> str:
    """Every knob of a protocol, with its meaning."""
    rows = [
        (knob.name, str(getattr(protocol, knob.name)), knob.metadata["meaning"])
        for knob in dataclasses.fields(protocol)
    ]
    table = pandas.DataFrame(rows, columns=["knob", "value", "meaning"])
    return as_html(table, f"The protocol {name}.")


def source_accuracy(network: str, sparsity: float, claim: str = "mnist-table-3") -> float | None:
    """What the source's table says, in [0, 1]; None where it says nothing."""
    source = verdicts.load()[claim].source
    value = source.value(network, sparsity) if source else None
    return None if value is None else value / 100
