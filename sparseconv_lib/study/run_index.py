"""What the book knows of every run: a row for each run page, and each number's trainings."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sparseconv_lib.study import probe, records, report
from sparseconv_lib.study.grid import EXPERIMENTS, task_of
from sparseconv_lib.study.records import METHODS, Record


def every_record() -> list[Record]:
    """All records, in the order of the grid's chapters."""
    return [record for name in chapters() for record in records.load(name)]


def chapters() -> list[str]:
    """The notebooks that train, in the order of the grid."""
    return list(dict.fromkeys(experiment.notebook for experiment in EXPERIMENTS.values()))


def made_by_other_code(record: Record) -> bool:
    """As `report.made_by_other_code`, for hundreds of records: these share a few answers."""
    key = record.key
    code = record.content["identity"]["code"]
    return not _same_numbers(code, task_of(key.experiment), key.protocol, key.network)


_same_numbers = functools.cache(probe.same_numbers)  # which reads the file of probes each time


def page_name(record: Record) -> str:
    """ "mnist/as_written-p0.80-seed0": the run page, below book/runs and without its ending."""
    return record.page.removeprefix("book/runs/").removesuffix(".ipynb")


@dataclass(frozen=True)
class Run:
    """One run page: a protocol, a sparsity and a seed, with all networks that it trained."""

    name: str  # below book/runs
    chapter: str
    dataset: str
    networks: tuple[str, ...]
    protocol: str
    sparsity: float
    seed: int
    devices: tuple[str, ...]
    seconds: float  # of all its trainings
    day: str  # on which its first training started, ISO 8601
    other_code: bool  # whether one was made by other code than today's


def runs(found: Iterable[Record]) -> list[Run]:
    """A Run for each page of these records, in their order."""
    pages: dict[str, list[Record]] = {}
    for record in found:
        pages.setdefault(page_name(record), []).append(record)
    return [_run(name, its) for name, its in pages.items()]


def _run(name: str, found: list[Record]) -> Run:
    key = found[0].key
    where = [record.content["provenance"] for record in found]
    networks = {record.key.network for record in found}
    return Run(
        name,
        key.experiment,
        found[0].content["knobs"]["dataset"],
        tuple(method for method in METHODS if method in networks),
        key.protocol,
        key.sparsity,
        key.seed,
        tuple(sorted({each["device"] for each in where})),
        sum(each["seconds"] for each in where),
        min(each["started"] for each in where)[:10],
        any(map(made_by_other_code, found)),
    )


def for_script(found: Iterable[Record]) -> dict[str, Any]:
    """What book/_static/numbers.js is told of the trainings, as short as it goes.

    cells: "experiment;protocol;network;sparsity" -> for each seed [seed, page, seconds, how many
    ran together (0: alone), device, commit, 1 if made by other code than today's]; page, device
    and commit are places in the lists of those names.
    """
    pages: dict[str, int] = {}
    devices: dict[str, int] = {}
    commits: dict[str, int] = {}
    cells: dict[str, list[list[float]]] = {}
    for record in found:
        key, where = record.key, record.content["provenance"]
        cell = f"{key.experiment};{key.protocol};{key.network};{key.sparsity:g}"
        cells.setdefault(cell, []).append(
            [
                key.seed,
                pages.setdefault(page_name(record), len(pages)),
                float(f"{where['seconds']:.3g}"),
                where.get("together", 0),
                devices.setdefault(where["device"], len(devices)),
                commits.setdefault(report.short(where["commit"]), len(commits)),
                int(made_by_other_code(record)),
            ]
        )
    return {"pages": [*pages], "devices": [*devices], "commits": [*commits], "cells": cells}
