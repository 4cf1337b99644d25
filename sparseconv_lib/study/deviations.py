"""Where the source's text, its code and our presets differ: one row for every choice.

`TEXT` is the report (Ge, Zhou and Liu, April 2024), `CODE` its public notebooks
(github.com/RangerCoF/SparseConv at 18e84eb): for MNIST `Conv`, `SparseConv` and `ACC`, which swept
the sparsities; for Caltech-101 `Caltech101/SparseConv`, in which only the sparse network stands;
for ResNet18 `Resnet18/Resnet18` (dense) and `Resnet18/SparseResnet18`.
What is ours is read from `PRESETS`, so that it cannot differ from what was run. Entries may hold
Markdown.
"""

from dataclasses import dataclass
from typing import Any

from sparseconv_lib.study.protocol import PRESETS, Protocol, applicable

SILENT = "not said"

# Every field of Protocol: what the text says, and what the code does. What Caltech-101 shares with
# MNIST is said once.
_TEXT = {
    "learning_rates": SILENT,
    "momentum": SILENT,
    "block_order": "BatchNorm on the convolution's output, ReLU after it (Section 3.2)",
    "batch_norm": "yes; without it SparseConvNet stays at 10 % on MNIST (Section 3.2)",
    "scale": "Eq. 1: divided by the number of observed pixels plus a very small ε (Section 2)",
    "sparse_bias": SILENT,
    "evaluation": SILENT,
    "mask_kind": "Bernoulli, every pixel alone (Section 3.1)",
    "masks": "one for each image, drawn when the data set is made (Section 3.1)",
    "held_out": "none mentioned",
    "patience": "none: a fixed number of epochs",
    "precision": SILENT,
    "objective": "the class of an image",
    "trial_epochs": "no: one learning rate",
    "mixed_sparsity": "no: one sparsity for training and test",
    "fill_from": "a value",
    "rescale": "no",
    "invert": "no",
    "compounding": "no: each sparsity speaks of the images themselves",
}
_CODE = {
    "learning_rates": "0.001",
    "block_order": "convolution, ReLU, max pooling, BatchNorm",
    "batch_norm": "yes",
    "scale": "Eq. 1 with ε = 1e-8; the bias is added after the division",
    "sparse_bias": "0",
    "mask_kind": "Bernoulli, every pixel alone, unseeded",
    "masks": "one for each image, drawn once",
    "fill": "0: the image times its mask",
    "held_out": "none",
    "patience": "none",
    "precision": "float32",
    "objective": "the same",
    "trial_epochs": "no: one learning rate",
    "mixed_sparsity": "no",
    "fill_from": "a value",
    "rescale": "no",
    "invert": "no",
}


def _of_resnet(said: dict[str, str]) -> dict[str, str]:
    """What there is to say of ResNet18, too."""
    return {
        knob: words
        for knob, words in said.items()
        if knob not in ("block_order", "batch_norm", "invert")
    }


TEXT: dict[str, dict[str, str]] = {
    "mnist": _TEXT
    | {
        "architecture": "Table 1",
        "dataset": "MNIST: 60,000 training and 10,000 test images (Section 3.1)",
        "split": "the usual one",
        "epochs": "2 (Section 3.2)",
        "batch_size": SILENT,
        "optimiser": SILENT,
        "drop_after": "no drop mentioned",
        "scaling": "to [0, 1] (Section 3.1)",
        "fill": "0, the lowest value of the image (Section 3.1)",
    },
    "caltech101": _TEXT
    | {
        "architecture": "Table 2",
        "dataset": "Caltech-101, 224 × 224 (Section 3.4)",
        "split": "80 % for training; how they are drawn is not said (Section 3.4)",
        "epochs": "10 (Section 3.4.2)",
        "batch_size": SILENT,
        "optimiser": "Adam with its default parameters (Section 3.4.2)",
        "learning_rates": "0.001 in the first 5 epochs (Section 3.4.2)",
        "drop_after": "5: 0.0001 in the next 5 epochs (Section 3.4.2)",
        "scaling": "to [0, 1]; ImageNet's mean and deviation were tried, and were similar "
        "(Section 3.4)",
        "fill": "0: the three channels are multiplied by one mask (Section 3.4)",
    },
    "resnet18": _of_resnet(_TEXT)
    | {
        "architecture": "ResNet18, its convolutions replaced by sparse ones (Section 3.4.1)",
        "dataset": "Caltech-101, 224 × 224 (Section 3.4)",
        "split": "80 % for training; how they are drawn is not said (Section 3.4)",
        "epochs": SILENT,
        "batch_size": SILENT,
        "optimiser": SILENT,
        "drop_after": "no drop mentioned",
        "scaling": "to [0, 1]; ImageNet's mean and deviation were tried (Section 3.4)",
        "side": "224 × 224",
        "fill": "0: the three channels are multiplied by one mask (Section 3.4)",
        "second_norm": SILENT,
        "skip": "max pooling and a sparse 1×1 convolution of stride 1 in the place of a 1×1 "
        "convolution of stride 2 (Section 3.4.1)",
        "mask_at_sum": "both convolutions of a block see one mask (Section 3.4.1)",
        "train_blocks": SILENT,
    },
}
CODE: dict[str, dict[str, str]] = {
    "mnist": _CODE
    | {
        "architecture": "Table 1's",
        "dataset": "the same",
        "split": "the same",
        "epochs": "2",
        "batch_size": "4 in `Conv` and `SparseConv`, 64 in `ACC`",
        "optimiser": "SGD on the cross-entropy",
        "momentum": "0.9",
        "drop_after": "no",
        "evaluation": "never calls `eval()`: the test batch's own statistics",
        "scaling": "to [0, 1]",
        "compounding": "no",
    },
    "caltech101": _CODE
    | {
        "architecture": "Table 2's",
        "dataset": "the same, without BACKGROUND_Google: 8,677 images of 101 classes",
        "split": "a fifth at random with seed 42, not stratified, over unsorted listings of "
        "folders, so that it depends on the machine; no pairs kept together",
        "epochs": "10",
        "batch_size": "64",
        "optimiser": "Adam on the cross-entropy",
        "momentum": "Adam's own",
        "drop_after": "5: a new Adam at 0.0001",
        "evaluation": "calls `eval()`: running statistics",
        "scaling": "to [0, 1]; the other stands there as a comment",
        "compounding": "yes: each sparsity of the sweep multiplies its masks into the same list of "
        "images, the first into one left masked at 0.3; the network is told the newest mask only",
    },
    "resnet18": _of_resnet(_CODE)
    | {
        "architecture": "ResNet18 with a bias in each convolution; all 20 convolutions sparse",
        "dataset": "the same, without BACKGROUND_Google: 8,677 images of 101 classes",
        "split": "a fifth at random with seed 42, not stratified",
        "epochs": "50",
        "batch_size": "64",
        "optimiser": "Adam on the cross-entropy",
        "momentum": "Adam's own",
        "drop_after": "25 for the dense network: a new Adam at 0.0001; for the sparse one these "
        "lines stand as a comment",
        "evaluation": "calls `eval()`, which does not reach the sparse network's blocks: a plain "
        "list holds them",
        "scaling": "by ImageNet's mean and deviation",
        "side": "224 × 224",
        "compounding": "no: trained at p = 0 only",
        "second_norm": "made, and never applied, in the sparse block; applied in the dense one",
        "skip": "as the text says",
        "mask_at_sum": "one mask: it changes only where max pooling halves it",
        "train_blocks": "the sparse network's: no, since the optimiser is not told of what a plain "
        "list holds; the dense network's: yes",
    },
}

# Choices that no field of Protocol holds: (choice, text, code, ours under every preset).
_BEYOND: tuple[tuple[str, str, str, str], ...] = (
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
_OF_PHOTOGRAPHS: tuple[tuple[str, str, str, str], ...] = (
    (
        "resizing",
        "to 224 × 224 (Section 3.4)",
        "both sides by torchvision's `Resize`: bilinear, averaging where it shrinks",
        "the same, checked against torchvision",
    ),
    (
        "grey images",
        SILENT,
        "made RGB",
        "the same",
    ),
    (
        "Faces and Faces_easy",
        SILENT,
        "435 photographs under two labels, each copy drawn by itself",
        "both copies on one side, except with a split drawn by the seed",
    ),
)
BEYOND: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "mnist": _BEYOND,
    "caltech101": (
        *_BEYOND,
        *_OF_PHOTOGRAPHS,
        (
            "which accuracy is reported",
            SILENT,
            "that after the last epoch",
            "that after the last epoch; under `fair`, of the epoch that held-out images chose",
        ),
    ),
    "resnet18": (
        (
            "mask through a convolution",
            "fixed by one convolution, then used again (Section 3.4.1)",
            "kept; max pooled 2×2 at a stride, 3×3 with the stem's pooling",
            "`SparseConvNet-kept` as in the code; `SparseConvNet` dilates it by every window",
        ),
        *_BEYOND[1:],
        *_OF_PHOTOGRAPHS,
        (
            "which accuracy is reported",
            "“the stable accuracy” (Section 3.4.1)",
            "one after every epoch; the text's 50 % is in none of them",
            "that after the last epoch",
        ),
    ),
}


@dataclass(frozen=True)
class Row:
    """One choice: what the text says, what the code does, and what each preset of ours does."""

    name: str
    meaning: str
    text: str
    code: str
    ours: dict[str, str]  # preset -> value


def rows(task: str) -> list[Row]:
    """A row for every knob of the task's networks, in their order, then those of `BEYOND`.

    Raises ValueError if a field has no entry in `TEXT` or `CODE`, or an entry has no field.
    """
    text, code, presets = TEXT[task], CODE[task], PRESETS[task]
    knobs = list(applicable(next(iter(presets.values()))))
    names = [knob.name for knob in knobs]
    for table, said in (("TEXT", text), ("CODE", code)):
        if wrong := sorted(set(names) ^ set(said)):
            raise ValueError(
                f"deviations.{table} and the fields of Protocol differ in {', '.join(wrong)}"
            )
    known = [
        Row(
            knob.name,
            knob.metadata["meaning"],
            text[knob.name],
            code[knob.name],
            {name: _ours(preset, knob.name) for name, preset in presets.items()},
        )
        for knob in knobs
    ]
    beyond = [
        Row(name, "", said, done, dict.fromkeys(presets, ours))
        for name, said, done, ours in BEYOND[task]
    ]
    return known + beyond


def _ours(protocol: Protocol, knob: str) -> str:
    if knob == "momentum" and protocol.optimiser != "sgd":
        return "not used"
    return words(getattr(protocol, knob))


def words(value: Any) -> str:
    """A knob's value as a reader writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(words, value))
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
