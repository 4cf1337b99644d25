"""What the report cannot show, in numbers: the sentences and the table of its limitations."""

import collections
import math

import pandas
from scipy import stats

from sparseconv_lib.study import claims, ledger, records, report, tables
from sparseconv_lib.study.claims import Cell, Claim
from sparseconv_lib.study.grid import EXPERIMENTS, Experiment
from sparseconv_lib.study.protocol import BASELINES
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.statistics import summarise

NETWORK, SPARSITY = "ConvNet", report.HEADLINE_SPARSITY


def coverage() -> pandas.DataFrame:
    """A row for each experiment of the grid: records there and asked for, fewest seeds."""
    rows = []
    for name, experiment in EXPERIMENTS.items():
        asked = {key for page in experiment.pages() for key in page.keys}
        done = [key for key in asked if key.path().exists()]
        cells = collections.Counter((key.protocol, key.network, key.sparsity) for key in done)
        rows.append(
            {
                "experiment": name,
                "recorded": f"{len(done)} of {len(asked)}",
                "cells without a record": _cells(experiment) - len(cells),
                "seeds a cell, where there are any": _range(list(cells.values())),
            }
        )
    return pandas.DataFrame(rows)


def _cells(experiment: Experiment) -> int:
    keys = {key for page in experiment.pages() for key in page.keys}
    return len({(key.protocol, key.network, key.sparsity) for key in keys})


def _range(numbers: list[int]) -> str:
    if not numbers:
        return "–"
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


def verdicts() -> str:
    """How many claims have which verdict."""
    rows = ledger.rows()
    words = collections.Counter(row.word for row in rows)
    told = ", ".join(f"{n} {word}" for word, n in words.most_common())
    papers = sum(row.claim.id.startswith("uhrig-") for row in rows)
    return (
        f"Of {words.total()} claims, {words.total() - papers} of the source and {papers} of the "
        f"original paper, today: {told}."
    )


def devices() -> str:
    """Which device made how many of the trainings, and which comparisons have two of them."""
    every = _all()
    found = [record for record in every if record.key.network not in BASELINES]
    if not found:
        return "Nothing has been trained yet."
    rest = len(every) - len(found)
    beside = f" ({rest} more records are of interpolations, which train nothing.)" if rest else ""
    made = collections.Counter(r.content["provenance"]["device"] for r in found)
    told = "; ".join(f"{n} on {device}" for device, n in made.most_common())
    pages: dict[tuple, set[str]] = {}
    networks: collections.Counter[tuple] = collections.Counter()
    for record in found:
        key = record.key
        cell = (key.experiment, key.protocol, key.sparsity, key.seed)
        pages.setdefault(cell, set()).add(record.content["provenance"]["device"])
        networks[cell] += 1
    compared = [cell for cell, n in networks.items() if n > 1]
    mixed = sum(len(pages[cell]) > 1 for cell in compared)
    return (
        f"Of {len(found)} trainings: {told}.{beside} Networks that are compared at one protocol, "
        f"sparsity and seed ran on different devices in {mixed} of {len(compared)} such "
        "comparisons. "
        f"{_judged_across_devices()}"
    )


def _judged_across_devices() -> str:
    """How many pairs, by which claims are judged, have their two trainings on two devices."""
    pairs, mixed = 0, collections.Counter[str]()
    for claim in claims.load().claims:
        for contrast in claim.contrasts():
            if contrast.subtrahend is not None and claim.experiment in EXPERIMENTS:
                one, other = (
                    _device_by_seed(claim, cell) for cell in (contrast.minuend, contrast.subtrahend)
                )
                pairs += len(one.keys() & other.keys())
                mixed[claim.title] += sum(one[s] != other[s] for s in one.keys() & other.keys())
    told = "; ".join(f"{n} for “{title}”" for title, n in mixed.items() if n)
    return (
        f"Of the {pairs} pairs by which claims are judged, {mixed.total()} are of two devices"
        f"{f': {told}' if told else ''}."
    )


def _device_by_seed(claim: Claim, cell: Cell) -> dict[int, str]:
    return {
        record.key.seed: record.content["provenance"]["device"]
        for record in records.load(claim.experiment, cell.protocol or claim.protocol)
        if (record.key.network, record.key.sparsity) == (cell.network, cell.train)
    }


def _all() -> list[Record]:
    notebooks = dict.fromkeys(each.notebook for each in EXPERIMENTS.values())
    return [record for notebook in notebooks for record in records.load(notebook)]


def choice_of_test_images() -> str:
    """How far the choice of test images may have moved an accuracy, which no seed shows."""
    told = []
    for experiment, of in (("mnist", "digits"), ("caltech", "photographs")):
        found = [
            record
            for record in records.load(experiment, "as_written")
            if record.key.network == NETWORK and record.key.sparsity == SPARSITY
        ]
        if found:
            accuracy = summarise([record.accuracy for record in found]).mean
            images = found[0].content["images"]["test"]
            half = stats.norm.isf(0.025) * math.sqrt(accuracy * (1 - accuracy) / images)
            told.append(
                f"one of {report.percent(accuracy)} on {images:,} {of} by "
                f"±{100 * half:.1f}{report.NO_BREAK}points"
            )
    if not told:
        return "No network has been trained for this yet."
    return (
        f"The choice of test images alone leaves an accuracy uncertain: {' and '.join(told)} (in "
        f"95 % of cases; {NETWORK} at p = {SPARSITY:g})."
    )


def two_epochs() -> str:
    """What training to the end changes at one sparsity, for each network that did both."""
    short, long = (
        tables.accuracies(records.load(*which))
        for which in (("mnist", "as_written"), ("invariance", "fair"))
    )
    told = []
    for network in ("ConvNet", "SparseConvNet", "SparseConvNet-kept"):
        cell = network, SPARSITY, SPARSITY
        if cell in short and cell in long:
            a, b = (summarise(which[cell].values()) for which in (short, long))
            told.append(
                f"{network} {report.percent(a.mean)} (n = {a.n}) and {report.percent(b.mean)} "
                f"(n = {b.n})"
            )
    if not told:
        return "No network has been trained in both ways yet."
    return (
        f"At p = {SPARSITY:g} on digits, after the source's two epochs and after training under "
        f"the protocol fair: {'; '.join(told)}."
    )


SENTENCES = {
    "verdicts": verdicts,
    "devices": devices,
    "test-images": choice_of_test_images,
    "two-epochs": two_epochs,
}
