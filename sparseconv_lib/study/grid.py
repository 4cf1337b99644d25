"""What is to be published: each experiment's pages and the trainings on them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study.protocol import ParameterError, whole_number
from sparseconv_lib.study.records import Key, sparsity_in_names

# Table 3's sparsities, and both ends that it leaves out.
MNIST_SPARSITIES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Page:
    """One execution of a notebook by papermill: one protocol, sparsity and seed, all networks."""

    experiment: str
    protocol: str
    sparsity: float
    seed: int
    networks: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.protocol}-p{sparsity_in_names(self.sparsity)}-seed{self.seed}"

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
class Experiment:
    """The grid of one notebook: protocols x networks x sparsities x seeds."""

    name: str
    protocols: tuple[str, ...]
    networks: tuple[str, ...]
    sparsities: tuple[float, ...]
    seeds: int

    def pages(self, seeds: int | None = None) -> Iterator[Page]:
        """Every page, seeds outermost: whatever is done of them is a whole table, with a small n.

        seeds: how many, by default the published number. Raises ParameterError below 1.
        """
        for seed in range(whole_number("seeds", self.seeds if seeds is None else seeds, 1)):
            for protocol in self.protocols:
                for sparsity in self.sparsities:
                    yield Page(self.name, protocol, sparsity, seed, self.networks)


EXPERIMENTS: dict[str, Experiment] = {
    "mnist": Experiment("mnist", ("as_written",), NETWORKS, MNIST_SPARSITIES, seeds=10),
}


def experiment(name: str) -> Experiment:
    """The experiment of that name, or ParameterError."""
    if name not in EXPERIMENTS:
        raise ParameterError(f"experiment {name!r} does not exist; known: {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]
