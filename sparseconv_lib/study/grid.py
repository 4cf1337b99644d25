"""What is to be published: each experiment's pages and the trainings on them."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import ladder
from sparseconv_lib.study.protocol import (
    BASELINES,
    PRESETS,
    ParameterError,
    full_name,
    whole_number,
)
from sparseconv_lib.study.records import (
    METHODS,
    Key,
    protocol_in_names,
    sparsity_in_names,
)

# Table 3's sparsities, and both ends that it leaves out.
MNIST_SPARSITIES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Page:
    """One execution of a notebook by papermill: one protocol, sparsity and seed.

    apart: the page has one network, and its name tells which.
    """

    experiment: str
    protocol: str
    sparsity: float
    seed: int
    networks: tuple[str, ...]
    apart: bool = False

    @property
    def name(self) -> str:
        protocol = protocol_in_names(self.protocol)
        if self.apart:
            protocol += f"-{self.networks[0]}"
        return f"{protocol}-p{sparsity_in_names(self.sparsity)}-seed{self.seed}"

    @property
    def path(self) -> PurePosixPath:
        """Of the executed page, from the top folder."""
        return PurePosixPath("book", "runs", self.experiment, f"{self.name}.ipynb")

    @property
    def keys(self) -> list[Key]:
        return [
            Key(self.experiment, self.protocol, network, self.sparsity, self.seed)
            for network in self.networks
        ]

    @property
    def parameters(self) -> dict[str, str | float | int]:
        """What papermill gives the notebook."""
        return {
            "sparsity": self.sparsity,
            "protocol": self.protocol,
            "networks": ", ".join(self.networks),
            "seed": self.seed,
            "source": "train",
        }


@dataclass(frozen=True)
class Grid:
    """Protocols x networks x sparsities x seeds.

    apart: every network has a page of its own, since one training takes long.
    """

    protocols: tuple[str, ...]
    networks: tuple[str, ...]
    sparsities: tuple[float, ...]
    seeds: int
    apart: bool = False

    def pages(self, notebook: str, seed: int) -> Iterator[Page]:
        """The pages of one seed."""
        together = [(network,) for network in self.networks] if self.apart else [self.networks]
        for protocol in self.protocols:
            for sparsity in self.sparsities:
                for networks in together:
                    yield Page(notebook, protocol, sparsity, seed, networks, self.apart)


@dataclass(frozen=True)
class Experiment:
    """One or more grids of one notebook, whose name pages and records are filed under.

    Grids may overlap: the earlier is what a reader misses most, and runs first. A training stands
    on one page, the first that asks for it.
    """

    notebook: str
    grids: tuple[Grid, ...]

    def pages(self, seeds: int | None = None) -> Iterator[Page]:
        """Every page, seeds outermost: whatever is done of them is a whole table, with a small n.

        seeds: how many, by default each grid's published number. Raises ParameterError below 1.
        """
        if seeds is not None:
            whole_number("seeds", seeds, 1)
        for seed in range(seeds or max(grid.seeds for grid in self.grids)):
            asked: set[Key] = set()
            for grid in self.grids:
                if seed < (seeds or grid.seeds):
                    for page in grid.pages(self.notebook, seed):
                        new = tuple(key.network for key in page.keys if key not in asked)
                        asked.update(page.keys)
                        if new:
                            yield dataclasses.replace(page, networks=new)


SOURCE_NETWORKS = ("ConvNet", "SparseConvNet-kept")  # those that the source trained
THREE_NETWORKS = ("ConvNet", "SparseConvNet", "SparseConvNet-kept")
FORENSIC_SPARSITIES = (0.05, 0.5, 0.8, 0.9)
RATES = ("", "learning_rates=0.01", "learning_rates=0.1")  # the source's 0.001, and two decades up


def _changed(base: str, *changes: str) -> str:
    return full_name(", ".join([base, *filter(None, changes)]))  # of MNIST's


# The source's sparse layer starts its bias at 0. Before a BatchNorm no bias matters; elsewhere it
# does, beside a signal that Eq. 1 has divided by k².
SOURCE_BIAS = "sparse_bias=zero"
SCALES = ("", "scale=partial", "scale=none")  # the source's is Eq. 1's
# With the scale of Eq. 1 nothing moves in the source's two epochs, so these go on.
WITHOUT_BATCH_NORM = tuple(
    _changed("as_written", "batch_size=64, batch_norm=false", SOURCE_BIAS, scale, rate, long)
    for scale, long in zip(SCALES, ("epochs=10", "", ""), strict=True)
    for rate in RATES
)
# The first of these is trained for `forensics`.
WITH_BATCH_NORM = tuple(
    _changed("as_written", "batch_size=64", scale, rate) for scale in SCALES for rate in RATES
)

# Table 4's sparsities, and the whole images that it leaves out.
CALTECH_SPARSITIES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

# ResNet18 where the data really are sparse. Up to 0.8 its masks are full behind the stem, whatever
# their rule, so that only 0.95 can tell what using one mask twice costs. Union and intersection at
# the sum differ nowhere enough to train both.
RESNET_SPARSITIES = (0.3, 0.5, 0.8, 0.95)

# What a network that was trained at one sparsity is tested at; the last is what the control trains
# with, few pixels, as the paper's task has.
TEST_SPARSITIES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
PAPERS_SPARSITY = 0.95
TWO_SPARSITIES = (0.5, 0.8)  # where a question is asked of less than the whole matrix
PAPERS_NETWORKS = NETWORKS[:3]
DENSE_NETWORKS = NETWORKS[:2]  # for which it matters what stands where a pixel is missing
FILLS = ("value", "mean", "nearest")
INVERTED = "invert=true"
TUNING = _changed("fair", "learning_rates=0.003 0.01 0.03 0.1")
PATIENT = _changed("fair", "patience=5")  # and not 2


@dataclass(frozen=True)
class Evaluation:
    """What a chapter's networks are tested at, beside their own sparsity.

    reestimate: also with BatchNorm statistics of training images at each test sparsity.
    other_masks: also, at the training sparsity, where pixels go missing in these ways.
    """

    sparsities: tuple[float, ...] = ()
    reestimate: bool = False
    other_masks: tuple[Literal["bernoulli", "block", "scan_line"], ...] = ()


_EVALUATIONS = {
    "invariance": Evaluation(TEST_SPARSITIES, True, ("bernoulli", "block", "scan_line")),
    "depth": Evaluation(TEST_SPARSITIES),
}


def evaluation_of(notebook: str) -> Evaluation:
    """What the networks of a notebook are tested at."""
    return _EVALUATIONS.get(notebook, Evaluation())


# In the order of what a reader misses most: `sparseconv missing` and a sweep of several go by it.
EXPERIMENTS: dict[str, Experiment] = {
    "caltech": Experiment(
        "caltech",
        (
            # What one verdict reads, and two more: apart, since a CPU takes half an hour for each.
            Grid(("as_written",), SOURCE_NETWORKS, (0.0, 0.8, 0.5, 0.9), seeds=5, apart=True),
            Grid(("as_written",), NETWORKS, CALTECH_SPARSITIES, seeds=5),
            # Figure 7: are ten epochs enough?
            Grid(("as_written, epochs=50",), ("ConvNet",), (0.0,), seeds=5),
            # What the source's notebook did at three of its sparsities, and its compounding alone.
            # It has the sparse network only.
            Grid(("as_coded", "compounding"), SOURCE_NETWORKS[1:], (0.0, 0.5, 0.9), seeds=3),
            Grid(
                ("as_written, scaling=imagenet",), SOURCE_NETWORKS, (0.0, 0.8), seeds=5, apart=True
            ),
            # Table 4 is judged with a split drawn by each seed, since the source's is not known.
            Grid(("as_written, split=by_seed",), SOURCE_NETWORKS, CALTECH_SPARSITIES[1:], seeds=5),
        ),
    ),
    "resnet18": Experiment(
        "resnet18",
        (
            Grid(("as_written",), NETWORKS, (0.0, *RESNET_SPARSITIES), seeds=3, apart=True),
            Grid(ladder.protocols("as_written"), (ladder.NETWORK,), (0.0,), seeds=3, apart=True),
            Grid(("as_written, split=by_seed",), SOURCE_NETWORKS, (0.0,), seeds=5, apart=True),
        ),
    ),
    # The ladder for a machine without a GPU, and beside it what a reader wants to see at once.
    "resnet18_reduced": Experiment(
        "resnet18",
        (
            Grid(ladder.protocols("reduced"), (ladder.NETWORK,), (0.0,), seeds=2, apart=True),
            Grid(("reduced",), NETWORKS, RESNET_SPARSITIES, seeds=1, apart=True),
        ),
    ),
    # Trained at one sparsity, tested at others: what the claims are judged by.
    "invariance": Experiment(
        "invariance",
        (
            Grid(("fair",), NETWORKS, TWO_SPARSITIES, seeds=5),
            # What a network that was trained at 0.5 is held against where it is tested.
            Grid(("fair",), NETWORKS[2:3], (0.0, 0.3, 0.7, 0.9), seeds=5, apart=True),
        ),
    ),
    # Every pixel is asked for.
    "depth": Experiment(
        "depth",
        (
            Grid(("elevation",), (*PAPERS_NETWORKS, *BASELINES), (PAPERS_SPARSITY,), seeds=5),
            Grid(
                ("digits",),
                (*PAPERS_NETWORKS, "constant", "nearest", "gaussian"),
                (PAPERS_SPARSITY,),
                seeds=5,
            ),
            Grid(("depth_reduced",), (*PAPERS_NETWORKS, *BASELINES), (PAPERS_SPARSITY,), seeds=5),
            # What "decisions are easier than values" asks of ConvNet, and the layer beside it.
            Grid(("digits",), PAPERS_NETWORKS, (0.0, *TWO_SPARSITIES), seeds=5, apart=True),
            Grid(("elevation, scaling=unit",), PAPERS_NETWORKS, (PAPERS_SPARSITY,), seeds=5),
            # Is it more than one constant, which a plain convolution can be given?
            Grid(
                ("elevation, rescale=true", "depth_reduced, rescale=true"),
                NETWORKS[:1],
                (PAPERS_SPARSITY,),
                seeds=5,
            ),
        ),
    ),
    # The rest of the matrix, and what else could explain it.
    "confounds": Experiment(
        "invariance",
        (
            # Is the one learning rate of `fair` a good one for every network?
            Grid((TUNING,), NETWORKS, (0.5,), seeds=1, apart=True),
            Grid(("fair",), (*NETWORKS[:2], NETWORKS[3]), (0.0, 0.3, 0.7, 0.9), seeds=5),
            Grid(("fair",), NETWORKS, (0.1, PAPERS_SPARSITY), seeds=5),
            # Does it stop too early? Of its first trainings those that went on were better.
            Grid((PATIENT,), NETWORKS, TWO_SPARSITIES, seeds=5, apart=True),
            # Two cheap cures: to rescale what is left, and to train at many sparsities.
            Grid((_changed("fair", "mixed_sparsity=true"),), NETWORKS, (PAPERS_SPARSITY,), seeds=5),
            Grid((_changed("fair", "rescale=true"),), NETWORKS[:1], TWO_SPARSITIES, seeds=5),
            # What stands where a pixel is missing. Eq. 1 does not look there.
            Grid((_changed("fair", INVERTED),), PAPERS_NETWORKS, TWO_SPARSITIES, seeds=5),
            Grid(
                tuple(
                    _changed("fair", ground, f"fill_from={fill}")
                    for ground in (INVERTED, "")
                    for fill in FILLS[1:]
                ),
                DENSE_NETWORKS,
                TWO_SPARSITIES,
                seeds=5,
            ),
            Grid(
                tuple(_changed("fair", f"mask_kind={kind}") for kind in ("block", "scan_line")),
                PAPERS_NETWORKS,
                TWO_SPARSITIES,
                seeds=5,
            ),
        ),
    ),
    "depth_full": Experiment(
        "depth",
        (Grid(("depth",), (*PAPERS_NETWORKS, *BASELINES), (PAPERS_SPARSITY,), seeds=3),),
    ),
    "invariance_caltech": Experiment(
        "invariance",
        (
            # Where the claims are judged on digits: apart, for a machine without a GPU.
            Grid(("caltech101",), PAPERS_NETWORKS, (0.5,), seeds=3, apart=True),
            Grid(("caltech101",), NETWORKS, TEST_SPARSITIES, seeds=3),
        ),
    ),
    "mnist": Experiment("mnist", (Grid(("as_written",), NETWORKS, MNIST_SPARSITIES, seeds=10),)),
    # Which choices of the source's code made its numbers: see study/forensics.py.
    "forensics": Experiment(
        "mnist",
        (
            # as_coded is batch 64, BatchNorm last, batch statistics. Every training is tested with
            # both kinds of statistics, so that four trainings make eight settings; those of
            # as_written were made before that was so, hence as_written once more.
            Grid(("as_coded",), THREE_NETWORKS, (*FORENSIC_SPARSITIES, 0.7, 0.85, 0.95), seeds=5),
            Grid(
                ("as_written, batch_size=64",),
                SOURCE_NETWORKS,
                (*FORENSIC_SPARSITIES, 0.0),  # p = 0 also for `batch_norm`
                seeds=5,
            ),
            Grid(
                (
                    "as_written, evaluation=batch",
                    "as_written, block_order=code, sparse_bias=zero",
                ),
                SOURCE_NETWORKS,
                FORENSIC_SPARSITIES,
                seeds=3,
            ),
        ),
    ),
    # Is it the scale of Eq. 1 that keeps SparseConvNet from learning without BatchNorm?
    "batch_norm": Experiment(
        "mnist",
        (
            Grid(
                ("as_written, batch_norm=false", "as_written, batch_norm=false, sparse_bias=zero"),
                ("SparseConvNet-kept",),
                (0.0, 0.8),  # the claim speaks of whole images; 0.8 is shown beside it
                seeds=5,
            ),
            Grid(WITHOUT_BATCH_NORM, ("SparseConvNet-kept",), (0.0,), seeds=3),
            Grid(WITH_BATCH_NORM[1:], ("SparseConvNet-kept",), (0.0,), seeds=3),
        ),
    ),
    # "Two epochs are enough", which the source says of ConvNet on whole images.
    "two_epochs": Experiment(
        "mnist", (Grid(("as_written, epochs=10",), ("ConvNet",), (0.0,), seeds=5),)
    ),
}


def grid_of(notebook: str, protocol: str) -> Grid | None:
    """Everything that is published of a protocol, as one grid; None if nothing is."""
    grids = [
        grid
        for experiment in EXPERIMENTS.values()
        if experiment.notebook == notebook
        for grid in experiment.grids
        if protocol in grid.protocols
    ]
    if not grids:
        return None
    networks = {network for grid in grids for network in grid.networks}
    return Grid(
        (protocol,),
        tuple(network for network in METHODS if network in networks),
        tuple(sorted({sparsity for grid in grids for sparsity in grid.sparsities})),
        max(grid.seeds for grid in grids),
        grids[0].apart,
    )


def task_of(notebook: str) -> str:
    """The task of a notebook: which of PRESETS are its."""
    return {"caltech": "caltech101"}.get(notebook, notebook if notebook in PRESETS else "mnist")


def experiment(name: str) -> Experiment:
    """The experiment of that name, or ParameterError."""
    if name not in EXPERIMENTS:
        raise ParameterError(f"experiment {name!r} does not exist; known: {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]
