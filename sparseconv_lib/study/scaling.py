"""How long the published grid takes on several machines, from what its trainings took on one.

Pages are given out as a sweep does: in order, each to the first worker that is free.
"""

import heapq
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sparseconv_lib.study import records
from sparseconv_lib.study.grid import EXPERIMENTS
from sparseconv_lib.study.sweep import START_UP, missing_keys

WORKERS = (1, 8, 64)


@dataclass(frozen=True)
class Estimate:
    """Seconds of every page of an experiment on one device, and how they are known.

    measured: of how many pages every training is recorded there; the others have the median of
    the same network under the same protocol, or else that of the experiment.
    stacked: trainings run as one there, each with its share of the time; the pages, which a
    processor executes meanwhile, are then not counted.
    """

    experiment: str
    pages: tuple[float, ...]
    measured: int
    stacked: bool


def makespan(seconds: Sequence[float], workers: int) -> float:
    """When the last of these pages ends, each given to the first worker that is free."""
    free = [0.0] * workers
    for each in seconds:
        heapq.heappush(free, heapq.heappop(free) + each)
    return max(free)


def devices() -> list[str]:
    """Every device that records name, the one with the most trainings first."""
    counted: dict[str, int] = {}
    for experiment in {each.notebook for each in EXPERIMENTS.values()}:
        for record in records.load(experiment):
            device = record.content["provenance"]["device"]
            counted[device] = counted.get(device, 0) + 1
    return sorted(counted, key=lambda device: -counted[device])


def estimate(name: str, device: str) -> Estimate | None:
    """What the pages of an experiment take on a device; None where nothing of it was measured."""
    experiment = EXPERIMENTS[name]
    taken: dict[records.Key, float] = {}
    stacked = False
    for record in records.load(experiment.notebook):
        source = record.content["provenance"]
        as_one = "together" in source
        if source["device"] != device or (as_one and "cuda" not in source["versions"]):
            continue  # a processor's worker trains one by one, unless it is asked not to
        taken[record.key] = source["seconds"]
        stacked = stacked or as_one
    pages = list(experiment.pages())
    ours = {key for page in pages for key in page.keys}
    known = {key: seconds for key, seconds in taken.items() if key in ours}
    if not known:
        return None
    alike: dict[tuple[str, str], list[float]] = {}
    for key, seconds in known.items():
        alike.setdefault((key.protocol, key.network), []).append(seconds)
    usual = statistics.median(known.values())
    return Estimate(
        name,
        tuple(
            (0.0 if stacked else START_UP)
            + sum(
                known.get(key, statistics.median(alike.get((key.protocol, key.network), [usual])))
                for key in page.keys
            )
            for page in pages
        ),
        sum(all(key in known for key in page.keys) for page in pages),
        stacked,
    )


@dataclass(frozen=True)
class Lack:
    """How many trainings an experiment lacks, of how many, and the seconds that their pages take.

    measured: of how many of its pages every training is recorded on the device in question.
    seconds: None where something is lacking and nothing of the experiment was measured.
    """

    trainings: int
    of: int
    pages: int
    measured: int
    seconds: float | None


def lack(name: str, device: str) -> Lack:
    """What an experiment of the grid lacks, and how long that takes on one such device."""
    pages = list(EXPERIMENTS[name].pages())
    lacking = [len(missing_keys(page)) for page in pages]
    found = estimate(name, device)
    seconds = None if any(lacking) else 0.0
    if found is not None:
        seconds = sum(each for each, lacks in zip(found.pages, lacking, strict=True) if lacks)
    return Lack(
        sum(lacking),
        sum(len(page.keys) for page in pages),
        len(pages),
        found.measured if found else 0,
        seconds,
    )
