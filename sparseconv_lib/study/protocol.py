"""How one training is done: every choice that the source's text or code makes or leaves open."""

import dataclasses
import math
import numbers
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from sparseconv_lib.layers import Scale
from sparseconv_lib.masks import FIELDS
from sparseconv_lib.networks import NETWORKS, BlockOrder
from sparseconv_lib.resnet import SHRINKS, MaskAtSum, Skip
from sparseconv_lib.study.errors import OneLineError
from sparseconv_lib.study.interpolation import INTERPOLATORS


class ParameterError(OneLineError, ValueError):
    """A parameter that no run can use; the message is one line and names the remedy."""


def _knob(default: Any, meaning: str, only: str | None = None) -> Any:
    """A dataclass field with its meaning, from which the book's page of deviations is made.

    only: the one architecture that has such a choice; None: every one has.
    """
    return field(default=default, metadata={"meaning": meaning, "only": only})


def whole_number(name: str, value: object, least: int) -> int:
    """`value` as an int, or ParameterError unless it is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ParameterError(
            f"{name} is {value!r:.40}; it must be a whole number, at least {least}"
        )
    return int(value)


def _real(value: Any) -> bool:
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:  # a whole number beyond every float
        return False


def check_sparsity(value: Any, name: str = "sparsity") -> float:
    """`value` as a float, or ParameterError unless it is a number with 0 <= value < 1."""
    if not _real(value) or not 0.0 <= float(value) < 1.0:
        raise ParameterError(
            f"{name} is {value!r:.40}; it must be a number from 0 (nothing missing) to below 1"
        )
    return abs(float(value))  # -0.0 is 0.0, and would have another name


# Of each data set, whatever the split; here, so that a protocol is refused before data is loaded.
TRAINING_IMAGES = {
    "mnist": 60_000,
    "caltech101": 6_941,
    "elevation": 234,
    "depth": 160,
    "depth_reduced": 160,
}
# What needs no network to answer for every pixel: one image for all, and interpolations.
BASELINES = ("constant", *INTERPOLATORS)
MAPS = ("elevation", "depth", "depth_reduced")  # one value a pixel, in metres


_MAY_BE_ZERO = ("held_out", "patience", "drop_after", "side", "trial_epochs")


@dataclass(frozen=True)
class Protocol:
    """Every knob of one training. Two equal protocols with equal seeds give equal numbers.

    Units: rates per step, epochs as passes over the training images, probabilities in [0, 1].
    Raises ParameterError for values that make no sense.
    """

    dataset: Literal["mnist", "caltech101", "elevation", "depth", "depth_reduced"] = _knob(
        "mnist", "data set"
    )
    architecture: Literal["cnn", "resnet18", "uhrig"] = _knob(
        "cnn",
        "cnn: the source's Table 1 or 2; resnet18: its ResNet18; uhrig: the original paper's "
        "network for maps",
    )
    objective: Literal["classify", "reconstruct"] = _knob(
        "classify",
        "classify: the class, by cross-entropy; reconstruct: every pixel, by the squared error",
    )
    split: Literal["standard", "by_seed"] = _knob(
        "standard",
        "standard: the data set's own test images, for Caltech-101 the committed stratified ones; "
        "by_seed: as many, drawn from the seed, whatever their class",
    )
    epochs: int = _knob(2, "passes over the training images (with patience: at most)")
    batch_size: int = _knob(4, "images a step")
    optimiser: Literal["sgd", "adam"] = _knob("sgd", "optimiser")
    learning_rates: tuple[float, ...] = _knob(
        (1e-3,), "learning rate; of several, the best on the held-out images is used"
    )
    trial_epochs: int = _knob(
        0, "epochs after which only the best learning rate goes on; 0: each is trained to its end"
    )
    drop_after: int = _knob(
        0,
        "epochs, fewer than all, after which a new optimiser goes on with a tenth of the rate; 0: "
        "never",
    )
    momentum: float = _knob(0.9, "momentum of SGD")
    block_order: BlockOrder = _knob(
        "text",
        "text: convolution, BatchNorm, ReLU, pooling; code: BatchNorm after the pooling",
        only="cnn",
    )
    batch_norm: bool = _knob(True, "BatchNorm after each convolution", only="cnn")
    second_norm: bool = _knob(
        True, "BatchNorm after the second convolution of a sparse residual block", only="resnet18"
    )
    skip: Skip = _knob(
        "strided",
        "skip of a sparse residual block that halves the map. strided: a 1×1 convolution of stride "
        "2, as in the dense one; pooled: 2×2 max pooling, then a 1×1 convolution",
        only="resnet18",
    )
    mask_at_sum: MaskAtSum = _knob(
        "union", "mask of a residual sum, from those of its branches", only="resnet18"
    )
    train_blocks: bool = _knob(
        True,
        "a sparse network's residual blocks are trained, or keep their first weights",
        only="resnet18",
    )
    scale: Scale = _knob("mean", "normalisation of the sparse convolution; mean is Eq. 1")
    sparse_bias: Literal["default", "zero"] = _knob(
        "default", "first biases of the sparse convolutions: PyTorch's default, or 0"
    )
    evaluation: Literal["running", "batch", "blocks"] = _knob(
        "running",
        "BatchNorm statistics when testing: running means, or the test batch's own; blocks: its "
        "own in a sparse ResNet18's residual blocks only",
    )
    mask_kind: Literal["bernoulli", "block", "scan_line"] = _knob(
        "bernoulli", "how pixels go missing"
    )
    mixed_sparsity: bool = _knob(
        False, "each training image has its own sparsity, uniform from 0 to the training's"
    )
    masks: Literal["image", "epoch"] = _knob(
        "image", "a training image keeps one mask, or draws a new one each epoch"
    )
    compounding: bool = _knob(
        False,
        "images have also lost the pixels of a sweep's earlier sparsities, which no mask tells",
    )
    scaling: Literal["unit", "imagenet", "standard"] = _knob(
        "unit",
        "unit: pixels in [0, 1], maps by their largest value; imagenet: then by ImageNet's mean "
        "and deviation; standard: maps by the mean and deviation of the training pixels",
    )
    invert: bool = _knob(False, "dark digits on a bright ground, by 1 minus each pixel", only="cnn")
    side: int = _knob(
        0, "pixels a side to which photographs are averaged down; 0: as they are", only="resnet18"
    )
    fill: float = _knob(0.0, "value of missing pixels, after the scaling")
    fill_from: Literal["value", "mean", "nearest"] = _knob(
        "value",
        "value: missing pixels hold `fill`; mean: the mean of the image's observed ones; nearest: "
        "the nearest observed one",
    )
    rescale: bool = _knob(
        False, "what a network sees is divided by the share of pixels that is observed, 1 − p"
    )
    held_out: int = _knob(0, "training images held out to choose the rate and the epoch")
    patience: int = _knob(0, "epochs without a better held-out accuracy before stopping; 0: none")
    precision: Literal["float32", "bfloat16"] = _knob(
        "float32",
        "of convolutions and linear layers; weights are float32, and channels first, in any case. "
        "float32: a GPU's convolutions of photographs and maps multiply in TF32, PyTorch's default",
    )

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for knob in dataclasses.fields(self):
            value, hint = getattr(self, knob.name), hints[knob.name]
            if get_origin(hint) is Literal and value not in get_args(hint):
                choices = ", ".join(map(repr, get_args(hint)))
                raise ParameterError(f"{knob.name} is {value!r}; choose one of {choices}")
            if hint is int:
                least = 0 if knob.name in _MAY_BE_ZERO else 1
                whole_number(knob.name, value, least)
            if hint is float and not _real(value):
                raise ParameterError(f"{knob.name} is {value!r}; give a finite number")
            if hint is bool and not isinstance(value, bool):
                raise ParameterError(f"{knob.name} is {value!r}; choose True or False")
            only = knob.metadata["only"]
            if only not in (None, self.architecture) and value != knob.default:
                raise ParameterError(
                    f"{knob.name} is {value!r}, but architecture is {self.architecture!r}, which "
                    f"has no such choice: leave it out, or choose architecture {only!r}"
                )
        if self.architecture == "resnet18":
            self._check_resnet()
        elif self.evaluation == "blocks":
            raise ParameterError(
                "evaluation is 'blocks', but only ResNet18 has residual blocks: choose 'batch'"
            )
        if self.objective == "reconstruct":
            self._check_reconstruction()
        if (self.dataset in MAPS) != (self.architecture == "uhrig") or (
            self.dataset in MAPS and self.objective != "reconstruct"
        ):
            raise ParameterError(
                f"dataset {self.dataset!r}, architecture {self.architecture!r} and objective "
                f"{self.objective!r} do not go together: maps are reconstructed, by 'uhrig', which "
                "takes nothing else"
            )
        if not 0.0 <= self.momentum < 1.0:
            raise ParameterError(f"momentum is {self.momentum!r}; it must be from 0 to below 1")
        rates = self.learning_rates
        if not isinstance(rates, tuple) or not rates or not all(_real(r) and r > 0 for r in rates):
            raise ParameterError(
                f"learning_rates is {self.learning_rates!r}; give one or more positive numbers"
            )
        if self.scaling == "imagenet" and self.dataset != "caltech101":
            raise ParameterError(
                "scaling is 'imagenet', a mean and deviation for each of three colours; "
                f"{self.dataset} has one channel: choose 'unit'"
            )
        if self.scaling == "standard" and self.dataset not in MAPS:
            raise ParameterError(
                f"scaling is 'standard', which is for maps; {self.dataset} has images: choose "
                "'unit'"
            )
        if self.invert and self.dataset != "mnist":
            raise ParameterError(f"invert is for digits, and dataset is {self.dataset!r}")
        if self.fill and self.fill_from != "value":
            raise ParameterError(
                f"fill is {self.fill!r}, but fill_from is {self.fill_from!r}, which does not use "
                "it: leave one of them out"
            )
        if self.trial_epochs and (
            self.trial_epochs >= self.epochs or len(self.learning_rates) == 1 or self.drop_after
        ):
            raise ParameterError(
                f"trial_epochs is {self.trial_epochs}; it needs several learning_rates, more "
                "epochs than that, and no drop_after: set them, or trial_epochs=0"
            )
        if self.drop_after >= self.epochs:
            raise ParameterError(
                f"drop_after is {self.drop_after}, but training ends after {self.epochs} epochs: "
                "choose fewer, or 0 to never drop the rate"
            )
        if self.held_out >= TRAINING_IMAGES[self.dataset]:
            raise ParameterError(
                f"held_out is {self.held_out:,}, but {self.dataset} has "
                f"{TRAINING_IMAGES[self.dataset]:,} training images: hold out fewer"
            )
        if (len(self.learning_rates) > 1 or self.patience) and not self.held_out:
            raise ParameterError(
                "a choice among learning rates, or patience, needs held-out images: set held_out"
            )

    def _check_reconstruction(self) -> None:
        if self.dataset == "caltech101":
            raise ParameterError("objective is 'reconstruct', which is for digits and maps")
        for knob, default in (("compounding", False), ("split", "standard")):
            if getattr(self, knob) != default:
                raise ParameterError(
                    f"{knob} is {getattr(self, knob)!r}, but objective is 'reconstruct', which "
                    "has no such choice: leave it out"
                )
        if self.evaluation != "running":
            raise ParameterError(
                f"evaluation is {self.evaluation!r}, but objective is 'reconstruct', which is "
                "tested with running statistics: leave it out"
            )

    def _check_resnet(self) -> None:
        if self.dataset != "caltech101":
            raise ParameterError(
                "architecture is 'resnet18', which takes photographs: choose the data set "
                "'caltech101'"
            )
        if self.side % SHRINKS:
            raise ParameterError(
                f"side is {self.side}; ResNet18 halves it five times: give a multiple of {SHRINKS}"
            )
        trained_on = TRAINING_IMAGES[self.dataset] - self.held_out
        if self.side == SHRINKS and 1 in (self.batch_size, trained_on % self.batch_size):
            raise ParameterError(
                f"batch_size is {self.batch_size}, so that a batch of {trained_on:,} images holds "
                f"a single one, whose last map has one pixel at side {self.side}: BatchNorm needs "
                "two; choose another batch_size, or a larger side"
            )


_CALTECH = Protocol(
    dataset="caltech101",
    epochs=10,
    batch_size=64,
    optimiser="adam",
    drop_after=5,
)

# Where the source's text speaks of ResNet18 (Section 3.4.1), and its notebook `Resnet18/Resnet18`
# where that says more: the drop of the rate and the scaling.
_RESNET = dataclasses.replace(
    _CALTECH,
    architecture="resnet18",
    epochs=50,
    drop_after=25,
    scaling="imagenet",
    skip="pooled",
)

# Equal care for every network, so that what is said is about networks and not a rate. The rate is
# the one that `tuning`, in the grid, finds good for each of them; a choice anew in every training
# would cost four times as much, and one after a short trial is a toss.
_FAIR = Protocol(
    epochs=30,
    batch_size=64,
    learning_rates=(1e-2,),
    masks="epoch",
    held_out=5_000,
    patience=2,
)

# The original paper's network and rate, on maps that are small enough for a CPU.
_ELEVATION = Protocol(
    dataset="elevation",
    architecture="uhrig",
    objective="reconstruct",
    epochs=60,
    batch_size=8,
    optimiser="adam",
    drop_after=40,
    masks="epoch",
    scaling="standard",
)

PRESETS: dict[str, dict[str, Protocol]] = {  # task -> name -> protocol
    "mnist": {
        # The source's text. It names neither batch size nor learning rate; batch 4 and 1e-3 are
        # what its `Conv` and `SparseConv` notebooks use, and come near its Table 3.
        "as_written": Protocol(),
        # Its `ACC` notebook, which swept the sparsities: batch 64, BatchNorm last, never eval().
        "as_coded": Protocol(
            batch_size=64, block_order="code", sparse_bias="zero", evaluation="batch"
        ),
        "fair": _FAIR,
    },
    "caltech101": {
        # The source's text (Section 3.4.2); the batch of 64 is its notebook's.
        "as_written": _CALTECH,
        # Its notebook `Caltech101/SparseConv`.
        "as_coded": dataclasses.replace(
            _CALTECH, split="by_seed", block_order="code", sparse_bias="zero", compounding=True
        ),
        # The text with one fault of the notebook: each sparsity of the sweep starts from images
        # that have already been masked at the earlier ones.
        "compounding": dataclasses.replace(_CALTECH, compounding=True),
        "fair": dataclasses.replace(
            _CALTECH,
            epochs=50,
            learning_rates=(3e-4, 1e-3, 3e-3),
            drop_after=0,
            masks="epoch",
            held_out=1_000,
            patience=5,
        ),
    },
    "resnet18": {
        "as_written": _RESNET,
        # Its notebook `Resnet18/SparseResnet18`. The two effects of not registering the blocks
        # are two knobs.
        "as_coded": dataclasses.replace(
            _RESNET,
            split="by_seed",
            drop_after=0,
            second_norm=False,
            train_blocks=False,
            evaluation="blocks",
            sparse_bias="zero",
        ),
        # `as_written` for a machine without a GPU: small images, few epochs.
        "reduced": dataclasses.replace(_RESNET, side=64, epochs=4, drop_after=2),
    },
    # Trained at one sparsity, tested at others: one preset for each data set.
    "invariance": {"fair": _FAIR, "caltech101": _CALTECH},
    # Every pixel is asked for, as in the original paper.
    "depth": {
        "elevation": _ELEVATION,
        "depth_reduced": dataclasses.replace(
            _ELEVATION, dataset="depth_reduced", epochs=30, drop_after=20, batch_size=4
        ),
        "depth": dataclasses.replace(
            _ELEVATION, dataset="depth", epochs=40, drop_after=28, batch_size=4
        ),
        # The source's network for digits, with an output for each pixel.
        "digits": dataclasses.replace(
            _FAIR,
            objective="reconstruct",
            optimiser="adam",
            learning_rates=(1e-3,),
        ),
    },
}


_HINTS = get_type_hints(Protocol)  # knob -> type, in order
_OF_THE_TASK = ("dataset", "architecture", "objective")  # which a preset decides, and no change


def check_networks(names: object, objective: str = "classify") -> tuple[str, ...]:
    """Network names (a list, or one comma-separated string) as a tuple, each known and once.

    Pixels may also be asked of one of `BASELINES`.
    """
    methods = NETWORKS if objective == "classify" else (*NETWORKS, *BASELINES)
    known = ", ".join(methods)
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",")]
    if not isinstance(names, Iterable):
        raise ParameterError(f"networks is {names!r}; give one or more of {known}")
    chosen = tuple(names)
    for name in chosen:
        if name not in methods:
            raise ParameterError(f"network {name!r} does not exist; known: {known}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise ParameterError(f"networks is {chosen!r}; name at least one, and each only once")
    return chosen


def preset(name: object, task: str = "mnist") -> Protocol:
    """The protocol of that name for a task: a preset, or one with changes after commas.

    "as_written, batch_size=64, batch_norm=false" is `as_written` but for two knobs. Several
    learning rates stand with spaces between them. Raises ParameterError for a name, knob or value
    that does not exist.
    """
    base, changes = _parts(name, task)
    values: dict[str, Any] = {}
    for change in changes:
        knob, equals, text = (part.strip() for part in change.partition("="))
        if knob not in _HINTS or knob in _OF_THE_TASK or not equals or knob in values:
            raise ParameterError(
                f"protocol is {name!r}: {change!r} is no change of one knob, such as "
                f"batch_size=64; knobs: {', '.join(_changeable(task))}"
            )
        values[knob] = _value(knob, text)
    return dataclasses.replace(PRESETS[task][base], **values)


def applicable(protocol: Protocol) -> Iterator["dataclasses.Field[Any]"]:
    """The knobs that the protocol's architecture has, in order."""
    for knob in dataclasses.fields(protocol):
        if knob.metadata["only"] in (None, protocol.architecture):
            yield knob


def _changeable(task: str) -> list[str]:
    protocol = next(iter(PRESETS[task].values()))
    return [knob.name for knob in applicable(protocol) if knob.name not in _OF_THE_TASK]


def _parts(name: object, task: str) -> tuple[str, list[str]]:
    """The preset's name and the changes in a protocol's name."""
    known = ", ".join(PRESETS[task])
    if not isinstance(name, str):
        raise ParameterError(f"protocol is {name!r:.40}; choose one of {known}")
    base, *changes = (part.strip() for part in name.split(","))
    if base not in PRESETS[task]:
        raise ParameterError(f"protocol is {name!r}; choose one of {known}")
    return base, changes


def _value(knob: str, text: str) -> Any:
    hint = _HINTS[knob]
    try:
        if hint is bool:
            return {"true": True, "false": False}[text.lower()]
        if hint is int or hint is float:
            return hint(text)
        if get_origin(hint) is tuple:
            return tuple(float(part) for part in text.split())
    except (KeyError, ValueError):
        kind = {bool: "true or false", int: "a whole number"}.get(hint, "a number")
        raise ParameterError(f"{knob} is {text!r}; write {kind}") from None
    return text


def full_name(name: object, task: str = "mnist") -> str:
    """The one name of a protocol: its preset, then what really differs, in the order of knobs.

    Records and pages are filed under it. Raises ParameterError as `preset` does.
    """
    protocol = preset(name, task)
    base, _ = _parts(name, task)
    changes = [
        f"{knob}={_text(getattr(protocol, knob))}"
        for knob in _HINTS
        if getattr(protocol, knob) != getattr(PRESETS[task][base], knob)
    ]
    return ", ".join([base, *changes])


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return " ".join(map(_text, value))
    return repr(value) if isinstance(value, float) else str(value)


def check_parameter_names(
    known: Iterable[str], before: Mapping[str, object], now: Mapping[str, object]
) -> None:
    """Stops a notebook that was given a parameter it does not have.

    papermill only warns of an unknown `-p name value` and runs with the defaults. It injects its
    values as a cell behind the parameters, so a notebook calls this in the cell after that one,
    with its `known` parameters, a copy of its globals `before` the parameters' cell, and those of
    `now`. A value that replaces an import of the notebook is unknown, too.

    Raises ParameterError naming the unknown parameters, and the known ones.
    """
    new = (name for name in now if name not in before or now[name] is not before[name])
    unknown = sorted(name for name in set(new) - set(known) if not name.startswith("_"))
    if unknown:
        names = ", ".join(sorted(known)) or "none"
        raise ParameterError(f"unknown parameter {', '.join(unknown)}; known: {names}")


assert set(get_args(get_type_hints(Protocol)["mask_kind"])) == set(FIELDS)


def check_source(source: object) -> str:
    """ "train" or "records", or ParameterError."""
    if source not in ("train", "records"):
        raise ParameterError(
            f"source is {source!r}; choose 'train' (train now) or 'records' (show what was run)"
        )
    return str(source)
