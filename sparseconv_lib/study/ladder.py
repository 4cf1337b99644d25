"""Why the source's sparse ResNet18 failed on whole images: its faults, one at a time.

Between the sparse network that the source's code trains and its dense one stand six differences,
here called faults. A *rung* is the set of them that is there: all six is the source's code, none
is the dense network, computed by sparse convolutions that neither scale nor dilate. A seventh
difference, that the mask is not dilated, is none where nothing is missing, and is not trained.

The order in which faults are mended, the two ways to mend one alone, and the networks trained for
it were fixed here before the first of them was run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sparseconv_lib.study import records
from sparseconv_lib.study.protocol import ParameterError, full_name, preset

NETWORK = "SparseConvNet-kept"
BASES = ("as_written", "reduced")
# Strides in the skip and no scale: what is left of the sparse network is the dense one.
MENDED = "skip=strided, scale=none"


@dataclass(frozen=True)
class Fault:
    """change: of a protocol that is mended. cause, mend: in words, the fault and its absence."""

    change: str
    cause: str
    mend: str


# In the order in which they are mended. First the two effects of the one line that hides the blocks
# from PyTorch, then what the sparse block lacks, then how it is trained, then the skip, and last
# the layer itself: the only one of them that makes a network sparse.
FAULTS: dict[str, Fault] = {
    "untrained": Fault(
        "train_blocks=false", "the residual blocks are not trained", "train the blocks"
    ),
    "training_mode": Fault(
        "evaluation=blocks", "the blocks are tested in training mode", "test them in test mode"
    ),
    "no_second_norm": Fault(
        "second_norm=false", "a block has no second BatchNorm", "add the second BatchNorm"
    ),
    "no_drop": Fault("drop_after=0", "the learning rate is never lowered", "lower the rate"),
    "pooled_skip": Fault(
        "skip=pooled", "the skip max pools where the dense one strides", "stride in the skip"
    ),
    "layer": Fault(
        "scale=mean, sparse_bias=zero",
        "the layer: Eq. 1's scale, biases from 0",
        "no scale, no zero biases",
    ),
}

Rung = frozenset[str]
CODE: Rung = frozenset(FAULTS)
DENSE: Rung = frozenset()
LAYER_ONLY: Rung = frozenset({"layer"})  # a sparse network without any other fault


def parse(variant: object) -> Rung | None:
    """The rung that a notebook's parameter names: "code", "dense", or faults with + between them.

    None for "text", which is the protocol as it stands. Raises ParameterError for others.
    """
    if variant == "text":
        return None
    if variant in ("code", "dense"):
        return CODE if variant == "code" else DENSE
    names = [name.strip() for name in variant.split("+")] if isinstance(variant, str) else []
    if not names or len(set(names)) < len(names) or any(name not in FAULTS for name in names):
        raise ParameterError(
            f"variant is {variant!r:.60}; choose text, code, dense, or faults with + between them: "
            f"{', '.join(FAULTS)}"
        )
    return frozenset(names)


def with_variant(protocol: object, variant: object) -> str:
    """The full name of a notebook's protocol with its variant's faults.

    Raises ParameterError for what does not exist, or a variant of what is no base of the ladder.
    """
    rung = parse(variant)
    if rung is None:
        return full_name(protocol, "resnet18")
    if protocol not in BASES:
        raise ParameterError(
            f"variant is {variant!r}, which changes one of the protocols {', '.join(BASES)}, but "
            f"protocol is {protocol!r:.60}: choose one of them, or variant text"
        )
    return protocol_of(str(protocol), rung)


def protocol_of(base: str, rung: Rung) -> str:
    """The full name of the protocol `base` ("as_written" or "reduced") with a rung's faults."""
    changes = {**_changes(MENDED)}
    for name, fault in FAULTS.items():
        if name in rung:
            changes |= _changes(fault.change)
    told = ", ".join(f"{knob}={value}" for knob, value in changes.items())
    return full_name(f"{base}, {told}", "resnet18")


def _changes(text: str) -> dict[str, str]:
    return dict(change.split("=") for change in text.split(", "))


def trained_as(base: str, rung: Rung) -> str:
    """The protocol whose trainings give the rung's accuracy.

    How blocks are tested does not touch the training, and each training is tested both ways.
    """
    return protocol_of(base, rung - {"training_mode"})


def down() -> list[Rung]:
    """From the source's code to the dense network, mending in the order of FAULTS."""
    return _mend(FAULTS)


def up() -> list[Rung]:
    """The same in the reverse order."""
    return _mend(reversed(FAULTS))


def _mend(order: Iterable[str]) -> list[Rung]:
    rungs = [CODE]
    for name in order:
        rungs.append(rungs[-1] - {name})
    return rungs


def mended_alone(name: str) -> tuple[Rung, Rung]:
    """Before and after mending one fault of the source's code: what it explains alone, first."""
    return CODE, CODE - {name}


def left_alone(name: str) -> tuple[Rung, Rung]:
    """Before and after mending a network that has one fault left: what it explains alone, last."""
    return frozenset({name}), DENSE


def rungs() -> list[Rung]:
    """Every rung that a table asks for, each once, the most telling first."""
    asked = [*down(), *up()]
    asked += [mended_alone(name)[1] for name in FAULTS] + [left_alone(name)[0] for name in FAULTS]
    return list(dict.fromkeys(asked))


def protocols(base: str) -> tuple[str, ...]:
    """Every protocol that the ladder trains, each once, the most telling first."""
    return tuple(dict.fromkeys(trained_as(base, rung) for rung in rungs()))


def accuracies(base: str, rung: Rung) -> Mapping[int, float]:
    """Seed -> test accuracy at p = 0 of the rung's recorded trainings; empty where none is."""
    name = trained_as(base, rung)
    kind = "blocks" if "training_mode" in rung else preset(name, "resnet18").evaluation
    found = {}
    for record in records.load("resnet18", name):
        key = record.key
        measured = record.with_statistics(kind)
        if key.network == NETWORK and key.sparsity == 0 and measured is not None:
            found[key.seed] = measured[0.0]
    return found
