"""Which settings made the source's numbers, and what each line of its code costs.

The source's text names neither batch size nor what BatchNorm uses when it is tested, and its code
contradicts the text in the order of a block: eight settings. How they are judged was committed
before the first run of seven of them; the eighth is `as_written`, of which three seeds were known,
and whose batches of 4 had been chosen because they come near Table 3:

- A setting is judged at four sparsities, by the two networks that the source trained: eight
  values, once of its Table 3, once of the curve that its notebook `ACC` printed.
- Each value is compared with the prediction interval for one more run of ours, at 95 % for the
  eight together (Bonferroni). With so few seeds a cell's own spread says little, so the spread is
  pooled over both networks and both block orders, at the same sparsity, batch size and evaluation.
- One value outside its interval, and the setting is *ruled out*. With all eight inside it is
  *possible*; the widest interval is told beside it. Below three seeds in any cell it is
  *not judged*.

What the rule overlooked: the cells that it pools share their seeds, and so vary together, which
makes its degrees of freedom too many and its intervals too narrow. The rule stands. Beside it each
setting is judged once more, cautiously, with as many degrees of freedom as the pooled cells have
seeds, less one.
"""

import functools
import itertools
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from sparseconv_lib.networks import BlockOrder
from sparseconv_lib.study import claims, records, statistics
from sparseconv_lib.study.grid import EXPERIMENTS, FORENSIC_SPARSITIES, SOURCE_NETWORKS
from sparseconv_lib.study.paths import RESULTS
from sparseconv_lib.study.protocol import Protocol, preset
from sparseconv_lib.study.statistics import Summary

Evaluation = Literal["running", "batch"]
Seeds = dict[int, float]  # seed -> accuracy
MINIMUM_N = 3


@dataclass(frozen=True)
class Setting:
    """What the source's text leaves open, or its code contradicts."""

    batch_size: int
    block_order: BlockOrder
    evaluation: Evaluation

    @property
    def protocol(self) -> Protocol:
        return replace(
            preset("as_written"),
            batch_size=self.batch_size,
            block_order=self.block_order,
            # As the source's code has it. Before BatchNorm a bias changes nothing.
            sparse_bias="zero" if self.block_order == "code" else "default",
            evaluation=self.evaluation,
        )

    def __str__(self) -> str:
        order = {"text": "BatchNorm first", "code": "BatchNorm last"}[self.block_order]
        return f"batch {self.batch_size}, {order}, {self.evaluation} statistics"


SETTINGS = tuple(
    Setting(batch, order, evaluation)
    for batch in (4, 64)
    for order in ("text", "code")
    for evaluation in ("running", "batch")
)
AS_WRITTEN, AS_CODED = Setting(4, "text", "running"), Setting(64, "code", "batch")


def accuracies(setting: Setting) -> dict[tuple[str, float], Seeds]:
    """(network, sparsity) -> seed -> test accuracy, from every training done in that setting.

    A training was done with one kind of BatchNorm statistics in mind, but the other can be read
    from its record: the weights are the same.
    """
    found: dict[tuple[str, float], Seeds] = {}
    for name in _protocols("mnist"):
        if replace(preset(name), evaluation=setting.evaluation) != setting.protocol:
            continue
        for record in records.load("mnist", name):
            tested = record.with_statistics(setting.evaluation)
            if tested is not None:
                cell = found.setdefault((record.key.network, record.key.sparsity), {})
                # Where a training was repeated the first counts; `sameness` compares the two.
                cell.setdefault(record.key.seed, tested[record.key.sparsity])
    return found


def _protocols(notebook: str) -> list[str]:
    """Every protocol that is published, by name, the presets themselves first."""
    names = {
        name: None
        for experiment in EXPERIMENTS.values()
        if experiment.notebook == notebook
        for grid in experiment.grids
        for name in grid.protocols
    }
    return sorted(names, key=lambda name: "," in name)


@functools.cache
def printed_curve() -> dict[tuple[str, float], float]:
    """(network, sparsity) -> accuracy, as the source's notebook `ACC` printed it."""
    with (RESULTS / "source.toml").open("rb") as file:
        curve = tomllib.load(file)["acc"]
    return {
        (network, float(p)): value
        for network in SOURCE_NETWORKS
        for p, value in zip(curve["sparsities"], curve[network], strict=True)
    }


@functools.cache
def table_3() -> dict[tuple[str, float], float]:
    """(network, sparsity) -> accuracy, as the source's Table 3 has it."""
    source = claims.load()["mnist-table-3"].source
    assert source is not None
    return {
        (network, p): value / 100
        for network in SOURCE_NETWORKS
        for p, value in zip(source.sparsities, source.accuracy[network], strict=True)
    }


ROUNDING = 0.5e-4  # both are printed to four digits


@dataclass(frozen=True)
class Cell:
    """One value of the source against our seeds; accuracies in [0, 1]."""

    network: str
    sparsity: float
    source: float
    n: int
    mean: float
    low: float
    high: float

    @property
    def inside(self) -> bool:
        return self.low - ROUNDING <= self.source <= self.high + ROUNDING


@dataclass(frozen=True)
class Judged:
    """A setting against eight values; `word` is "possible", "ruled out" or "not judged".

    cautiously: the word with fewer degrees of freedom, for cells that share their seeds.
    """

    setting: Setting
    word: str
    cells: tuple[Cell, ...]
    cautiously: str

    @property
    def farthest(self) -> Cell:
        """The cell whose interval misses the source by most, or comes closest to it."""
        return max(self.cells, key=lambda c: max(c.low - c.source, c.source - c.high))

    @property
    def widest(self) -> Cell:
        return max(self.cells, key=lambda cell: cell.high - cell.low)


def judge(
    source: Mapping[tuple[str, float], float],
    measured: Mapping[Setting, Mapping[tuple[str, float], Seeds]],
) -> list[Judged]:
    """Each setting against the source's values, by the rule at the head of this module."""
    wanted = list(itertools.product(SOURCE_NETWORKS, FORENSIC_SPARSITIES))
    judged = []
    for setting in SETTINGS:
        seeds = measured.get(setting, {})
        if any(len(seeds.get(key, ())) < MINIMUM_N for key in wanted):
            judged.append(Judged(setting, "not judged", (), "not judged"))
            continue
        cells: list[list[Cell]] = [[], []]
        for network, p in wanted:
            alike = list(_alike(setting, p, measured))
            sd, freedom = statistics.pooled_sd(each.values() for each in alike)
            values = seeds[network, p].values()
            mean = statistics.summarise(values).mean
            for kind, count in zip(cells, (freedom, len(set().union(*alike)) - 1), strict=True):
                low, high = statistics.prediction_interval(
                    values, 0.95, len(wanted), (sd, min(count, freedom))
                )
                kind.append(Cell(network, p, source[network, p], len(values), mean, low, high))
        word, cautiously = (
            "possible" if all(cell.inside for cell in kind) else "ruled out" for kind in cells
        )
        judged.append(Judged(setting, word, tuple(cells[0]), cautiously))
    return judged


def _alike(
    setting: Setting,
    sparsity: float,
    measured: Mapping[Setting, Mapping[tuple[str, float], Seeds]],
) -> Iterable[Seeds]:
    """The cells whose spread is pooled: the source's networks, in both block orders."""
    for order in ("text", "code"):
        cells = measured.get(replace(setting, block_order=order), {})
        for network in SOURCE_NETWORKS:
            if seeds := cells.get((network, sparsity)):
                yield seeds


@dataclass(frozen=True)
class Cost:
    """What one line changes, in accuracy, paired by seed: as in `ACC` minus as in `as_written`.

    first: changed alone in `as_written`; last: the last change on the way to `as_coded`.
    """

    line: str
    network: str
    sparsity: float
    first: Summary | None
    last: Summary | None


def costs(measured: Mapping[Setting, Mapping[tuple[str, float], Seeds]]) -> list[Cost]:
    """Of each line, for both of the source's networks, at each of the four sparsities."""
    lines = {
        "batch_size": "batches of 64 instead of 4",
        "block_order": "BatchNorm after the pooling",
        "evaluation": "no eval(): the test batch's own statistics",
    }
    found = []
    for network, p in itertools.product(SOURCE_NETWORKS, FORENSIC_SPARSITIES):
        for field, line in lines.items():
            code: dict[str, Any] = {field: getattr(AS_CODED, field)}
            text: dict[str, Any] = {field: getattr(AS_WRITTEN, field)}
            first = (replace(AS_WRITTEN, **code), network), (AS_WRITTEN, network)
            last = (AS_CODED, network), (replace(AS_CODED, **text), network)
            found.append(
                Cost(line, network, p, *(_difference(*pair, p, measured) for pair in (first, last)))
            )
        if network != "ConvNet":
            sides = (
                ((setting, network), (setting, "SparseConvNet"))
                for setting in (AS_WRITTEN, AS_CODED)
            )
            both = (_difference(*pair, p, measured) for pair in sides)
            found.append(Cost("the mask is not dilated", network, p, *both))
    return found


def _difference(
    minuend: tuple[Setting, str],
    subtrahend: tuple[Setting, str],
    sparsity: float,
    measured: Mapping[Setting, Mapping[tuple[str, float], Seeds]],
) -> Summary | None:
    a, b = (
        measured.get(s, {}).get((network, sparsity), {}) for s, network in (minuend, subtrahend)
    )
    return statistics.paired_difference(a, b) if a.keys() & b.keys() else None
