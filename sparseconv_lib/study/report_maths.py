"""The tables of the chapter on the maths, as HTML."""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pandas
import torch
from torch import Tensor

from sparseconv_lib.layers import MaskUpdate
from sparseconv_lib.networks import Architecture
from sparseconv_lib.study import implementations, mask_spread
from sparseconv_lib.study.records import Key
from sparseconv_lib.study.report import as_html


def recorded_digit() -> Tensor:
    """The first test image of MNIST, (1, 1, 28, 28) in [0, 1], as a run left it with its record.

    Raises FileNotFoundError where that run is not there.
    """
    path = Key("mnist", "as_written", "ConvNet", 0.0, 0).path().with_suffix(".npz")
    with np.load(path, allow_pickle=False) as example:
        return torch.from_numpy(example["image"]).float().view(1, 1, 28, 28) / 255


def denominators_table(measured: dict[str, Any] | None, when: str) -> str:
    """What `denominators.measure` returned; `when` opens the caption."""
    if measured is None:
        return "<p>Not measured yet: <code>sparseconv measure</code> does it.</p>"
    one = {row["shape"]: row for row in measured["rows"] if row["design"] == "1 → 1"}
    rows = [
        {
            "layer": row["shape"],
            "count": row["design"],
            "weights of the count": f"{row['weights']:,}",
            "kept for the backward pass": f"{row['kept_bytes'] / 2**20:.2f} MiB",
            "memory, ratio": f"{row['kept_bytes'] / one[row['shape']]['kept_bytes']:.2f}",
            "time, ratio": "1"
            if row["design"] == "1 → 1"
            else f"{row['time_ratio']:.2f} ({row['time_ratio_low']:.2f} to "
            f"{row['time_ratio_high']:.2f})",
        }
        for row in measured["rows"]
    ]
    return as_html(
        pandas.DataFrame(rows),
        f"{when}: forward and backward pass of the layer with each way to count, over that with "
        f"one channel; median of {measured['rounds']} rounds and, in brackets, their 10th and 90th "
        f"percentile. {measured['device']}, {measured['threads']} thread, torch "
        f"{measured['versions']['torch']}.",
    )


def implementations_table(c_in: int, c_out: int, k: int) -> str:
    """What each public implementation stores for a c_in -> c_out layer with a k x k kernel."""
    plain = c_in * c_out * k * k
    rows = [
        {
            "implementation": each.repository,
            "denominator": each.denominator,
            "weights": f"{each.weights(c_in, c_out, k):,}",
            "× nn.Conv2d": f"{each.weights(c_in, c_out, k) / plain:.2f}",
            "how known": "read and run" if each.run else "read",
        }
        for each in implementations.load()
    ]
    return as_html(
        pandas.DataFrame(rows),
        f"Weights that a {c_in} → {c_out} layer with k = {k} stores, frozen ones included, biases "
        f"not; nn.Conv2d has {plain:,}. A count from all channels to all, if it were stored, would "
        f"make it {2 * plain:,}.",
    )


def mask_spread_table(architecture: Architecture, sparsities: Sequence[float]) -> str:
    """The expected share of ones in the mask at each stage, under each update rule."""
    rows = []
    for update in reversed(get_args(MaskUpdate)):
        for p in sparsities:
            shares = mask_spread.calculated(architecture, update, p)
            told = (f"{100 * share:.1f}" for share in shares)
            stages = mask_spread.stages(architecture)
            rows.append({"mask": update, "p": f"{p:g}", **dict(zip(stages, told, strict=True))})
    return as_html(
        pandas.DataFrame(rows),
        "Share of ones in the mask after each stage, in per cent, calculated, borders included.",
    )


def implementations_in_words() -> str:
    """Whether others double the parameters, by the rule of the claim."""
    word, reason = implementations.verdict()
    return f"The claim, by its rule: {word}. {reason}"
