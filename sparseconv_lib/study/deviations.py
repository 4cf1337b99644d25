"""Where the source's text, its code and our presets differ: one row for every choice.

`TEXT` is the report (Ge, Zhou and Liu, April 2024), `CODE` its public notebooks for MNIST
(github.com/RangerCoF/SparseConv at 18e84eb): `Conv`, `SparseConv` and `ACC`, which swept the
sparsities. What is ours is read from `PRESETS`, so that it cannot differ from what was run.
Entries may hold Markdown.
"""

from dataclasses import dataclass, fields
from typing import Any

from sparseconv_lib.study.protocol import PRESETS, Protocol

SILENT = "not said"

# Every field of Protocol: what the text says, and what the code does.
TEXT: dict[str, str] = {
    "dataset": "MNIST: 60,000 training and 10,000 test images, scaled to [0, 1] (Section 3.1)",
    "epochs": "2 (Section 3.2)",
    "batch_size": SILENT,
    "optimiser": SILENT + " for MNIST",
    "learning_rates": SILENT + " for MNIST",
    "momentum": SILENT,
    "block_order": "BatchNorm on the convolution's output, ReLU after it (Section 3.2)",
    "batch_norm": "yes; without it SparseConvNet stays at 10 % (Section 3.2)",
    "scale": "Eq. 1: divided by the number of observed pixels plus a very small ε (Section 2)",
    "sparse_bias": SILENT,
    "evaluation": SILENT,
    "mask_kind": "Bernoulli, every pixel alone (Section 3.1)",
    "masks": "one for each image, drawn when the data set is made (Section 3.1)",
    "fill": "0, the lowest value of the image (Section 3.1)",
    "held_out": "none mentioned",
    "patience": "none: a fixed number of epochs (Section 3.2)",
}
CODE: dict[str, str] = {
    "dataset": "the same",
    "epochs": "2",
    "batch_size": "4 in `Conv` and `SparseConv`, 64 in `ACC`",
    "optimiser": "SGD on the cross-entropy",
    "learning_rates": "0.001",
    "momentum": "0.9",
    "block_order": "convolution, ReLU, max pooling, BatchNorm",
    "batch_norm": "yes",
    "scale": "Eq. 1 with ε = 1e-8; the bias is added after the division",
    "sparse_bias": "0",
    "evaluation": "never calls `eval()`: the test batch's own statistics",
    "mask_kind": "Bernoulli, every pixel alone, unseeded",
    "masks": "one for each image, drawn once",
    "fill": "0: the image times its mask",
    "held_out": "none",
    "patience": "none",
}

# Choices that no field of Protocol holds: (choice, text, code, ours under every preset).
BEYOND: tuple[tuple[str, str, str, str], ...] = (
    (
        "mask after a convolution",
        "max pooled where the size of the feature map changes (Section 2)",
        "kept by the convolution, max pooled 2×2 with the image",
        "both: `SparseConvNet-kept` as in the code; `SparseConvNet` dilates it with every "
        "convolution, as Uhrig et al. do",
    ),
    (
        "window without an observed pixel",
        "0 / ε, then the bias (Section 2)",
        "the same",
        "the bias, with no ε: 1e-8 is 0 in half precision, and 0 / 0 is not a number",
    ),
    (
        "padding",
        "'same' (Section 3.2)",
        "zeros, which the mask counts as missing",
        "the same: what padding adds is missing",
    ),
    (
        "where the mask enters",
        "beside the image (Section 2)",
        "as the last channel of the input",
        "as an argument of its own",
    ),
    (
        "test masks",
        "the training's sparsity",
        "the training's sparsity, drawn once, unseeded",
        "the training's sparsity; drawn from the seed, the same for every network",
    ),
    (
        "runs of each cell",
        "one",
        "one, unseeded",
        "one for each seed; every table states its n",
    ),
    (
        "third network",
        "none",
        "none",
        "`ConvNet+mask`, the original paper's other baseline",
    ),
)


@dataclass(frozen=True)
class Row:
    """One choice: what the text says, what the code does, and what each preset of ours does."""

    name: str
    meaning: str
    text: str
    code: str
    ours: dict[str, str]  # preset -> value


def rows() -> list[Row]:
    """A row for every field of `Protocol`, in its order, then those of `BEYOND`.

    Raises ValueError if a field has no entry in `TEXT` or `CODE`, or an entry has no field.
    """
    names = [knob.name for knob in fields(Protocol)]
    for table, said in (("TEXT", TEXT), ("CODE", CODE)):
        if wrong := sorted(set(names) ^ set(said)):
            raise ValueError(
                f"deviations.{table} and the fields of Protocol differ in {', '.join(wrong)}"
            )
    known = [
        Row(
            knob.name,
            knob.metadata["meaning"],
            TEXT[knob.name],
            CODE[knob.name],
            {name: words(getattr(preset, knob.name)) for name, preset in PRESETS.items()},
        )
        for knob in fields(Protocol)
    ]
    beyond = [
        Row(name, "", text, code, dict.fromkeys(PRESETS, ours)) for name, text, code, ours in BEYOND
    ]
    return known + beyond


def words(value: Any) -> str:
    """A knob's value as a reader writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(words, value))
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
